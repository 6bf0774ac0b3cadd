//! The bytes between node and controller, and why the controller ended them.
//!
//! Under TLS 1.3 a controller refuses the node's certificate after the handshake, in an alert that comes with the first
//! answer; what speaks no HTTP/2 says so in its first bytes. HTTP/2 knows of neither and calls both a transport error. So
//! the first of them is noted here for [`Connection::explain`].
//!
//! [`Connection::explain`]: super::connection::Connection::explain

use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd as _,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use nix::sys::socket::{MsgFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client::TlsStream, rustls};
use tokio_util::either::Either;

use super::refusal::Refusal;

/// As much of a controller's last words as is looked at: an alert, or the head of an answer.
const LAST_WORDS_BYTES_MAX: usize = 4096;

/// An open connection, encrypted or not.
pub(super) struct Stream {
    bytes: Bytes,
    refusal: Arc<OnceLock<Refusal>>,
    /// Whether the first bytes were looked at; at once where they are encrypted.
    is_known: bool,
}

/// In clear, or encrypted.
type Bytes = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Stream {
    pub(super) fn plain(stream: TcpStream) -> Stream {
        Stream { bytes: Bytes::Left(stream), refusal: Arc::default(), is_known: false }
    }

    pub(super) fn encrypted(stream: TlsStream<TcpStream>) -> Stream {
        Stream { bytes: Bytes::Right(Box::new(stream)), refusal: Arc::default(), is_known: true }
    }

    /// Where the reason stands once the controller has given one.
    pub(super) fn refusal(&self) -> Arc<OnceLock<Refusal>> {
        Arc::clone(&self.refusal)
    }

    fn note(&self, error: &io::Error) {
        if let Some(error) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            let _ = self.refusal.set(Refusal::of(error));
        }
    }

    fn note_first(&mut self, first: &[u8]) {
        if !std::mem::replace(&mut self.is_known, true)
            && let Some(refusal) = Refusal::in_plain(first)
        {
            let _ = self.refusal.set(refusal);
        }
    }

    /// Where writing fails, the controller may have said why and hung up. Asked of the kernel at once, for nobody reads any
    /// more.
    fn note_last_words(&mut self) {
        let mut bytes = [0; LAST_WORDS_BYTES_MAX];
        let socket = match &self.bytes {
            Bytes::Left(stream) => stream.as_raw_fd(),
            Bytes::Right(stream) => stream.as_raw_fd(),
        };
        let Ok(length) = recv(socket, &mut bytes, MsgFlags::MSG_DONTWAIT) else { return };
        let mut said = bytes.get(..length).unwrap_or_default();
        match &mut self.bytes {
            Bytes::Left(_) => self.note_first(said),
            Bytes::Right(stream) => {
                let (_, session) = stream.get_mut();
                let read = session.read_tls(&mut said).ok().map(|_| session.process_new_packets());
                if let Some(Err(error)) = read {
                    let _ = self.refusal.set(Refusal::of(&error));
                }
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.bytes).poll_read(cx, buffer));
        match &read {
            Ok(()) => self.note_first(buffer.filled().get(before..).unwrap_or_default()),
            Err(error) => self.note(error),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.bytes).poll_write(cx, bytes));
        Poll::Ready(written.inspect_err(|_| self.note_last_words()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.bytes).poll_write_vectored(cx, slices));
        Poll::Ready(written.inspect_err(|_| self.note_last_words()))
    }

    fn is_write_vectored(&self) -> bool {
        self.bytes.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.bytes).poll_flush(cx));
        Poll::Ready(flushed.inspect_err(|_| self.note_last_words()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}
