//! The front door of the pipeline.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use super::{Counts, Gate, stamp::stamp};
use crate::{
    event::{EVENT_BYTES_MAX, Level, Metadata},
    event_log::{Draft, EventLog, Lane, LogError},
    schema::{
        Payload,
        events::{Event, EventCategory, event::EventPayload},
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

/// When a caller gets its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the events are durable.
    Committed,
    /// As soon as they are in memory.
    Buffered,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the log, under this identifier.
    Accepted(String),
    /// Left out by the configured levels or categories.
    Filtered,
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
                counts: Counts::default(),
                now: Box::new(now),
            }),
            source: Arc::from("agent"),
            emitted: Arc::default(),
        }
    }

    /// The same pipeline under another source, with a counter of its own.
    pub fn for_source(&self, source: &str) -> Emitter {
        Emitter { pipeline: Arc::clone(&self.pipeline), source: Arc::from(source), emitted: Arc::default() }
    }

    /// Emits a payload; answers when it is in the log's memory. Waits while that is full.
    ///
    /// # Errors
    /// When the event is larger than [`EVENT_BYTES_MAX`] or the log is closing.
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
        let category = category as i32;
        if !self.passes(level, category) {
            return Ok(Outcome::Filtered);
        }
        let id = Uuid::now_v7().to_string();
        let event = Event {
            event_id: id.clone(),
            level: level.to_wire().into(),
            category,
            source: self.source.to_string(),
            timestamp: (self.pipeline.now)(),
            metadata,
            event_payload: Some(payload),
        };
        let bytes = event.encode_to_vec();
        if bytes.len() > EVENT_BYTES_MAX {
            self.pipeline.counts.refused();
            return Err(EmitError::Refused(format!(
                "an event of {} is {} bytes long; at most {EVENT_BYTES_MAX} are taken",
                self.source,
                bytes.len()
            )));
        }
        let draft = Draft { event: &bytes, level: event.level, category, timestamp: event.timestamp };
        self.pipeline.log.append(Lane::Routine, &[draft]).await?;
        self.count(level, category);
        Ok(Outcome::Accepted(id))
    }

    /// Takes encoded events from a caller outside the agent: all of them or none. Checks each (size, payload, category,
    /// reserved metadata keys), stamps what is absent and the origin, keeps fields it does not know. Outcomes in order.
    ///
    /// # Errors
    /// [`EmitError::Refused`] names the first event at fault by its place in `events`, from 1.
    pub async fn submit(
        &self,
        events: Vec<Bytes>,
        origin: Origin,
        durability: Durability,
    ) -> Result<Vec<Outcome>, EmitError> {
        let now = (self.pipeline.now)();
        let mut stamped = Vec::with_capacity(events.len());
        for (place, event) in (1..).zip(&events) {
            match stamp(event, origin, now) {
                Ok(event) => stamped.push(event),
                Err(error) => {
                    self.pipeline.counts.refused();
                    return Err(at_place(error, place, events.len()));
                }
            }
        }
        let gate = self.gate();
        let taken: Vec<_> = stamped.iter().filter(|event| gate.passes(event.level, event.category)).collect();
        let drafts: Vec<_> = taken
            .iter()
            .map(|event| Draft {
                event: &event.bytes,
                level: event.level.to_wire().into(),
                category: event.category,
                timestamp: event.timestamp,
            })
            .collect();
        if !drafts.is_empty() {
            let next = self.pipeline.log.append(Lane::Routine, &drafts).await?;
            for event in &taken {
                self.count(event.level, event.category);
            }
            if durability == Durability::Committed {
                self.pipeline.log.commit(Lane::Routine, next).await?;
            }
        }
        Ok(stamped
            .into_iter()
            .map(|event| {
                if gate.passes(event.level, event.category) {
                    Outcome::Accepted(event.id)
                } else {
                    self.pipeline.counts.filtered();
                    Outcome::Filtered
                }
            })
            .collect())
    }

    /// Makes durable what has been accepted so far.
    ///
    /// # Errors
    /// When the log cannot write.
    pub async fn flush(&self) -> Result<(), EmitError> {
        for lane in Lane::ALL {
            self.pipeline.log.commit(lane, self.pipeline.log.next_sequence(lane)).await?;
        }
        Ok(())
    }

    /// Replaces the gate, for every source.
    pub fn set_gate(&self, gate: Gate) {
        *self.pipeline.gate.write().unwrap_or_else(PoisonError::into_inner) = gate;
    }

    /// Counters of the whole pipeline.
    pub fn counts(&self) -> &Counts {
        &self.pipeline.counts
    }

    /// Events that this source has got into the log.
    pub fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    fn gate(&self) -> Gate {
        *self.pipeline.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn passes(&self, level: Level, category: i32) -> bool {
        let passes = self.gate().passes(level, category);
        if !passes {
            self.pipeline.counts.filtered();
        }
        passes
    }

    fn count(&self, level: Level, category: i32) {
        self.emitted.fetch_add(1, Ordering::Relaxed);
        self.pipeline.counts.accepted(level, category);
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
