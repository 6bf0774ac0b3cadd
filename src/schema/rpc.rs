//! The detail that a gRPC error may carry beside code and message: when to try again. Written by servers, read by
//! clients; travels as `google.rpc.Status` in the trailer `grpc-status-details-bin`.
//!
//! Numbers and names are those of google/rpc/status.proto and google/rpc/error_details.proto. Every other detail is passed over.

use std::time::Duration;

use prost::Message;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// The details of an error after which the caller is to wait for `delay`.
pub fn retry_after_details(code: i32, message: &str, delay: Duration) -> Vec<u8> {
    let retry_delay = prost_types::Duration::try_from(delay).ok();
    let detail = prost_types::Any { type_url: RETRY_INFO.to_owned(), value: RetryInfo { retry_delay }.encode_to_vec() };
    Status { code, message: message.to_owned(), details: vec![detail] }.encode_to_vec()
}

/// How long the details of an error ask to wait; `None` when they do not say, or not in a way that can be read.
pub fn retry_after(details: &[u8]) -> Option<Duration> {
    let status = Status::decode(details).ok()?;
    let detail = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay?;
    Duration::try_from(delay).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_that_a_server_asks_for_is_read_back() {
        let delay = Duration::from_millis(1_250);
        assert_eq!(retry_after(&retry_after_details(8, "later", delay)), Some(delay));
        // Code 14, "x", one RetryInfo of 3 s, byte by byte as protobuf has it.
        let mut bytes = vec![8, 14, 18, 1, b'x', 26, 48, 10, 40];
        bytes.extend_from_slice(RETRY_INFO.as_bytes());
        bytes.extend_from_slice(&[18, 4, 10, 2, 8, 3]);
        assert_eq!(retry_after(&bytes), Some(Duration::from_secs(3)));
    }

    #[test]
    fn other_details_and_rubbish_say_nothing() {
        assert_eq!(retry_after(b""), None);
        assert_eq!(retry_after(b"\xff\xff"), None);
        let negative = prost_types::Duration { seconds: -3, nanos: 0 };
        let detail = RetryInfo { retry_delay: Some(negative) }.encode_to_vec();
        let any = prost_types::Any { type_url: RETRY_INFO.to_owned(), value: detail };
        assert_eq!(retry_after(&Status { code: 8, message: String::new(), details: vec![any] }.encode_to_vec()), None);
    }
}
