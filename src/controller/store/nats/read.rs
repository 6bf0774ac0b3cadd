//! Reading: a consumer that goes over a part of the stream once. Memory does not depend on how long that part is.

use std::{collections::HashMap, collections::VecDeque, ops::ControlFlow, sync::Arc};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, pull},
    message::StreamMessage,
    stream::RawMessageErrorKind,
};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{
    NatsStore,
    connection::Connection,
    message::{Told, subjects_of},
    refused,
};
use crate::controller::store::{ArrivedEvent, EventPage, OVERTAKEN_ROWS_MAX, Query, StoreError, order::sort_lanes};

/// Messages that are asked for at once.
const FETCH_MAX: usize = 1000;

/// Header in which the servers say how long the body is that they leave out.
const SIZE: &str = "Nats-Msg-Size";

/// How many times more is read when the last part of the stream did not hold what was asked for.
const WIDEN: u64 = 8;

/// A message of the stream that is ours.
pub(super) struct Found {
    pub(super) row: u64,
    pub(super) told: Told,
    /// Empty where only headers were asked for.
    pub(super) body: Bytes,
    /// Bytes that the body has in the stream.
    pub(super) size: u64,
}

/// Which part of the stream is read.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// The first row.
    pub(super) first: u64,
    /// The last row.
    pub(super) last: u64,
    /// Of one node alone.
    pub(super) node: Option<&'a str>,
    /// Without the events themselves.
    pub(super) headers_only: bool,
}

impl NatsStore {
    /// As `Store::query`. Repeats within what is gathered are dropped.
    pub(super) async fn page(&self, query: &Query) -> Result<EventPage, StoreError> {
        let (oldest, last) = self.connection.rows().await?;
        let node = query.node.as_deref();
        let Some(since) = query.since else {
            return self.last_page(query, oldest, last).await;
        };
        let mut gathered = Gathered::new(query.limit);
        let mut last_row = last.max(since);
        let part = Part { first: since.saturating_add(1), last, node, headers_only: false };
        self.connection
            .scan(part, |found| {
                let row = found.row;
                gathered.take(found, query);
                if gathered.events.len() < query.limit {
                    return ControlFlow::Continue(());
                }
                last_row = row;
                ControlFlow::Break(())
            })
            .await?;
        let mut events = Vec::from(gathered.events);
        sort_lanes(&mut events);
        Ok(EventPage { events, last_row })
    }

    /// A stream is only read forwards: its last part, and when that does not hold enough, more of it from further back.
    async fn last_page(&self, query: &Query, oldest: u64, last: u64) -> Result<EventPage, StoreError> {
        let mut rows = (query.limit as u64).saturating_add(OVERTAKEN_ROWS_MAX as u64);
        loop {
            let first = last.saturating_sub(rows).saturating_add(1).max(oldest);
            let mut gathered = Gathered::new(query.limit.saturating_add(OVERTAKEN_ROWS_MAX));
            let part = Part { first, last, node: query.node.as_deref(), headers_only: false };
            self.connection
                .scan(part, |found| {
                    gathered.take(found, query);
                    ControlFlow::Continue(())
                })
                .await?;
            if gathered.events.len() >= query.limit || first <= oldest {
                return Ok(EventPage::of_last(gathered.events.into(), query.limit, last));
            }
            rows = rows.saturating_mul(WIDEN);
        }
    }
}

impl Connection {
    /// Bytes of the events of a node that are in the stream.
    pub(super) async fn bytes_of(&self, node: &str) -> Result<u64, StoreError> {
        let (first, last) = self.rows().await?;
        let mut bytes = 0u64;
        self.scan(Part { first, last, node: Some(node), headers_only: true }, |found| {
            bytes = bytes.saturating_add(found.size);
            ControlFlow::Continue(())
        })
        .await?;
        Ok(bytes)
    }

    /// The first and the last row that the stream has.
    pub(super) async fn rows(&self) -> Result<(u64, u64), StoreError> {
        let info = self.stream.get_info().await.map_err(refused("read"))?;
        Ok((info.state.first_sequence.max(1), info.state.last_sequence))
    }

