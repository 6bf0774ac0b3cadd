//! The front door of the pipeline.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use prost::Message as _;

use super::{
    CounterSettings, Counts, FieldCounter, Gate, Memory,
    counters::Counters,
    fit, identifier,
    lane::{Facts, Sorted, UrgentStates},
    stamp::{Stamp, Stamped},
};
use crate::{
    event::{Catalogue, EVENT_BYTES_MAX, Head, Kind, Level, Metadata},
    event_log::{Draft, EventLog, Lane, LogError},
    lock::{self, lock},
    schema::{
        Payload,
        events::{Event, EventCategory, event::EventPayload},
        local::emit_request::Durability,
    },
    telemetry::ErrorChain,
};

/// Emits events under one source. Cheap to copy.
#[derive(Clone)]
pub struct Emitter {
    pipeline: Arc<Pipeline>,
    source: Arc<str>,
    emitted: Arc<AtomicU64>,
}

struct Pipeline {
    log: EventLog,
    gate: RwLock<Gate>,
    counts: Counts,
    counters: Counters,
    urgent: Mutex<UrgentStates>,
    /// Where the urgent states are written down.
    memory: OnceLock<Memory>,
    /// Unix milliseconds.
    now: Box<dyn Fn() -> i64 + Send + Sync>,
}

/// Who sent an event through the socket: recorded as `rodent.uid` and `rodent.gid`, and not to be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// User of the peer, as the kernel says.
    pub uid: u32,
    /// Group of the peer, as the kernel says.
    pub gid: u32,
}

impl Origin {
    /// Who that is, in an event that tells what somebody did: `root`, `user 1000`.
    pub fn actor(self) -> String {
        if self.uid == 0 { "root".to_owned() } else { format!("user {}", self.uid) }
    }
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the log, under this identifier.
    Accepted(String),
    /// Left out by the configured levels or categories.
    Filtered,
}

/// What became of events that were submitted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Of each, in order.
    pub outcomes: Vec<Outcome>,
    /// Where those that were accepted end.
    pub ends: Ends,
}

/// The sequence after the last of some events, in each lane that took any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    next: [Option<u64>; 2],
}

impl Ends {
    /// Whether no lane took any.
    pub fn is_empty(self) -> bool {
        self.next == [None; 2]
    }

    /// Of these events and of those, the later in each lane.
    #[must_use]
    pub fn or_later(self, other: Ends) -> Ends {
        let ([urgent, routine], [other_urgent, other_routine]) = (self.next, other.next);
        Ends { next: [urgent.max(other_urgent), routine.max(other_routine)] }
    }
}

/// Why an event was not taken. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The caller sent something that is no acceptable event; says what is wrong.
    #[error("{0}")]
    Refused(String),
    /// The log is closing or cannot write.
    #[error("the event log takes no events: {0}")]
    Unavailable(String),
}

impl From<LogError> for EmitError {
    fn from(error: LogError) -> EmitError {
        EmitError::Unavailable(ErrorChain(&error).to_string())
    }
}

impl Emitter {
    /// A pipeline into `log`. `now` gives Unix milliseconds.
    pub fn new(log: EventLog, gate: Gate, now: impl Fn() -> i64 + Send + Sync + 'static) -> Emitter {
        Emitter {
            pipeline: Arc::new(Pipeline {
                log,
                gate: RwLock::new(gate),
                counts: Counts::new(Catalogue::compiled()),
                counters: Counters::default(),
                urgent: Mutex::default(),
                memory: OnceLock::new(),
                now: Box::new(now),
            }),
            source: Arc::from("agent"),
            emitted: Arc::default(),
        }
    }

    /// Goes on with the urgent states of the last run, and writes them down from now on. Before the first event; blocking,
    /// one small file.
    pub fn remember_in(&self, memory: Memory) {
        *self.urgent() = UrgentStates::from_names(memory.recall().unwrap_or_default());
        let _ = self.pipeline.memory.set(memory);
    }

    /// The same pipeline under another source, with a counter of its own.
    pub fn for_source(&self, source: &str) -> Emitter {
        Emitter { pipeline: Arc::clone(&self.pipeline), source: Arc::from(source), emitted: Arc::default() }
    }

    /// Emits a payload; answers when it is in the log's memory. Waits while that is full. An event larger than
    /// [`EVENT_BYTES_MAX`] is cut until it fits.
    ///
    /// # Errors
    /// When the log is closing.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the event has not been taken.
    pub async fn emit<P: Payload>(&self, level: Level, payload: P, metadata: Metadata) -> Result<Outcome, EmitError> {
        self.emit_payload(level, P::CATEGORY, payload.into_event_payload(), metadata).await
    }

