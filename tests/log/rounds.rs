//! The rounds of a trial: one writer after the other over the same log, and how much each writes before its end comes.
//!
//! How much, and not how long: a machine that does much else tries as much as one that has nothing to do. When chance has
//! not brought about everything that a trial is to see, more rounds follow that are certain to.

use std::path::PathBuf;

use crate::{
    child::Order,
    dice::{self, Dice},
    ledger::Tally,
};

/// The most events that a writer is let write: a third or so of what fills the log.
const EVENTS_MAX: u64 = 2500;
/// Rounds beyond those that are asked for. A handful of writers whose consumer rests write more than the log keeps.
const MORE: u64 = 20;

/// A writer, and when its end comes.
pub(crate) struct Round {
    pub(crate) order: Order,
    /// After so many events of its own were accepted.
    pub(crate) events: u64,
    /// Beyond those that were asked for: its writer has to come to write.
    pub(crate) is_more: bool,
}

pub(crate) struct Rounds {
    /// Of the log.
    directory: PathBuf,
    trials: u64,
    run: u64,
}

impl Rounds {
    /// As many as `usually`, unless the environment says otherwise, and a few more if those have not tried everything.
    pub(crate) fn new(directory: PathBuf, usually: u64) -> Rounds {
        Rounds { directory, trials: dice::trials(usually), run: 0 }
    }

    /// The next one, if there is any; `tally` is what was seen so far.
    pub(crate) fn next(&mut self, dice: &mut Dice, tally: &Tally) -> Option<Round> {
        self.run += 1;
        let (run, seed, directory) = (self.run, dice.throw(), self.directory.clone());
        let is_more = run > self.trials;
        if is_more && (tally.has_seen_all() || run > self.trials + MORE) {
            return None;
        }
        let (consumer_rests, events) = match is_more {
            false => (dice.once_in(3), dice.below(EVENTS_MAX)),
            // Only what nobody has read can be lost.
            true => (tally.committed > 0, EVENTS_MAX),
        };
        Some(Round { order: Order { directory, run, seed, consumer_rests }, events, is_more })
    }
}
