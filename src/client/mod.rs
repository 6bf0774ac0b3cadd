//! The local socket's client: what the command line and other programs on the machine use to give events to the agent
//! and to ask it things.
//!
//! Takes typed or encoded events, gives answers as the types of [`crate::schema::local`]. Every wait has an end; what
//! is in flight is bounded. It does not wait for an agent that is not there: the caller decides about trying again.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use rodent::{
//!     client::{Client, Durability, SOCKET},
//!     event::Level,
//!     schema::{Payload as _, events::{Event, StoragePoolPayload}},
//! };
//!
//! # async fn example() -> Result<(), rodent::client::ClientError> {
//! let agent = Client::connect(Path::new(SOCKET)).await?;
//! let pool = StoragePoolPayload { pool_name: "tank".to_owned(), ..Default::default() };
//! let event = Event {
//!     level: Level::Warn.to_wire().into(),
//!     event_payload: Some(pool.into_event_payload()),
//!     ..Default::default()
//! };
//! // Answers when the event is durable.
//! agent.emit(&[event], Durability::Committed).await?;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod channel;
mod consumption;
mod emission;
mod error;

use std::path::Path;

use bytes::Bytes;
use futures_util::Stream;
use prost::Message as _;
use tonic::{Streaming, transport::Channel};

use channel::look;
pub use consumption::{Consumed, ConsumedEvent, Consumption};
pub use emission::{Emission, EmitRefusal, Totals};
pub use error::ClientError;

pub use crate::schema::local::{
    AcknowledgeRequest, Attach, Attached, ChangeSinkRequest, ChangedSetting, ConsumedGap, ConsumerCondition,
    EmitResponse, ListDeadLettersRequest, ListDeadLettersResponse, ListedConsumer, ListedDeadLetter,
    PurgeDeadLettersRequest, QueryRequest, QueryResponse, ReloadRequest, ReloadResponse, RemoveConsumerRequest,
    RetryDeadLettersRequest, RetryDeadLettersResponse, RewindConsumerRequest, SOCKET, Silence, SilenceRequest, Start,
    StateRequest, StateResponse, StatusResponse, StoredEvent, SubjectState, TailRequest, TestSinkRequest,
    TestSinkResponse,
    attach::{Bound, Encoding},
    change_sink_request::Act,
    consumer_condition,
    emit_request::Durability,
    start,
};
use crate::schema::{
    events::Event,
    local::{EmitRequest, FlushRequest, ListConsumersRequest, StatusRequest, local_service_client::LocalServiceClient},
};

/// A connection to the agent. Cheap to copy; copies share it.
#[derive(Clone, Debug)]
pub struct Client {
    service: LocalServiceClient<Channel>,
}

impl Client {
    /// Connects to the agent's socket.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] when nothing answers there, [`ClientError::NoPermission`] when the socket is not for
    /// this user, [`ClientError::Connect`] otherwise.
    pub async fn connect(socket: &Path) -> Result<Client, ClientError> {
        Ok(Client { service: LocalServiceClient::new(channel::open(socket).await?) })
    }

    /// Gives events to the log, all of them or none: at most 1,000 and 1 MiB. For more, see [`Client::emission`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] says which event is at fault and why; nothing has been stored then.
    pub async fn emit(&self, events: &[Event], durability: Durability) -> Result<EmitResponse, ClientError> {
        self.emit_encoded(events.iter().map(|event| event.encode_to_vec().into()).collect(), durability).await
    }

    /// As [`Client::emit`], with events that are encoded already: fields that this version does not know are kept.
    ///
    /// # Errors
    /// As [`Client::emit`].
    pub async fn emit_encoded(&self, events: Vec<Bytes>, durability: Durability) -> Result<EmitResponse, ClientError> {
        let request = EmitRequest { events, durability: durability.into() };
        Ok(self.service.clone().emit(request).await?.into_inner())
    }

    /// Gives requests as they come and answers as the agent gives them, each request whole or not at all; the first refusal
    /// is the last answer. [`Client::emission`] does more.
    ///
    /// # Errors
    /// When the agent is gone or refuses this caller.
    pub async fn emit_stream(
        &self,
        requests: impl Stream<Item = EmitRequest> + Send + 'static,
    ) -> Result<Streaming<EmitResponse>, ClientError> {
        Ok(self.service.clone().emit_stream(requests).await?.into_inner())
    }

    /// Begins to give any number of events to the log, in their order.
    ///
    /// # Errors
    /// When the agent is gone or refuses this caller.
    pub async fn emission(&self, durability: Durability) -> Result<Emission, ClientError> {
        Emission::begin(self.clone(), durability).await
    }

    /// Stored events, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when a condition is not understood or too much is asked for.
    pub async fn query(&self, query: QueryRequest) -> Result<Events, ClientError> {
        Ok(Events { pages: self.service.clone().query(look(query)).await?.into_inner() })
    }

