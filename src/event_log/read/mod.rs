//! Reading: what is durable, frame by frame, as it is stored. Nothing here writes.

pub(super) mod pieces;
pub(super) mod reader;
pub(super) mod sieve;
