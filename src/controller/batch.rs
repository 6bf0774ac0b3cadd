//! A request of SendEvents cut at event borders: the head's fields decoded, each event as the bytes that came. Nothing
//! is encoded again, so fields that this version does not know are kept. Taken by `ingest`.
//!
//! What holds: an event's bytes are a slice of the request, unchanged, in order; head, count and events are within
//! the bounds below. Whether the events' bytes are events is not asked here.

use bytes::Bytes;
use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint},
};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

use crate::{
    event::EVENT_BYTES_MAX,
    schema::wire::{EventBatch, EventBatchResponse},
};

/// Events in one request; more are refused.
pub(super) const EVENTS_MAX: usize = 10_000;

/// Bytes of everything beside the events, fields of later versions included; more are refused.
const HEAD_BYTES_MAX: usize = 4 * 1024;

/// Number of `EventBatch.events`.
const EVENTS_FIELD: u32 = 1;

/// A request, cut.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    /// Every other field of the request; its `events` are empty.
    pub(super) head: EventBatch,
    /// The events as they came.
    pub(super) events: Vec<Bytes>,
}

/// Why a request is no batch. The messages go to the caller.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum BatchError {
    #[error("the request is no EventBatch: malformed at byte {offset}")]
    Malformed { offset: usize },
    #[error("the request is no EventBatch")]
    Head(#[source] prost::DecodeError),
    #[error("more than {HEAD_BYTES_MAX} bytes beside the events of a batch")]
    HeadTooLarge,
    #[error("more than {EVENTS_MAX} events in a batch")]
    TooManyEvents,
    #[error("event {index} of the batch has {bytes} bytes; at most {EVENT_BYTES_MAX} are accepted")]
    EventTooLarge { index: usize, bytes: usize },
}

impl Batch {
    /// Cuts a request.
    ///
    /// # Errors
    /// When it is not protobuf of that message, or beyond a bound.
    pub(super) fn split(request: Bytes) -> Result<Batch, BatchError> {
        let mut events = Vec::new();
        let mut head = Vec::new();
        let mut offset = 0;
        while offset < request.len() {
            let field = field_at(&request, offset).ok_or(BatchError::Malformed { offset })?;
            offset = field.end;
            if field.number == EVENTS_FIELD {
                let content = field.content.ok_or(BatchError::Malformed { offset: field.start })?;
                push_event(&mut events, request.slice(content..field.end))?;
            } else {
                head.extend_from_slice(&request[field.start..field.end]);
                if head.len() > HEAD_BYTES_MAX {
                    return Err(BatchError::HeadTooLarge);
                }
            }
        }
        let head = EventBatch::decode(head.as_slice()).map_err(BatchError::Head)?;
        Ok(Batch { head, events })
    }
}

fn push_event(events: &mut Vec<Bytes>, event: Bytes) -> Result<(), BatchError> {
    if event.len() > EVENT_BYTES_MAX {
        return Err(BatchError::EventTooLarge { index: events.len(), bytes: event.len() });
    }
    if events.len() == EVENTS_MAX {
        return Err(BatchError::TooManyEvents);
    }
    events.push(event);
    Ok(())
}

/// A field of a message that is not looked into.
struct Field {
    number: u32,
    /// Where the field begins, and where the bytes do of one that has a length.
    start: usize,
    content: Option<usize>,
    end: usize,
}

/// The field that begins at `start`. Groups, which proto3 does not have, are none.
fn field_at(message: &[u8], start: usize) -> Option<Field> {
    let mut rest = message.get(start..)?;
    let (number, wire_type) = decode_key(&mut rest).ok()?;
    let (content, length) = match wire_type {
        WireType::Varint => (None, decode_varint(&mut rest).map(|_| 0).ok()?),
        WireType::SixtyFourBit => (None, 8),
        WireType::ThirtyTwoBit => (None, 4),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            (Some(message.len() - rest.len()), length)
        }
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let end = (message.len() - rest.len()).checked_add(length).filter(|end| *end <= message.len())?;
    Some(Field { number, start, content, end })
}

/// Reads a [`Batch`], writes its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchCodec;

impl Codec for BatchCodec {
    type Encode = EventBatchResponse;
    type Decode = Batch;
    type Encoder = ProstEncoder<EventBatchResponse>;
    type Decoder = BatchCodec;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> BatchCodec {
        BatchCodec
    }
}

impl Decoder for BatchCodec {
    type Item = Batch;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Batch>, Status> {
        use bytes::Buf;
        let request = buffer.copy_to_bytes(buffer.remaining());
        Batch::split(request).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