    /// Emits a payload whose type is not known here any more. Otherwise as [`Emitter::emit`].
    ///
    /// # Errors
    /// As [`Emitter::emit`].
    pub async fn emit_payload(
        &self,
        level: Level,
        category: EventCategory,
        payload: EventPayload,
        metadata: Metadata,
    ) -> Result<Outcome, EmitError> {
        let is_let_in = self.gate().passes(level, category as i32);
        if !is_let_in && self.urgent().is_empty() {
            self.pipeline.counts.filtered(category as i32);
            return Ok(Outcome::Filtered);
        }
        let mut encoded = Vec::with_capacity(payload.encoded_len());
        payload.encode(&mut encoded);
        let head = Head::of_payload(level, category.into(), &encoded);
        let (facts, kind) = (Facts::of(&head, level, category.into()), Some(head.kind_mark()));
        // What was told as urgent is told to be over, whatever levels are kept: else it would stand for ever.
        if !is_let_in && !self.urgent().are_spoken_of_by(&facts) {
            self.pipeline.counts.filtered(category.into());
            return Ok(Outcome::Filtered);
        }
        let now = (self.pipeline.now)();
        let event = Event {
            event_id: identifier::new(now),
            level: level.to_wire().into(),
            category: category.into(),
            source: self.source.to_string(),
            timestamp: now,
            metadata,
            event_payload: None,
        };
        let mut bytes = event.encode_to_vec();
        bytes.append(&mut encoded);
        let (bytes, was_cut) = fit::fit(bytes);
        if was_cut {
            tracing::debug!(source = %self.source, "an event was too long and tells less than it could");
        }
        if bytes.len() > EVENT_BYTES_MAX {
            // There is nothing left to cut: what no emitter makes. Nobody else would tell of it.
            self.pipeline.counts.refused();
            let (source, length) = (&self.source, bytes.len());
            let why = format!("an event of {source} is {length} bytes long; at most {EVENT_BYTES_MAX} are taken");
            tracing::error!(why, "an event was refused");
            return Err(EmitError::Refused(why));
        }
        let draft =
            Draft { event: &bytes, level: event.level, category: event.category, timestamp: event.timestamp, kind };
        let sorted = self.sort([&facts]);
        self.pipeline.log.append(sorted.lane(0), &[draft]).await?;
        sorted.keep();
        self.count(level, event.category, head.kind().as_ref(), &bytes);
        Ok(Outcome::Accepted(event.event_id))
    }

    /// Takes encoded events from a caller outside the agent into memory: all of them or none, as long as the log takes
    /// events. Checks each (size, payload, category, reserved metadata keys), stamps what is absent and the origin, keeps
    /// fields it does not know. Those of one lane stay in their order. Outcomes in order. `durability` is what the caller
    /// asks [`Emitter::secure`] for next: of what is to be committed the log need not be told twice.
    ///
    /// # Errors
    /// [`EmitError::Refused`] names the first event at fault by its place in `events`, from 1.
    pub async fn submit(
        &self,
        events: Vec<Bytes>,
        origin: Origin,
        durability: Durability,
    ) -> Result<Submission, EmitError> {
        let stamp = Stamp::new(origin, (self.pipeline.now)());
        let (stamped, completed) = stamp.complete_all(&events).map_err(|(place, error)| {
            self.pipeline.counts.refused();
            at_place(error, place + 1, events.len())
        })?;
        drop(events);
        let gate = self.gate();
        let is_let_in = |event: &Stamped| gate.passes(event.level, event.category);
        let begun: HashSet<&str> =
            stamped.iter().filter(|event| is_let_in(event)).filter_map(|event| event.facts.begun()).collect();
        // As above; also what this request itself has begun.
        let ends = |event: &Stamped| {
            self.urgent().are_spoken_of_by(&event.facts) || event.facts.states().any(|state| begun.contains(state))
        };
        let passes: Vec<bool> = stamped.iter().map(|event| is_let_in(event) || ends(event)).collect();
        let taken: Vec<_> =
            stamped.iter().zip(&passes).filter(|(_, passes)| **passes).map(|(event, _)| event).collect();
        let sorted = self.sort(taken.iter().map(|event| &event.facts));
        let ends = self.append(&taken, &completed, &sorted, durability).await?;
        sorted.keep();
        for event in &taken {
            self.count(event.level, event.category, event.kind.as_ref(), event.bytes(&completed));
        }
        let outcome = |(event, passes): (Stamped, bool)| {
            if passes {
                return Outcome::Accepted(event.id);
            }
            self.pipeline.counts.filtered(event.category);
            Outcome::Filtered
        };
        Ok(Submission { outcomes: stamped.into_iter().zip(passes).map(outcome).collect(), ends })
    }

