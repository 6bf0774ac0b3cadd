//! The controller as a model: one queue, served in order; a batch beyond its bounds is refused with a word on when.

use std::{collections::VecDeque, time::Duration};

use super::dice::Dice;

/// CPU of a TLS handshake with a registration.
const CONNECT_COST: Duration = Duration::from_micros(1_000);

/// CPU and disk of a batch, and of each event in it: 133,000 durable events a second in batches of 500, as the reference
/// controller with SQLite was measured.
const BATCH_COST: Duration = Duration::from_micros(250);
const EVENT_COST_NANOS: u64 = 7_000;

/// CPU of a refusal.
const REFUSAL_COST: Duration = Duration::from_micros(30);

/// As the reference controller: batches that wait, beyond which more are refused; and how old the oldest may be.
const WAITING_MAX: usize = 512;
const AGE_MAX: Duration = Duration::from_secs(5);

/// The wait that is asked for: at least, at most.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(60);

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
        if is_batch && (self.batches >= WAITING_MAX || age > AGE_MAX) {
            self.busy_until = self.busy_until.max(now) + REFUSAL_COST;
            let queue = self.batches as f64 / WAITING_MAX as f64;
            let wait = age.max(self.busy_until - now).max(WAIT_MIN).mul_f64(1.0 + 4.0 * queue);
            return Err(wait.mul_f64(0.5 + dice.next()).clamp(WAIT_MIN, WAIT_MAX));
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
