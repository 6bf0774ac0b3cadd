//! From payload to log: an [`Emitter`] stamps identifier, time and source, filters by level and category, and appends.
//!
//! Takes from collectors and the local socket, gives to the event log. There is no queue here: the caller waits while
//! the log's memory buffer is full. An event is refused whole or accepted whole.

mod emitter;
mod memory;

pub use emitter::{Durability, EmitError, Emitter, Origin, Outcome};
pub use memory::Memory;