    /// Events as they become durable, without end. A caller that is slower than retention misses events, and is told
    /// how many.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn tail(&self, tail: TailRequest) -> Result<Events, ClientError> {
        Ok(Events { pages: self.service.clone().tail(look(tail)).await?.into_inner() })
    }

    /// Attaches to a consumer: events behind a cursor that the agent keeps, each at least once and in order.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when something of it is not understood, the event to begin with is not stored, or another
    /// program is attached; [`ClientError::Denied`] when the consumer is another user's; [`ClientError::Unavailable`] when
    /// there are too many.
    pub async fn consume(&self, attach: Attach) -> Result<Consumption, ClientError> {
        Consumption::begin(self, attach).await
    }

    /// Consumers of the log: the one of this name, or all where it is empty.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none of the name.
    pub async fn consumers(&self, consumer: &str) -> Result<Vec<ListedConsumer>, ClientError> {
        let request = ListConsumersRequest { consumer: consumer.to_owned() };
        Ok(self.service.clone().list_consumers(look(request)).await?.into_inner().consumers)
    }

    /// Has a program's consumer begin again further back; gives how many stored events come once more.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such consumer or place, or a program is attached; [`ClientError::Denied`]
    /// when it is another user's.
    pub async fn rewind_consumer(&self, rewind: RewindConsumerRequest) -> Result<u64, ClientError> {
        Ok(self.service.clone().rewind_consumer(rewind).await?.into_inner().events)
    }

    /// Forgets a program's consumer; gives how many stored events it had yet to take.
    ///
    /// # Errors
    /// As [`Client::rewind_consumer`].
    pub async fn remove_consumer(&self, remove: RemoveConsumerRequest) -> Result<u64, ClientError> {
        Ok(self.service.clone().remove_consumer(remove).await?.into_inner().events)
    }

    /// How the agent is doing.
    ///
    /// # Errors
    /// When the agent is gone or refuses this caller.
    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        Ok(self.service.clone().status(look(StatusRequest {})).await?.into_inner())
    }

    /// Makes durable what the agent has accepted so far. Gives why some is kept in memory only, if so.
    ///
    /// # Errors
    /// When the log takes nothing any more.
    pub async fn flush(&self) -> Result<Option<String>, ClientError> {
        let answer = self.service.clone().flush(FlushRequest {}).await?.into_inner();
        Ok(Some(answer.only_in_memory).filter(|why| !why.is_empty()))
    }

    /// A page of the events that the controller refuses; the next one begins after `next`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when a letter is named that is not there.
    pub async fn dead_letters(&self, list: ListDeadLettersRequest) -> Result<ListDeadLettersResponse, ClientError> {
        Ok(self.service.clone().list_dead_letters(look(list)).await?.into_inner())
    }

    /// Has refused events sent again. The answer comes when they are durable in the log.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when a letter is named that is not there or is damaged; nothing has been done then.
    /// [`ClientError::Unavailable`] when the log cannot write; what has not been retried is kept.
    pub async fn retry_dead_letters(
        &self,
        retry: RetryDeadLettersRequest,
    ) -> Result<RetryDeadLettersResponse, ClientError> {
        Ok(self.service.clone().retry_dead_letters(retry).await?.into_inner())
    }

    /// Throws refused events away; gives how many. An event tells of it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when a letter is named that is not there, [`ClientError::Denied`] to everybody but root and
    /// the agent's own user; nothing has been done then.
    pub async fn purge_dead_letters(&self, purge: PurgeDeadLettersRequest) -> Result<u64, ClientError> {
        Ok(self.service.clone().purge_dead_letters(purge).await?.into_inner().purged)
    }

    /// How things are, the worst first.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when too many are named.
    pub async fn state(&self, state: StateRequest) -> Result<StateResponse, ClientError> {
        Ok(self.service.clone().state(look(state)).await?.into_inner())
    }

    /// Marks what is wrong with a thing as known; gives what is known now. An event tells of it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when nothing is wrong with it, or the note is too long; nothing has been done then.
    pub async fn acknowledge(&self, known: AcknowledgeRequest) -> Result<Vec<SubjectState>, ClientError> {
        Ok(self.service.clone().acknowledge(known).await?.into_inner().subjects)
    }

    /// Has nobody be told of something for a while, or ends that; gives all that is silenced then. An event tells of it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when nothing is known of it, or it is for too short, too long or one too many; nothing has been
    /// done then.
    pub async fn silence(&self, silence: SilenceRequest) -> Result<Vec<Silence>, ClientError> {
        Ok(self.service.clone().silence(silence).await?.into_inner().silences)
    }

    /// Has a sink of the agent send a message that says it is a test.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when no sink has this name, [`ClientError::Denied`] to everybody but root and the agent's own
    /// user. That the message was not taken is no error: the answer says so.
    pub async fn test_sink(&self, sink: &str) -> Result<TestSinkResponse, ClientError> {
        Ok(self.service.clone().test_sink(TestSinkRequest { sink: sink.to_owned() }).await?.into_inner())
    }

    /// Pauses a sink, resumes it, or has it send again what it has sent; gives how many stored events come once more.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when no sink has this name or there is no such place, [`ClientError::Denied`] to everybody but root
    /// and the agent's own user, [`ClientError::Unavailable`] when the disk does not take it.
    pub async fn change_sink(&self, change: ChangeSinkRequest) -> Result<u64, ClientError> {
        Ok(self.service.clone().change_sink(change).await?.into_inner().events)
    }

    /// Has the agent read its configuration again. The answer comes when what it says is in force, or tells why nothing
    /// has changed.
    ///
    /// # Errors
    /// [`ClientError::Denied`] to everybody but root and the agent's own user, [`ClientError::Unavailable`] when the agent is
    /// stopping, [`ClientError::Refused`] when it has no files to read.
    pub async fn reload(&self, reload: ReloadRequest) -> Result<ReloadResponse, ClientError> {
        Ok(self.service.clone().reload(reload).await?.into_inner())
    }
}

/// Pages of events.
#[derive(Debug)]
pub struct Events {
    pages: Streaming<QueryResponse>,
}

impl Events {
    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// When the agent stops or cannot read its log.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, no page is lost.
    pub async fn next(&mut self) -> Result<Option<QueryResponse>, ClientError> {
        Ok(self.pages.message().await?)
    }
}
