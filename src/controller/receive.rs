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

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::timeout;

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

/// The body of a request, in the pieces that it came in.
pub(super) struct Received {
    pieces: VecDeque<Bytes>,
    held: Held,
}

/// Bytes that count in a [`Room`] until this is dropped.
struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Received {
    /// Bytes of the whole body.
    pub(super) fn len(&self) -> usize {
        self.held.bytes
    }
}

impl Held {
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

/// Reads a body to its end.
pub(super) async fn receive<B>(mut body: B, bounds: Bounds, room: &Arc<Room>) -> Result<Received, NotReceived>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut received = Received { pieces: VecDeque::new(), held: Held { room: Arc::clone(room), bytes: 0 } };
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let Some(frame) = timeout(bounds.silence_max, frame).await.map_err(|_| NotReceived::Silent)? else {
            return Ok(received);
        };
        // Trailers are not for us.
        let Ok(piece) = frame.map_err(|_| NotReceived::BrokenOff)?.into_data() else { continue };
        if received.len() + piece.len() > bounds.bytes_max {
            return Err(NotReceived::TooLarge);
        }
        received.held.grow(piece.len())?;
        received.pieces.push_back(piece);
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
        let first = receive(pieces(&[300, 300], false), bounds, &room).await.unwrap_or_else(|_| panic!("it fits"));
        assert_eq!((first.len(), room.held()), (600, 600));
        let refused = async |sizes: &[usize], silent| receive(pieces(sizes, silent), bounds, &room).await.err();
        assert_eq!(refused(&[300, 300], false).await, Some(NotReceived::NoRoom));
        assert_eq!(refused(&[300, 301], false).await, Some(NotReceived::TooLarge));
        assert_eq!(refused(&[300], true).await, Some(NotReceived::Silent));
        assert_eq!(room.held(), 600, "what was refused is held no longer");
        drop(first);
        assert_eq!(room.held(), 0);
    }
}
