//! The methods of the service: each admits its caller, checks what is asked, and hands over to the file that does it.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use super::{
    Rooms, Scopes, SinkAct, SinkOrder,
    consume::{self, Asked, Consuming},
    consumers::Consumers,
    dead_letters::Desk,
    emission,
    gate::Gate,
    query::{self, LIMIT_DEFAULT, LIMIT_MAX, Query, Telling},
    shares::{Bounds, ReaderPlace, Shares},
    tail::{self, Tail},
    wanted::Wanted,
};
use crate::{
    consumers::programs::{Caller, PROGRAMS_MAX, PROGRAMS_OF_USER_MAX},
    event::Filter,
    pipeline::{EmitError, Origin},
    schema::local::{
        AcknowledgeRequest, AcknowledgeResponse, ChangeSinkRequest, ChangeSinkResponse, ConsumeRequest,
        ConsumeResponse, EmitRequest, EmitResponse, FlushRequest, FlushResponse, ListConsumersRequest,
        ListConsumersResponse, ListDeadLettersRequest, ListDeadLettersResponse, PurgeDeadLettersRequest,
        PurgeDeadLettersResponse, QueryRequest, QueryResponse, ReloadRequest, ReloadResponse, RemoveConsumerRequest,
        RemoveConsumerResponse, RetryDeadLettersRequest, RetryDeadLettersResponse, RewindConsumerRequest,
        RewindConsumerResponse, SilenceRequest, SilenceResponse, StateRequest, StateResponse, StatusRequest,
        StatusResponse, TailRequest, TestSinkRequest, TestSinkResponse, change_sink_request::Act, consume_request,
        local_service_server::LocalService, own_name,
    },
};

/// Queries and tails at once; one more is refused, since each keeps a few hundred KiB and perhaps an open generation.
const READERS: Bounds = Bounds { max: 32, user_max: 12, kept: 4 };

/// Programs that consume at once: one for each consumer that there may be.
const CONSUMING: Bounds = Bounds { max: PROGRAMS_MAX, user_max: PROGRAMS_OF_USER_MAX, kept: 8 };

/// Of these, so many read the disk at the same moment; the others wait for their turn.
const READS_MAX: usize = 4;

/// Why who may see a part of the events is given no states, and no dead letters.
const OF_ALL: &str = "states are made of all";
const OF_ANY: &str = "dead letters may be of any";

/// The most names that are looked for among the states at once.
const NAMES_MAX: usize = 100;

pub(super) struct Service {
    rooms: Rooms,
    gate: Gate,
    places: Arc<Shares>,
    consuming: Arc<Shares>,
    slots: Arc<Semaphore>,
    desk: Desk,
    consumers: Consumers,
    shutdown: CancellationToken,
}

impl Service {
    pub(super) fn new(rooms: Rooms, gate: Gate, shutdown: CancellationToken) -> Service {
        let (places, slots) = (Shares::new(READERS), Arc::new(Semaphore::new(READS_MAX)));
        let desk = Desk::new(rooms.dead_letters.clone(), rooms.log.clone(), rooms.emitter.for_source("agent"));
        let consumers =
            Consumers { log: rooms.log.clone(), programs: rooms.programs.clone(), status: Arc::clone(&rooms.status) };
        Service { rooms, gate, places, consuming: Shares::new(CONSUMING), slots, desk, consumers, shutdown }
    }

    /// What is made of any events is not for who may see a part of them. `why`: that it is.
    fn sees_all(&self, reader: Origin, why: &str) -> Result<(), Status> {
        let uid = reader.uid;
        let refusal = || Status::permission_denied(format!("user {uid} may see some events only, and {why}"));
        self.scope(reader).map_or(Ok(()), |_| Err(refusal()))
    }

    /// What a user may read; `None` for everything.
    fn scope(&self, reader: Origin) -> Option<Filter> {
        self.rooms.scopes.borrow().of(reader.uid)
    }

