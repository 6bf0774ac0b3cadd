//! The body of a request, read whole before anything is made of it: a slow sender holds its own bytes and nothing else.
//! What all callers together may hold is bounded; beyond that the newest is refused, so that nobody waits for another.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use tokio::time::timeout;

/// What gRPC puts before a message: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// Shorter pieces are copied together. A piece keeps alive what it was read into, which is about a frame of 16 KiB, and has
/// its place in the list: of one byte each they would hold many times what is counted.
const PIECE_BYTES_MIN: usize = 8 * 1024;

/// What one request may be like.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// A larger body is refused.
    pub(super) bytes_max: usize,
    /// A sender that is silent for longer in the middle of a request is given up.
    pub(super) silence_max: Duration,
}

/// How much is held of requests that are being read or wait to be read, bytes.
pub(super) struct Room {
    held: AtomicUsize,
    max: usize,
}

impl Room {
    pub(super) fn new(max: usize) -> Arc<Room> {
        Arc::new(Room { held: AtomicUsize::new(0), max })
    }

    /// Counts so many bytes until what is returned is dropped.
    pub(super) fn hold(self: &Arc<Room>, bytes: usize) -> Result<Held, NotReceived> {
        let mut held = Held { room: Arc::clone(self), bytes: 0 };
        held.grow(bytes).map(|()| held)
    }

    /// Bytes that are held now.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Why a request was not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotReceived {
    /// It is larger than allowed.
    TooLarge,
    /// All requests together are.
    NoRoom,
    /// The sender went silent.
    Silent,
    /// The connection, or the sender, broke it off.
    BrokenOff,
}

/// The body of a request, in the pieces that it came in, but for short ones.
pub(super) struct Received {
    pieces: VecDeque<Bytes>,
    held: Held,
}

/// What a body is to gRPC, of which a call without a stream has one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Plain,
    Compressed,
    /// Less than a message, or more.
    Broken,
}

/// Bytes that count in a [`Room`] until this is dropped.
pub(super) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Received {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// Bytes of the whole body.
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Whether the body is exactly one message, and a compressed one.
    pub(super) fn message(&self) -> Message {
        let mut prefix = self.pieces.iter().flatten().copied();
        let is_compressed = prefix.next();
        let length = prefix.take(PREFIX_BYTES - 1).fold(0, |length, byte| length << 8 | usize::from(byte));
        match is_compressed {
            _ if self.len() < PREFIX_BYTES || self.len() - PREFIX_BYTES != length => Message::Broken,
            Some(1) => Message::Compressed,
            _ => Message::Plain,
        }
    }

    /// The bytes of the one message, joined.
    pub(super) fn joined(&self) -> Bytes {
        let mut joined = BytesMut::with_capacity(self.len());
        self.pieces.iter().for_each(|piece| joined.put_slice(piece));
        joined.freeze().slice(PREFIX_BYTES.min(self.len())..)
    }

    /// The same request with this message in clear. It counts with the bytes that it has now, refused by nobody: how many
    /// requests are decompressed at once is bounded by `service`.
    pub(super) fn with(mut self, message: Bytes) -> Received {
        let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
        prefix.put_u8(0);
        // A message is far below 4 GiB.
        prefix.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        self.pieces = [prefix.freeze(), message].into();
        self.held.become_bytes(self.len());
        self
    }
}

