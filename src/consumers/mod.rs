//! Who listens to the log. Each consumer is a cursor over it with a name of its own: a slow one delays only itself, and
//! nothing it does reaches back.
//!
//! The [`Driver`] takes from the log and gives to a [`Sink`], as long as that takes. Always holds, for each consumer: the
//! cursor moves when, and only when, what it passes has arrived, is kept as a dead letter, or stands in a loss record.
//! [`programs`] are the consumers to whom the local socket gives, on their own account.
//! Deliberately absent: what any sink is. Those stand in `sinks`.

mod batch;
mod delivery;
mod driver;
mod effort;
mod failure;
mod news;
mod pacing;
pub mod programs;
mod refused;
mod renumbering;
mod sink;
mod state;
mod uncommitted;

#[cfg(test)]
mod tests;

pub use self::{
    batch::{Batch, Packing},
    delivery::{Delivery, Threshold},
    driver::Driver,
    effort::Effort,
    failure::{DeliveryFailure, Reason, Taken, Then, Verdict},
    news::Wording,
    pacing::{BACKOFF, Pacing},
    refused::{bury, letter},
    sink::Sink,
    state::ConsumerState,
};