    /// Appends events to their lanes, all of them or none.
    async fn append(
        &self,
        events: &[&Stamped],
        completed: &[u8],
        sorted: &Pending<'_>,
        durability: Durability,
    ) -> Result<Ends, EmitError> {
        if events.is_empty() {
            return Ok(Ends::default());
        }
        let drafts = Lane::ALL.map(|lane| {
            let of_lane = events.iter().enumerate().filter(|(place, _)| sorted.lane(*place) == lane);
            of_lane.map(|(_, event)| event.draft(completed)).collect::<Vec<_>>()
        });
        let is_awaited = durability == Durability::Committed;
        let next = self.pipeline.log.append_to_both(drafts.each_ref().map(Vec::as_slice), is_awaited).await?;
        let of_lane = |lane: Lane| (!drafts[lane.index()].is_empty()).then_some(next[lane.index()]);
        Ok(Ends { next: Lane::ALL.map(of_lane) })
    }

    /// Makes events durable, in both lanes at once; while the disk cannot be written, gives why not. Cancel safe.
    ///
    /// # Errors
    /// When the log cannot write.
    pub async fn secure(&self, ends: Ends) -> Result<Option<String>, EmitError> {
        let log = &self.pipeline.log;
        let lanes = Lane::ALL.into_iter().zip(ends.next).filter_map(|(lane, next)| Some((lane, next?)));
        let secured = futures_util::future::try_join_all(lanes.map(|(lane, next)| log.secure(lane, next))).await?;
        Ok(secured.into_iter().flatten().next())
    }

    /// Makes durable what has been accepted so far. Otherwise as [`Emitter::secure`].
    ///
    /// # Errors
    /// As [`Emitter::secure`].
    pub async fn flush(&self) -> Result<Option<String>, EmitError> {
        self.secure(Ends { next: Lane::ALL.map(|lane| Some(self.pipeline.log.next_sequence(lane))) }).await
    }

    /// Replaces the gate, for every source.
    pub fn set_gate(&self, gate: Gate) {
        *lock::write(&self.pipeline.gate) = gate;
    }

    /// Counts these from now on; those that are as before go on.
    pub fn set_counters(&self, counters: &[CounterSettings]) {
        self.pipeline.counters.set(counters);
    }

    /// What the configuration has counted.
    pub fn counters(&self) -> Arc<[Arc<FieldCounter>]> {
        self.pipeline.counters.all()
    }

    /// Counters of the whole pipeline.
    pub fn counts(&self) -> &Counts {
        &self.pipeline.counts
    }

    /// Events that this source has got into the log.
    pub fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    fn sort<'a>(&self, events: impl IntoIterator<Item = &'a Facts>) -> Pending<'_> {
        Pending { emitter: self, sorted: Some(self.urgent().sort(events)) }
    }

    fn urgent(&self) -> MutexGuard<'_, UrgentStates> {
        lock(&self.pipeline.urgent)
    }

    fn gate(&self) -> Gate {
        lock::read(&self.pipeline.gate).clone()
    }

    fn count(&self, level: Level, category: i32, kind: Option<&Kind>, event: &[u8]) {
        self.emitted.fetch_add(1, Ordering::Relaxed);
        self.pipeline.counts.accepted(level, category, kind);
        self.pipeline.counters.count(event);
    }
}

/// Events that are sorted and not yet in the log. Dropped, what followed from them is forgotten.
struct Pending<'a> {
    emitter: &'a Emitter,
    sorted: Option<Sorted>,
}

impl Pending<'_> {
    fn lane(&self, place: usize) -> Lane {
        let lanes = self.sorted.as_ref().map(|sorted| sorted.lanes.as_slice()).unwrap_or_default();
        lanes.get(place).copied().unwrap_or(Lane::Routine)
    }

    /// The log has taken the events: what is written down is so after them.
    fn keep(mut self) {
        let is_news = self.sorted.take().is_some_and(|sorted| sorted.is_news());
        if let Some(memory) = self.emitter.pipeline.memory.get().filter(|_| is_news) {
            memory.remember(&self.emitter.urgent().names().collect::<Vec<_>>());
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(sorted) = self.sorted.take() {
            self.emitter.urgent().undo(sorted);
        }
    }
}

fn at_place(error: EmitError, place: usize, of: usize) -> EmitError {
    match error {
        EmitError::Refused(what) if of > 1 => EmitError::Refused(format!("event {place} of {of} {what}")),
        EmitError::Refused(what) => EmitError::Refused(format!("the event {what}")),
        other => other,
    }
}

include!(concat!(env!("OUT_DIR"), "/emitter_methods.rs"));
