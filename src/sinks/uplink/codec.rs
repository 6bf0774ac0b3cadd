//! Sends a batch that is already encoded: the client's half of `SendEvents` without an encoder.

use bytes::{BufMut as _, Bytes};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

use crate::schema::wire::EventBatchResponse;

/// Encoded requests, ordinary answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EncodedBatchCodec;

impl Codec for EncodedBatchCodec {
    type Encode = Bytes;
    type Decode = EventBatchResponse;
    type Encoder = CopyEncoder;
    type Decoder = ProstDecoder<EventBatchResponse>;

    fn encoder(&mut self) -> CopyEncoder {
        CopyEncoder
    }

    fn decoder(&mut self) -> ProstDecoder<EventBatchResponse> {
        ProstDecoder::new(BufferSettings::default())
    }
}

/// Copies what it is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyEncoder;

impl Encoder for CopyEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}