    fn caller(&self, origin: Origin) -> Caller {
        Caller { uid: origin.uid, is_trusted: self.gate.owns(origin) }
    }

    /// Asks the consumers' desk away from the async threads.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Consumers) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let consumers = self.consumers.clone();
        let done = tokio::task::spawn_blocking(move || ask(&consumers)).await;
        done.map_err(|_| Status::internal("the consumers could not be looked at"))?.map(Response::new)
    }

    /// A place among those who read; `what` they do too many of already.
    fn place(&self, shares: &Arc<Shares>, what: &str, reader: Origin) -> Result<ReaderPlace, Status> {
        let place = shares.take(reader.uid, 1).ok_or_else(|| {
            let Bounds { max, user_max, .. } = shares.bounds();
            Status::resource_exhausted(format!(
                "too many {what} ({max} in all, {user_max} of one user); try again later"
            ))
        })?;
        Ok(ReaderPlace::new(place, self.slots.clone()))
    }

    /// Ends what a user follows when it may read something else than by these scopes: it is to call again.
    fn while_it_may<T: Send + 'static>(
        &self,
        reader: Origin,
        before: Scopes,
        given: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> BoxStream<T> {
        let (mut scopes, uid) = (self.rooms.scopes.clone(), reader.uid);
        let changed = async move {
            while scopes.borrow_and_update().are_alike_for(uid, &before) {
                if scopes.changed().await.is_err() {
                    // Nobody changes them any more.
                    std::future::pending::<()>().await;
                }
            }
        };
        Box::pin(stream::unfold(Some((Box::pin(given), Box::pin(changed))), move |state| async move {
            let (mut given, mut changed) = state?;
            tokio::select! {
                biased;
                () = &mut changed => {
                    let what = format!("what user {uid} may read is another now; call again");
                    Some((Err(Status::unavailable(what)), None))
                }
                next = given.next() => Some((next?, Some((given, changed)))),
            }
        }))
    }

    fn reader_place(&self, reader: Origin) -> Result<ReaderPlace, Status> {
        self.place(&self.places, "clients already query or follow the log", reader)
    }
}

#[tonic::async_trait]
impl LocalService for Service {
    async fn emit(&self, request: Request<EmitRequest>) -> Result<Response<EmitResponse>, Status> {
        let origin = self.gate.admit(&request).await?;
        emission::emit(&self.rooms.emitter, request.into_inner(), origin).await.map(Response::new)
    }

    type EmitStreamStream = BoxStream<EmitResponse>;

    async fn emit_stream(
        &self,
        request: Request<Streaming<EmitRequest>>,
    ) -> Result<Response<Self::EmitStreamStream>, Status> {
        let origin = self.gate.admit(&request).await?;
        let (emitter, shutdown) = (self.rooms.emitter.clone(), self.shutdown.clone());
        Ok(Response::new(Box::pin(emission::emit_stream(emitter, request.into_inner(), origin, shutdown))))
    }

