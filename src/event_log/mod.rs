//! The event log: keeps encoded events in the order in which they were accepted and lets each consumer read at its own
//! pace. The only user of sled.
//!
//! Takes from the pipeline, gives to sinks, the local socket and the command line. Nothing here knows what an event
//! means: it sees bytes, a level, a category and a time.
//!
//! # Layout
//!
//! ```text
//! log/ledger                 cursors, what is owed to consumers, epoch: small slots, each written twice in turn
//! log/routine/gen-0000000007/   sealed: written once, read, removed whole
//! log/routine/gen-0000000008/   active: the writer appends frames to its slots
//! log/urgent/…               the same for what must not wait
//! log/ballast                space to give up when the disk is full
//! log/quarantine/            what could not be read; never removed but by its bound
//! ```
//!
//! Always holds: a sequence is given once and never for two events of an epoch; what readers see, and what a committed
//! answer stands for, is durable (see `durable`); memory and descriptors do not depend on what is stored; what is
//! removed before every consumer had it is recorded as lost, and that record is itself an event of the log.
//!
//! # Floors
//!
//! ```text
//! disk     frames, generations, their row; the ledger's file; what is damaged, locked, set aside     paths and bytes
//! ledger   consumers and what they are owed, numbering, age; what may go                             pure
//! write    the one thread that writes: flushes, seals, retains, works around a failing disk
//! read     readers: frame by frame, as it is stored
//! ```
//!
//! A floor names those above it in this list. `write` and `read` name nothing of each other: what they share is `shared`,
//! over the buffer, the rows and the ledger. Beside them stand the handles (`log`, `cursor`, `program_cursors`), the start (`opening`) and the
//! log of an agent that does not run (`offline`).

mod acceptance;
mod buffer;
mod clock_state;
mod cursor;
mod disk;
mod draft;
mod error;
mod lane;
mod ledger;
mod log;
mod loss_counts;
mod offline;
mod opening;
mod program_cursors;
mod ranges;
mod reach;
mod read;
mod record;
mod refusal;
mod settings;
mod shared;
mod status;
mod write;

#[cfg(test)]
mod tests;

pub use self::{
    clock_state::ClockState,
    cursor::Cursor,
    disk::{generation::GENERATION_BYTES, quarantine::Quarantined},
    draft::{APPENDED_AGAIN, Draft},
    error::LogError,
    lane::Lane,
    ledger::{consumer::BLOB_BYTES_MAX, loss::Cause, ownership::Ownership},
    log::EventLog,
    loss_counts::LossCount,
    offline::{GenerationReport, Glance, Report, StoppedLog},
    program_cursors::KnownLoss,
    read::{
        pieces::{Piece, Pieces},
        reader::{BatchLimits, Gap, Read, Reader, Run, StoredEvent},
        sieve::Sieve,
    },
    refusal::Refusal,
    settings::{Room, Settings},
    status::{CursorState, LaneState, LogState},
};
