//! What an event is called, how much it matters, and how it looks in text and in JSON: all derived from the schema's
//! descriptors, so that a new payload needs nothing here.
//!
//! Pure: no I/O, no clock, no tokio. Takes encoded events or typed ones, gives names and text. What is deliberately
//! absent: any list of payloads, categories or operations.

#![warn(missing_docs)]

mod bloom;
mod catalogue;
mod credentials;
mod describe;
mod enumeration;
mod filter;
mod head;
pub mod json;
mod kind;
mod label;
mod left_out;
mod level;
mod loss_record;
mod manner;
mod meaning;
mod render;
mod role;
mod scan;
mod sentence;
mod summary;
mod trace;
mod unit;
mod view;

pub use bloom::{KindBloom, KindMark};
pub use catalogue::Catalogue;
pub use credentials::{text_without_credentials, without_credentials};
pub use describe::{Description, FieldDescription};
pub use filter::{Filter, FilterError};
pub use head::Head;
pub use kind::Kind;
pub use label::Label;
pub use left_out::{and_more, left_out};
pub use level::Level;
pub use loss_record::{LossRecord, loss_record, loss_record_cause, loss_record_consumer, may_be_loss_record};
pub use manner::Manner;
pub use meaning::Meaning;
pub use role::{MASK, Role, is_redacted};
pub use summary::Summary;
pub use trace::{TRACEPARENT, TRACEPARENT_VARIABLE, is_traceparent, note_trace};
pub use view::{DecodeError, EventView};

/// Free text beside a payload. Keys that begin with [`RESERVED_PREFIX`] are the agent's own.
pub type Metadata = std::collections::BTreeMap<String, String>;

/// Metadata keys of the agent; a caller that sets one is refused.
pub const RESERVED_PREFIX: &str = "rodent.";

/// The largest encoded event that is accepted, bytes.
pub const EVENT_BYTES_MAX: usize = 16 * 1024;
