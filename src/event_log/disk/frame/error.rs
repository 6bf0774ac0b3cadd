//! Why bytes are no frame.

/// Why these bytes are not an intact frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::event_log) enum FrameError {
    #[error("shorter than a frame's header")]
    Short,
    #[error("does not begin like a frame")]
    Magic,
    #[error("the header's checksum is wrong")]
    HeaderChecksum,
    #[error("frame version {0} is not known")]
    Version(u8),
    #[error("codec {0} is not known")]
    Codec(u8),
    #[error("lane {0} is not known")]
    Lane(u8),
    #[error("the header's lengths are out of bounds")]
    Bounds,
    #[error("the body is cut short")]
    Truncated,
    #[error("the body's checksum is wrong")]
    BodyChecksum,
    #[error("the body cannot be decompressed")]
    Decompress,
    #[error("the body does not hold the events that the header counts")]
    Count,
}
