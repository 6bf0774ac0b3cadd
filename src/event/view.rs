//! An event decoded for looking at, through the descriptors and not through the generated types: fields that this
//! version does not know are kept.

use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::{Kind, Level};

/// An event as its readers see it.
#[derive(Clone, Debug)]
pub struct EventView {
    message: DynamicMessage,
}

/// These bytes are no event.
#[derive(Debug, thiserror::Error)]
#[error("not an encoded event")]
pub struct DecodeError(#[from] prost::DecodeError);

impl EventView {
    /// Decodes `rodent.events.Event`.
    ///
    /// # Errors
    /// When the bytes are not protobuf of that message.
    pub fn decode(_bytes: &[u8]) -> Result<EventView, DecodeError> {
        unimplemented!("H-event")
    }

    /// Identifier; empty when the event has none.
    pub fn id(&self) -> &str {
        unimplemented!()
    }
    /// Unix milliseconds.
    pub fn timestamp(&self) -> i64 {
        unimplemented!()
    }
    /// Level; an unspecified or unknown number counts as info.
    pub fn level(&self) -> Level {
        unimplemented!()
    }
    /// The name of what happened.
    pub fn kind(&self) -> Kind {
        unimplemented!()
    }
    /// Collector, or `local`.
    pub fn source(&self) -> &str {
        unimplemented!()
    }
    /// One metadata value.
    pub fn metadata(&self, _key: &str) -> Option<&str> {
        unimplemented!()
    }
    /// The payload's message (`StoragePoolPayload`, …), if one is set.
    pub fn payload(&self) -> Option<&DynamicMessage> {
        unimplemented!()
    }
    /// The whole event.
    pub fn message(&self) -> &DynamicMessage {
        &self.message
    }
}

/// The descriptor of `rodent.events.Event`.
pub(super) fn event_descriptor() -> MessageDescriptor {
    unimplemented!()
}
