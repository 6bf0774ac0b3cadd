//! How each thing of the machine is now, folded from its events by what the schema says they begin and end.
//!
//! Given the events of both lanes and the gaps between them by whoever reads the log; gives a level, since when, the last
//! sentence and the last changes of every state of every thing ([`SubjectState`](crate::schema::local::SubjectState)), and
//! until which event and over which gaps that is so. Pure but for one file: its [`Checkpoint`] can be written beside the log
//! and read again.
//!
//! Always holds: the same events give the same states, however they are cut into runs, with or without a checkpoint between
//! them; an event that happened later wins, whichever lane brings it first; at most [`SUBJECTS_MAX`] states are kept, and
//! what was left out for that is counted. Deliberately absent: any list of kinds, states or collectors, the clock, and the
//! health of the agent, which is said by its parts.

mod acknowledgement;
mod changes;
mod checkpoint;
mod fold;
mod silences;
#[cfg(test)]
mod tests;

use std::{future::Future, pin::Pin};

pub use self::{
    changes::EventOrder,
    checkpoint::{Checkpoint, CheckpointDamage, FILE_BYTES_MAX},
    fold::{Fold, LaneAt, OTHERS_MAX, SUBJECTS_MAX},
    silences::{SILENCE_MAX, SILENCES_MAX, Silences},
};

/// How things are, kept by somebody else.
pub trait StatesWatch: Send + Sync {
    /// Has a look; quick, for who keeps them waits for it.
    fn look(&self, with: &mut dyn FnMut(&Fold));

    /// Waits until the events before these sequences, urgent first, are folded. Cancel safe.
    fn await_folded(&self, next: [u64; 2]) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