impl Held {
    fn become_bytes(&mut self, bytes: usize) {
        self.room.held.fetch_add(bytes, Ordering::Relaxed);
        self.room.held.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Ordering::Relaxed);
    }

    fn grow(&mut self, bytes: usize) -> Result<(), NotReceived> {
        self.bytes += bytes;
        let held = self.room.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.room.max { Err(NotReceived::NoRoom) } else { Ok(()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body to its end. `charge` is told the bytes of each piece, whatever becomes of the body.
pub(super) async fn receive<B>(
    mut body: B,
    bounds: Bounds,
    room: &Arc<Room>,
    charge: impl Fn(usize),
) -> Result<Received, NotReceived>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut received = Received { pieces: VecDeque::new(), held: Held { room: Arc::clone(room), bytes: 0 } };
    let mut short = BytesMut::new();
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let Some(frame) = timeout(bounds.silence_max, frame).await.map_err(|_| NotReceived::Silent)? else {
            received.push(short.freeze());
            return Ok(received);
        };
        // Trailers are not for us.
        let Ok(piece) = frame.map_err(|_| NotReceived::BrokenOff)?.into_data() else { continue };
        charge(piece.len());
        if received.held.bytes + piece.len() > bounds.bytes_max {
            return Err(NotReceived::TooLarge);
        }
        received.held.grow(piece.len())?;
        let is_short = piece.len() < PIECE_BYTES_MIN;
        if is_short {
            short.put_slice(&piece);
        }
        if !is_short || short.len() >= PIECE_BYTES_MIN {
            received.push(std::mem::take(&mut short).freeze());
        }
        if !is_short {
            received.push(piece);
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body in pieces; then it is silent or ends.
    struct Pieces(VecDeque<Bytes>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                None if self.1 => Poll::Pending,
                piece => Poll::Ready(piece.map(|piece| Ok(Frame::data(piece)))),
            }
        }
    }

    fn pieces(sizes: &[usize], silent: bool) -> Pieces {
        Pieces(sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect(), silent)
    }

    #[tokio::test]
    async fn a_body_counts_against_the_room_from_its_first_byte_until_it_is_done_with() {
        let (room, bounds) = (Room::new(1000), Bounds { bytes_max: 600, silence_max: Duration::from_millis(50) });
        let charged = std::cell::Cell::new(0);
        let charge = |bytes| charged.set(charged.get() + bytes);
        let first =
            receive(pieces(&[300, 300], false), bounds, &room, charge).await.unwrap_or_else(|_| panic!("it fits"));
        assert_eq!((first.len(), room.held()), (600, 600));
        let refused = async |sizes: &[usize], silent| receive(pieces(sizes, silent), bounds, &room, charge).await.err();
        assert_eq!(refused(&[300, 300], false).await, Some(NotReceived::NoRoom));
        assert_eq!(refused(&[300, 301], false).await, Some(NotReceived::TooLarge));
        assert_eq!(refused(&[300], true).await, Some(NotReceived::Silent));
        assert_eq!(room.held(), 600, "what was refused is held no longer");
        assert_eq!(charged.get(), 600 + 600 + 601 + 300, "what was refused is charged, too");
        drop(first);
        assert_eq!(room.held(), 0);
    }

    #[tokio::test]
    async fn a_body_in_tiny_pieces_is_held_in_few_and_in_their_order() {
        let (room, bounds) = (Room::new(50_000), Bounds { bytes_max: 50_000, silence_max: Duration::from_millis(50) });
        let whole: Vec<u8> = (0..40_000u32).map(|byte| byte.to_be_bytes()[3]).collect();
        let (tiny, rest) = whole.split_at(20_000);
        let (long, end) = rest.split_at(PIECE_BYTES_MIN);
        let tiny = tiny.chunks(1).flat_map(|byte| [Bytes::copy_from_slice(byte), Bytes::new()]);
        let sent = tiny.chain([Bytes::copy_from_slice(long)]).chain(end.chunks(7).map(Bytes::copy_from_slice));
        let received = receive(Pieces(sent.collect(), false), bounds, &room, |_| ()).await;
        let received = received.unwrap_or_else(|_| panic!("it fits"));
        assert_eq!((received.len(), room.held()), (whole.len(), whole.len()));
        assert!(received.pieces.len() <= 6, "{} pieces", received.pieces.len());
        assert_eq!(received.pieces.iter().flatten().copied().collect::<Vec<_>>(), whole);
    }

    #[tokio::test]
    async fn a_body_is_one_message_or_broken_and_what_is_decompressed_counts_in_its_place() {
        let (room, bounds) = (Room::new(1000), Bounds { bytes_max: 600, silence_max: Duration::from_millis(50) });
        let body = async |pieces: &[&'static [u8]]| {
            let pieces = Pieces(pieces.iter().map(|piece| Bytes::from_static(piece)).collect(), false);
            receive(pieces, bounds, &room, |_| ()).await.unwrap_or_else(|_| panic!("it fits"))
        };
        let message = async |pieces: &[&'static [u8]]| body(pieces).await.message();
        assert_eq!(message(&[&[0, 0, 0, 0, 0]]).await, Message::Plain);
        assert_eq!(message(&[&[1, 0], &[0, 0, 2, 7], &[7]]).await, Message::Compressed);
        for broken in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0]] {
            assert_eq!(message(&[broken]).await, Message::Broken, "{broken:?}");
        }
        let packed = body(&[&[1, 0], &[0, 0, 2, 7], &[8]]).await;
        assert_eq!((packed.joined().as_ref(), room.held()), (&[7, 8][..], 7));
        let mut plain = packed.with(Bytes::from(vec![3; 100]));
        assert_eq!((plain.len(), plain.message(), room.held()), (105, Message::Plain, 105));
        assert_eq!(plain.pieces.pop_front().as_deref(), Some(&[0, 0, 0, 0, 100][..]));
        drop(plain);
        assert_eq!(room.held(), 0);
    }
}
