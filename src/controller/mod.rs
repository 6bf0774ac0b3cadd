//! The reference controller: takes batches from agents and answers Ok only when they are stored.
//!
//! ```text
//! server    listens, limits, stops gracefully
//! service   the three methods over HTTP/2; asks `token` before it reads anything
//! batch     cuts a request into its head and the events' bytes, never decoding and encoding them again
//! ingest    checks head and events, gives them to the store, answers
//! store     memory (bounded, for `try`) or SQLite (durable)
//! command   `rodent-controller serve|events|nodes|token`
//! ```
//!
//! Independent of the agent's rooms, so that it checks the wire: it names `schema` and `event` only. Deliberately
//! absent: TLS, more than one machine, and any command to an agent.

mod batch;
#[cfg(feature = "sqlite")]
pub mod command;
mod connect;
mod ingest;
pub mod server;
mod service;
pub mod store;
pub mod token;
