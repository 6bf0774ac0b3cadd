//! A request of SendEvents cut at event borders: the head's fields decoded, each event as the bytes that came. Nothing
//! is encoded again, so fields that this version does not know are kept. Taken by `ingest`.
//!
//! What holds: an event's bytes are a slice of the request, unchanged, in order; head, count and events are within
//! the bounds below. Whether the events' bytes are events is not asked here.

use bytes::Bytes;
use prost::Message;
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
        let mut reader = FieldReader { bytes: &request, offset: 0 };
        while let Some(field) = reader.next()? {
            if field.number == EVENTS_FIELD {
                let Value::Bytes { start } = field.value else {
                    return Err(BatchError::Malformed { offset: field.start });
                };
                push_event(&mut events, request.slice(start..reader.offset))?;
            } else {
                head.extend_from_slice(&request[field.start..reader.offset]);
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

/// Walks over the fields of one message without looking into them.
struct FieldReader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

struct Field {
    number: u32,
    start: usize,
    value: Value,
}

enum Value {
    Number,
    Bytes { start: usize },
}

impl FieldReader<'_> {
    /// The next field; the offset stands behind it then. Groups, which proto3 does not have, are malformed.
    fn next(&mut self) -> Result<Option<Field>, BatchError> {
        let start = self.offset;
        if start == self.bytes.len() {
            return Ok(None);
        }
        let malformed = BatchError::Malformed { offset: start };
        let key = self.varint().and_then(|key| u32::try_from(key).ok()).filter(|key| key >> 3 != 0);
        let value = match key.map(|key| key & 7) {
            Some(0) => self.varint().map(|_| Value::Number),
            Some(1) => self.skip(8).map(|_| Value::Number),
            Some(2) => self
                .varint()
                .and_then(|length| self.skip(usize::try_from(length).ok()?))
                .map(|start| Value::Bytes { start }),
            Some(5) => self.skip(4).map(|_| Value::Number),
            _ => None,
        };
        let (Some(key), Some(value)) = (key, value) else { return Err(malformed) };
        Ok(Some(Field { number: key >> 3, start, value }))
    }

    /// At most ten bytes, of which the last holds one bit.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.offset)?;
            self.offset += 1;
            if shift == 63 && byte > 1 {
                return None;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Passes `length` bytes; gives where they begin.
    fn skip(&mut self, length: usize) -> Option<usize> {
        let start = self.offset;
        self.offset = start.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        Some(start)
    }
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