    type QueryStream = BoxStream<QueryResponse>;

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let reader = self.gate.admit(&request).await?;
        let asked = request.into_inner();
        let limit = if asked.limit == 0 { LIMIT_DEFAULT } else { asked.limit };
        check_limit(limit)?;
        let wanted = Wanted::parse(&asked.filter, asked.since, asked.until)?.within(self.scope(reader));
        let query = Query::new(self.rooms.log.clone(), wanted, limit);
        let telling = Telling::new(asked.progress);
        Ok(Response::new(Box::pin(query::pages(query, telling, self.reader_place(reader)?))))
    }

    type TailStream = BoxStream<QueryResponse>;

    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let reader = self.gate.admit(&request).await?;
        let asked = request.into_inner();
        check_limit(asked.backlog)?;
        let scopes = self.rooms.scopes.borrow().clone();
        let wanted = Wanted::parse(&asked.filter, asked.since, 0)?.within(scopes.of(reader.uid));
        let tail = match (asked.since, asked.backlog) {
            (1.., 0) => Tail::of_all(&self.rooms.log, wanted),
            (_, backlog) => Tail::new(&self.rooms.log, wanted, backlog, Telling::new(asked.progress)),
        };
        let pages = tail::pages(tail, self.reader_place(reader)?, self.shutdown.clone());
        Ok(Response::new(self.while_it_may(reader, scopes, pages)))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let reader = self.gate.admit(&request).await?;
        (self.rooms.settling)().await;
        let (status, sees_all) = (self.rooms.status.clone(), self.sees_all(reader, OF_ALL).is_ok());
        let answer = tokio::task::spawn_blocking(move || status()).await.map(|mut answer| {
            if !sees_all {
                answer.worst.clear();
            }
            answer
        });
        answer.map(Response::new).map_err(|_| Status::internal("the agent could not describe itself"))
    }

    async fn flush(&self, request: Request<FlushRequest>) -> Result<Response<FlushResponse>, Status> {
        self.gate.admit(&request).await?;
        let flushed = self.rooms.emitter.flush().await;
        let only_in_memory = flushed.map_err(|error: EmitError| Status::unavailable(error.to_string()))?;
        Ok(Response::new(FlushResponse { only_in_memory: only_in_memory.unwrap_or_default() }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        self.sees_all(self.gate.admit(&request).await?, OF_ANY)?;
        self.desk.list(request.into_inner()).await.map(Response::new)
    }

    async fn retry_dead_letters(
        &self,
        request: Request<RetryDeadLettersRequest>,
    ) -> Result<Response<RetryDeadLettersResponse>, Status> {
        self.sees_all(self.gate.admit(&request).await?, OF_ANY)?;
        self.desk.retry(request.into_inner()).await.map(Response::new)
    }

    async fn purge_dead_letters(
        &self,
        request: Request<PurgeDeadLettersRequest>,
    ) -> Result<Response<PurgeDeadLettersResponse>, Status> {
        let origin = self.gate.admit_owner(&request, "throw events away").await?;
        self.desk.purge(request.into_inner(), origin).await.map(Response::new)
    }

    async fn state(&self, request: Request<StateRequest>) -> Result<Response<StateResponse>, Status> {
        self.sees_all(self.gate.admit(&request).await?, OF_ALL)?;
        let asked = request.into_inner();
        check_names(&asked.subjects)?;
        // What the caller has emitted before counts.
        (self.rooms.settling)().await;
        let states = Arc::clone(&self.rooms.states);
        let answer = tokio::task::spawn_blocking(move || states(asked)).await;
        answer.map(Response::new).map_err(|_| Status::internal("the agent could not say how things are"))
    }

    async fn acknowledge(&self, request: Request<AcknowledgeRequest>) -> Result<Response<AcknowledgeResponse>, Status> {
        let origin = self.gate.admit(&request).await?;
        self.sees_all(origin, OF_ALL)?;
        (self.rooms.acknowledge)(request.into_inner(), origin).await.map(Response::new)
    }

    async fn silence(&self, request: Request<SilenceRequest>) -> Result<Response<SilenceResponse>, Status> {
        let origin = self.gate.admit(&request).await?;
        self.sees_all(origin, OF_ALL)?;
        (self.rooms.silence)(request.into_inner(), origin).await.map(Response::new)
    }

    async fn reload(&self, request: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        self.gate.admit_owner(&request, "have the configuration read again").await?;
        (self.rooms.reload)(request.into_inner()).await.map(Response::new)
    }

    async fn test_sink(&self, request: Request<TestSinkRequest>) -> Result<Response<TestSinkResponse>, Status> {
        self.gate.admit_owner(&request, "have a sink send a test").await?;
        (self.rooms.sinks)(request.into_inner().sink).await.map(Response::new)
    }

    async fn change_sink(&self, request: Request<ChangeSinkRequest>) -> Result<Response<ChangeSinkResponse>, Status> {
        let origin = self.gate.admit_owner(&request, "pause, resume or replay a sink").await?;
        let ChangeSinkRequest { sink, act, to, dry_run } = request.into_inner();
        let act = match Act::try_from(act) {
            Ok(Act::Pause) => SinkAct::Pause,
            Ok(Act::Resume) => SinkAct::Resume,
            Ok(Act::Replay) => {
                let to = self.consumers.place(&self.slots, to.as_ref()).await?;
                SinkAct::Replay { to, dry_run }
            }
            Ok(Act::Unspecified) | Err(_) => {
                return Err(Status::invalid_argument("it is not said what to do with the sink"));
            }
        };
        let events = (self.rooms.sink_orders)(SinkOrder { sink, act, actor: origin.actor() }).await?;
        Ok(Response::new(ChangeSinkResponse { events }))
    }

    type ConsumeStream = BoxStream<ConsumeResponse>;

    async fn consume(
        &self,
        request: Request<Streaming<ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let reader = self.gate.admit(&request).await?;
        let (caller, mut requests) = (self.caller(reader), request.into_inner());
        let first = requests.message().await?.and_then(|first| first.request);
        let Some(consume_request::Request::Attach(attach)) = first else {
            return Err(Status::invalid_argument("the first request of Consume is `attach`"));
        };
        let place = self.place(&self.consuming, "programs already consume", reader)?;
        let scopes = self.rooms.scopes.borrow().clone();
        let filters = [scopes.of(reader.uid), scopes.of_consumer(own_name(&attach.consumer))];
        let asked = self.ask(move |consumers| Asked::check(&attach, filters, &consumers.programs, caller));
        let asked = asked.await?.into_inner().find(&self.rooms.log, &self.slots).await?;
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = asked.wait_for_seat(&self.rooms.programs) => {}
        }
        let consuming = Consuming::begin(asked, &self.rooms, caller)?;
        let responses = consume::responses(consuming, requests, place, self.shutdown.clone());
        Ok(Response::new(self.while_it_may(reader, scopes, responses)))
    }

    async fn list_consumers(
        &self,
        request: Request<ListConsumersRequest>,
    ) -> Result<Response<ListConsumersResponse>, Status> {
        self.gate.admit(&request).await?;
        self.ask(move |consumers| consumers.list(request.get_ref())).await
    }

    async fn rewind_consumer(
        &self,
        request: Request<RewindConsumerRequest>,
    ) -> Result<Response<RewindConsumerResponse>, Status> {
        let reader = self.gate.admit(&request).await?;
        // A search reads as much as a query does.
        let (caller, _place) = (self.caller(reader), self.reader_place(reader)?);
        let request = request.into_inner();
        let name = request.consumer.clone();
        self.ask(move |consumers| consumers.idle(&name, caller)).await?;
        let to = self.consumers.place(&self.slots, request.to.as_ref()).await?;
        self.ask(move |consumers| consumers.rewind(&request, to, caller)).await
    }

    async fn remove_consumer(
        &self,
        request: Request<RemoveConsumerRequest>,
    ) -> Result<Response<RemoveConsumerResponse>, Status> {
        let caller = self.caller(self.gate.admit(&request).await?);
        self.ask(move |consumers| consumers.remove(request.get_ref(), caller)).await
    }
}

fn check_names(names: &[String]) -> Result<(), Status> {
    if names.len() > NAMES_MAX {
        return Err(Status::invalid_argument(format!(
            "{} things are named; at most {NAMES_MAX} are looked for at once",
            names.len()
        )));
    }
    Ok(())
}

fn check_limit(limit: u32) -> Result<(), Status> {
    if limit > LIMIT_MAX {
        return Err(Status::invalid_argument(format!(
            "{limit} events are asked for; at most {LIMIT_MAX} are given at once"
        )));
    }
    Ok(())
}
