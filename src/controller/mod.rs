//! The reference controller: takes batches from agents and answers Ok only when they are stored.
//!
//! ```text
//! server    listens, serves, stops gracefully            tls, fresh   certificates and keys follow their files
//! incoming  connections, counted (strangers apart) and encrypted   heard, metrics, `health`   how it is
//! service   the three methods over HTTP/2; asks `token`, `denied`, `limits` and `pressure` before it reads anything
//! receive   reads a request whole, within the room that there is; unpack decompresses it
//! batch     cuts a request into its head and the events' bytes, never decoding and encoding them again
//! ingest    checks head and events, gives them to the store, answers
//! store     memory (bounded, for `try`), SQLite (durable), or a stream of NATS (durable, for many controllers)
//! command   `rodent-controller serve|events|nodes|gaps|token`
//! ```
//!
//! Independent of the agent's rooms, so that it checks the wire: it names `schema` and `event` only. Deliberately
//! absent: any command to an agent.

mod batch;
#[cfg(feature = "sqlite")]
pub mod command;
mod connect;
mod connection;
pub mod denied;
mod fresh;
mod heard;
mod incoming;
mod ingest;
mod limits;
mod metrics;
pub mod pressure;
mod receive;
pub mod server;
mod service;
mod state;
pub mod store;
mod strangers;
pub mod tls;
pub mod token;
mod unpack;

pub use limits::Limits;
pub use metrics::families;

/// Bytes of a file of keys; a longer one is a mistake.
const KEY_BYTES_MAX: u64 = 64 * 1024;
