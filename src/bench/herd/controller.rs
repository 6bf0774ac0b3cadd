//! The controller as a model: one queue, served in order; a batch beyond the bounds of the real one is refused with its
//! word on when.

use std::{collections::VecDeque, time::Duration};

use super::dice::Dice;
use crate::controller::pressure;

/// CPU of a TLS handshake with a registration.
const CONNECT_COST: Duration = Duration::from_micros(1_000);

/// CPU and disk of a batch, and of each event in it: 133,000 durable events a second in batches of 500, as the reference
/// controller with SQLite was measured.
const BATCH_COST: Duration = Duration::from_micros(250);
const EVENT_COST_NANOS: u64 = 7_000;

/// CPU of a refusal.
const REFUSAL_COST: Duration = Duration::from_micros(30);

/// What waits to be done.
pub(super) struct Job {
    pub(super) agent: usize,
    pub(super) work: Work,
    /// Of the agent's connection, to be told from one that was given up.
    pub(super) link: u64,
    pub(super) asked_at: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Connect,
    Batch { events: u64 },
}

/// The queue.
#[derive(Default)]
pub(super) struct Controller {
    queue: VecDeque<Job>,
    batches: usize,
    /// When what is in the queue will be done.
    busy_until: Duration,
}

pub(super) fn cost(work: Work) -> Duration {
    match work {
        Work::Connect => CONNECT_COST,
        Work::Batch { events } => BATCH_COST + Duration::from_nanos(EVENT_COST_NANOS * events),
    }
}

impl Controller {
    /// Takes a job, and says when it will be done; or how long its agent shall stay away.
    pub(super) fn take(&mut self, now: Duration, job: Job, dice: &mut Dice) -> Result<Duration, Duration> {
        let is_batch = matches!(job.work, Work::Batch { .. });
        let age = self.queue.front().map_or(Duration::ZERO, |oldest| now.saturating_sub(oldest.asked_at));
        if is_batch && (self.batches >= pressure::WAITING_MAX || age > pressure::AGE_MAX) {
            self.busy_until = self.busy_until.max(now) + REFUSAL_COST;
            return Err(pressure::wait(age.max(self.busy_until - now), self.batches, dice.next()));
        }
        self.busy_until = self.busy_until.max(now) + cost(job.work);
        self.batches += usize::from(is_batch);
        self.queue.push_back(job);
        Ok(self.busy_until)
    }

    /// The oldest job is done.
    pub(super) fn done(&mut self) -> Option<Job> {
        let job = self.queue.pop_front()?;
        self.batches -= usize::from(matches!(job.work, Work::Batch { .. }));
        Some(job)
    }
}
