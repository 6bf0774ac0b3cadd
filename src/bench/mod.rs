//! Measures the rooms on the machine at hand, for `rodent bench`. Every figure is printed beside what the same machine does
//! in the same run without Rodent: a plain file with fdatasync, the same events as JSON.
//!
//! Named by the command line only.

pub mod consume;
pub mod encoding;
pub mod herd;
pub mod ingest;
pub mod log;
mod machine;
mod sample;
mod scratch;
pub mod uplink;
pub mod webhook;

pub use scratch::Scratch;
