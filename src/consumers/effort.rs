//! What deliveries cost a consumer: how long they take, and how many had to be made again. Written by who delivers, from any thread;
//! read by who shows it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    event_log::Lane,
    metrics::{Counter, Histogram},
};

/// Of one consumer, since the agent started.
#[derive(Debug, Default)]
pub struct Effort {
    /// How long each delivery took until there was an answer, whatever that was.
    pub took: Histogram,
    /// Deliveries of what had been sent before.
    pub retried: Counter,
}

/// How long a program keeps what it is given: from then, or from what it committed last, until it commits.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    pub(super) effort: Arc<Effort>,
    /// By lane; none while it has nothing.
    since: [Option<Instant>; 2],
}

impl Stopwatch {
    /// It was given something.
    pub(super) fn begin(&mut self, lane: Lane) {
        let [urgent, routine] = &mut self.since;
        let since = if lane == Lane::Urgent { urgent } else { routine };
        since.get_or_insert_with(Instant::now);
    }

    /// It has committed something; all that it was given when `is_all`.
    pub(super) fn lap(&mut self, lane: Lane, is_all: bool) {
        let [urgent, routine] = &mut self.since;
        let since = if lane == Lane::Urgent { urgent } else { routine };
        let took = since.map_or(Duration::ZERO, |since| since.elapsed());
        self.effort.took.observe(took);
        *since = (!is_all).then(Instant::now);
    }

    /// It has gone, and has nothing any more.
    pub(super) fn stop(&mut self) {
        self.since = [None; 2];
    }
}