    /// One message; none when the stream has let go of it.
    pub(super) async fn message_at(&self, row: u64) -> Result<Option<StreamMessage>, StoreError> {
        match self.stream.get_raw_message(row).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(refused("read")(error)),
        }
    }

    /// Gives every message of a part of the stream that is ours, in order, until `take` has enough.
    pub(super) async fn scan(
        &self,
        part: Part<'_>,
        mut take: impl FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if part.first > part.last {
            return Ok(());
        }
        let consumer = self.consumer(part).await?;
        let mut pending = consumer.cached_info().num_pending;
        let mut taken = 0;
        while pending > 0 {
            let before = taken;
            let fetch = consumer.fetch().max_messages(FETCH_MAX).messages();
            let mut messages = fetch.await.map_err(refused("read"))?;
            while let Some(message) = messages.try_next().await.map_err(refused("read"))? {
                let place = message.info().map_err(refused("read"))?;
                let row = place.stream_sequence;
                pending = place.pending;
                taken += 1;
                if place.consumer_sequence != taken {
                    return Err(refused("read")(Incomplete));
                }
                if row > part.last {
                    return Ok(());
                }
                if let Some(found) = found(row, &self.prefix, message)
                    && take(found).is_break()
                {
                    return Ok(());
                }
            }
            // Silence is not the end: what was pending is still there.
            if taken == before {
                return Err(refused("read")(Incomplete));
            }
        }
        Ok(())
    }

    async fn consumer(&self, part: Part<'_>) -> Result<jetstream::consumer::Consumer<pull::Config>, StoreError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: part.first },
            ack_policy: AckPolicy::None,
            filter_subject: part.node.map(|node| subjects_of(&self.prefix, node)).unwrap_or_default(),
            headers_only: part.headers_only,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: std::time::Duration::from_secs(60),
            ..pull::Config::default()
        };
        self.stream.create_consumer(config).await.map_err(refused("read"))
    }
}

fn found(row: u64, prefix: &str, message: jetstream::Message) -> Option<Found> {
    let message = message.message;
    let headers = message.headers.as_ref()?;
    let told = Told::read(prefix, &message.subject, headers)?;
    let size = headers.get(SIZE).and_then(|size| size.as_str().parse().ok()).unwrap_or(message.payload.len() as u64);
    Some(Found { row, told, size, body: message.payload })
}

/// The newest events that match, up to a bound, each once.
struct Gathered {
    events: VecDeque<ArrivedEvent>,
    max: usize,
    /// Identifiers of what is gathered, by what tells events apart.
    known: HashMap<Key, String>,
}

/// Node, epoch, lane and sequence; of an event without a number node and identifier.
type Key = (Arc<str>, Arc<str>, String, u64);

impl Gathered {
    fn new(max: usize) -> Gathered {
        Gathered { events: VecDeque::new(), max, known: HashMap::new() }
    }

    fn take(&mut self, found: Found, query: &Query) {
        let Found { row, told: Told { node, received_at, event, .. }, body, .. } = found;
        let Some(event) = event else { return };
        if !query.takes(&body) {
            return;
        }
        let stored = ArrivedEvent { row, node, epoch: event.epoch, place: event.place, received_at, bytes: body };
        let key = key(&stored, &event.id);
        match self.known.get(&key) {
            Some(id) if *id == event.id => return,
            // Another event under the same number: both are shown, and neither is a repeat of the other.
            Some(_) => {}
            None => {
                self.known.insert(key, event.id);
            }
        }
        self.events.push_back(stored);
        if self.events.len() > self.max {
            self.events.pop_front();
        }
        // What tells repeats apart must not grow with the stream either.
        if self.known.len() > self.max.saturating_mul(4).saturating_add(OVERTAKEN_ROWS_MAX) {
            self.known.clear();
        }
    }
}

fn key(event: &ArrivedEvent, id: &str) -> Key {
    match &event.place {
        Some(place) => (Arc::clone(&event.node), Arc::clone(&event.epoch), place.lane.clone(), place.sequence),
        None => (Arc::clone(&event.node), Arc::clone(&event.epoch), id.to_owned(), 0),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a part of it did not come; try again")]
struct Incomplete;
