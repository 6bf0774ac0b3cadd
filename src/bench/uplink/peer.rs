//! The other end in a process of its own, so that each end's CPU is told apart: this program again, with the peer on its
//! command line as JSON. It says on standard output where it listens and what token it takes, and ends when its
//! standard input does.

use std::{
    io::{self, BufRead as _, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    UplinkBenchError, controller_error,
    discard::{self, PeerTlsFiles},
};
use crate::{
    bench::machine::cpu_time_of,
    controller::{
        server,
        store::{MemoryStore, Store},
        token,
    },
};

/// What the other end is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Peer {
    /// Counts events, and forgets them.
    Discard {
        /// With TLS, when these are set.
        tls: Option<PeerTlsFiles>,
    },
    /// The reference controller, in memory.
    Memory,
    /// The reference controller with SQLite in this file.
    Sqlite(PathBuf),
}

/// Events that the controller in memory keeps; it is to take and forget.
const EVENTS_KEPT: usize = 10_000;

/// What a peer says first.
#[derive(Serialize, Deserialize)]
pub(super) struct Greeting {
    pub(super) port: u16,
    pub(super) token: String,
}

/// A peer at work. It ends when this is dropped.
pub(super) struct Process {
    pub(super) greeting: Greeting,
    process: std::process::Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    pub(super) fn start(peer: &Peer) -> Result<Process, UplinkBenchError> {
        let peer = serde_json::to_string(peer).map_err(controller_error)?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["bench", "peer", &peer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let stdin = process.stdin.take();
        let greeting = serde_json::from_str(&line);
        let started = |greeting| Process { greeting, process, stdin };
        greeting.map(started).map_err(|_| controller_error(io::Error::other("the peer did not start")))
    }

    /// What it has had of the CPUs.
    pub(super) fn cpu_time(&self) -> Duration {
        cpu_time_of(self.process.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        // It may be gone already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Is the peer that is written in `peer`, until standard input ends.
///
/// # Errors
/// When it is none, or cannot serve.
pub async fn serve(peer: &str, out: &mut (dyn Write + Send)) -> Result<(), UplinkBenchError> {
    let peer: Peer = serde_json::from_str(peer).map_err(controller_error)?;
    let store: Arc<dyn Store> = match peer {
        Peer::Discard { tls } => {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            greet(out, &Greeting { port: listener.local_addr()?.port(), token: "none".to_owned() })?;
            return discard::serve(listener, tls, stdin_ended()).await;
        }
        Peer::Memory => Arc::new(MemoryStore::bounded(EVENTS_KEPT)),
        Peer::Sqlite(path) => sqlite(path)?,
    };
    let secret = token::SigningSecret::random().map_err(controller_error)?;
    let identity = token::NodeIdentity { node: "bench".to_owned(), organisation: "bench".to_owned(), private: true };
    let token = token::issue(&secret, &identity, None).map_err(controller_error)?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = server::ServerSettings::new(listen, token::Keys::hs256(&secret), store);
    let controller = server::Server::bind(settings).await.map_err(controller_error)?;
    greet(out, &Greeting { port: controller.address().port(), token })?;
    controller.run(stdin_ended()).await.map_err(controller_error)
}

fn greet(out: &mut dyn Write, greeting: &Greeting) -> Result<(), UplinkBenchError> {
    writeln!(out, "{}", serde_json::to_string(greeting).map_err(controller_error)?)?;
    out.flush()?;
    Ok(())
}

/// Whoever started this has ended.
async fn stdin_ended() {
    // Err: nobody holds the other end, either.
    let _ = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await;
}

#[cfg(feature = "sqlite")]
fn sqlite(path: PathBuf) -> Result<Arc<dyn Store>, UplinkBenchError> {
    Ok(Arc::new(crate::controller::store::SqliteStore::open(&path).map_err(controller_error)?))
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: PathBuf) -> Result<Arc<dyn Store>, UplinkBenchError> {
    Err(controller_error(io::Error::other("this program is built without SQLite")))
}
