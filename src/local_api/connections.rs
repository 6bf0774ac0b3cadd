//! Connections to the socket, counted: one beyond the bound waits in the kernel's queue until another ends.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::{Connected, UdsConnectInfo};

use super::{
    authority::AuthorityFilter,
    usage::{Counted, Usage},
};

/// Connections at once.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// When the process is out of descriptors, accepting again at once would only burn a processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that holds its place until it ends.
pub(super) struct Connection {
    stream: UnixStream,
    authority: AuthorityFilter,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Connections as they come, never more than [`CONNECTIONS_MAX`] at once. Does not end.
pub(super) fn incoming(listener: Arc<UnixListener>, usage: Usage) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    stream::unfold((listener, places, usage), |(listener, places, usage)| async move {
        let connection = accept(&listener, &places, &usage).await?;
        Some((Ok(connection), (listener, places, usage)))
    })
}

async fn accept(listener: &UnixListener, places: &Arc<Semaphore>, usage: &Usage) -> Option<Connection> {
    let place = places.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let authority = AuthorityFilter::default();
                return Some(Connection { stream, authority, _place: place, _counted: usage.connected() });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the local socket could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Connection { stream, authority, .. } = self.get_mut();
        authority.poll_read(stream, cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_connection_beyond_the_bound_waits_until_one_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rodent.sock");
        let listener = Arc::new(UnixListener::bind(&path).expect("a socket"));
        let mut incoming = Box::pin(incoming(listener, Usage::default()));
        let (mut clients, mut served) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS_MAX {
            clients.push(UnixStream::connect(&path).await.expect("connected"));
            served.push(incoming.next().await.expect("a stream without end").expect("accepted"));
        }
        clients.push(UnixStream::connect(&path).await.expect("queued"));
        let wait = Duration::from_millis(50);
        assert!(tokio::time::timeout(wait, incoming.next()).await.is_err());
        served.pop();
        assert!(tokio::time::timeout(wait, incoming.next()).await.is_ok());
    }
}
