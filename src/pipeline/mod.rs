//! From payload to log: an [`Emitter`] stamps identifier, time and source, filters by level and category, and appends
//! to the lane that the event belongs to.
//!
//! Takes from collectors and the local socket, gives to the event log. There is no queue here: the caller waits while
//! the log's memory is full. An event is refused whole or accepted whole, and what the gate leaves out is counted apart;
//! one of the agent's own that is too large is cut and never refused for it.
//! The clock is handed in.

mod counters;
mod counts;
mod emitter;
mod fit;
mod gate;
mod identifier;
mod lane;
mod memory;
mod stamp;
#[cfg(test)]
mod tests;

pub use counters::{COUNTERS_MAX, CounterFault, CounterSettings, FieldCounter};
pub use counts::Counts;
pub use emitter::{EmitError, Emitter, Ends, Origin, Outcome};
pub use gate::Gate;
pub use memory::{Memory, MemoryKeeper};
