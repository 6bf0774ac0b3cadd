//! The reference controller over a real connection on the loopback: every answer that an agent may get, on both
//! stores; and what survives when its process is killed.

mod answers;
mod cases;
#[cfg(feature = "sqlite")]
mod completeness;
mod encrypted;
mod limits;
#[cfg(all(feature = "nats", feature = "sqlite"))]
mod nats;
pub(crate) mod peer;
#[cfg(feature = "sqlite")]
mod process;
mod running;
mod shutdown;
