//! Writing: the one thread that makes frames, generations and the ledger durable, and lets go of what may go.

mod bookkeeping;
mod flush_thread;
mod pending;
mod removal;
mod rescue;
pub(super) mod writer;
