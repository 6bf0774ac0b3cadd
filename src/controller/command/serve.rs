//! `rodent-controller serve`.

use std::{convert::Infallible, io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, value_parser};
use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{Layer as _, filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::{Failure, STORE_DEFAULT, location::Location};
use crate::{
    controller::{
        Limits,
        denied::Denied,
        server::{Server, ServerSettings},
        store::Quota,
        strangers,
        tls::{ServerTls, TlsFiles},
        token::{KeyFiles, Keys},
    },
    service_manager,
    telemetry::{Ending, flood::Flood, levels, logging::Plain, stderr},
    words::parse_size,
};

/// Descriptors for everything beside connections: the database, files that are read, a few scrapes.
const DESCRIPTORS_OTHER: u64 = 128;

/// Between two words to systemd's watchdog; the unit's `WatchdogSec=` is several times as long.
const WATCHDOG_INTERVAL: Duration = Duration::from_secs(10);

/// Overrides what is logged: `RODENT_LOG=debug`.
const LOG_VARIABLE: &str = "RODENT_LOG";

/// Take events from agents until SIGTERM or Ctrl-C
///
/// Every call needs a bearer token (JWT) whose claim `rid` names the node, signed with
/// one of the keys. A batch is answered for when it is stored. Files of keys,
/// certificates and denied nodes are read again when they change; connections stay.
#[derive(Args)]
#[command(after_help = "Examples:
  rodent-controller serve --store sqlite:events.db --token-secret secret

  rodent-controller serve --listen 0.0.0.0:7443 \\
      --tls-cert server.pem --tls-key server.key --client-ca nodes-ca.pem \\
      --token-key issuer.pub --http 127.0.0.1:9477

What a node may ask for is a rate that may be saved up for four seconds. Who is
over it is told when to come back, and loses nothing.")]
pub(super) struct Arguments {
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
    /// `sqlite:PATH`, `nats://HOST:PORT/STREAM`, or `memory`: gone at the end
    #[arg(long, value_name = "STORE", default_value = STORE_DEFAULT)]
    store: Location,
    /// Secret that tokens are signed with (HS256), at least 32 bytes; repeatable
    #[arg(long, value_name = "FILE", required_unless_present = "token_key")]
    token_secret: Vec<PathBuf>,
    /// Public key of who signs tokens (PEM): Ed25519 or RSA; repeatable
    #[arg(long, value_name = "FILE")]
    token_key: Vec<PathBuf>,
    /// The controller's certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Names of nodes that are shut out although their tokens are valid, one a line
    #[arg(long, value_name = "FILE")]
    deny_nodes: Option<PathBuf>,
    /// Ask for client certificates of this authority (PEM); their DNS names say
    /// which nodes they are for
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Serve without TLS on an address that is not the loopback
    #[arg(long, conflicts_with = "tls_cert")]
    plaintext: bool,
    /// Answer /livez, /readyz and /metrics here, over HTTP
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Connections at once, of all nodes; those on which no token was shown yet have
    /// places of their own
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Calls a second of one node, or `off`
    #[arg(long, value_name = "N", default_value = "5000", value_parser = rate)]
    node_requests: Rate<u32>,
    /// Events a second of one node, or `off`
    #[arg(long, value_name = "N", default_value = "500000", value_parser = rate)]
    node_events: Rate<u32>,
    /// Bytes a second of one node, as they come or decompressed, whichever is more,
    /// or `off`
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = rate_of_bytes)]
    node_bytes: Rate<u64>,
    /// Bytes of events that are kept of one node, or `off`
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = rate_of_bytes)]
    node_stored: Rate<u64>,
    /// Bytes of the disk, or of the stream's bound, that are kept free but for a share
    /// of each node [default: 512MiB, or a tenth where there is little]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    reserve: Option<u64>,
    /// Calls of one node at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u32).range(1..))]
    node_calls: u32,
    /// Connections of one node at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value_parser!(u32).range(1..))]
    node_connections: u32,
}

/// So much a second; `None` without end.
#[derive(Clone, Copy)]
struct Rate<T>(Option<T>);

fn rate(text: &str) -> Result<Rate<u32>, &'static str> {
    above_nothing(text, text.parse().ok())
}

fn rate_of_bytes(text: &str) -> Result<Rate<u64>, &'static str> {
    above_nothing(text, parse_size(text).ok())
}

fn above_nothing<T: Default + PartialOrd>(text: &str, read: Option<T>) -> Result<Rate<T>, &'static str> {
    match read {
        _ if text == "off" => Ok(Rate(None)),
        Some(rate) if rate > T::default() => Ok(Rate(Some(rate))),
        _ => Err("expected a number above 0, or off"),
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (flood, _ending) = log_to_stderr();
    keep_memory_private();
    let ended = start(arguments);
    flood.tell();
    ended
}

/// Makes the kernel write no core of this process and keeps other processes of its user from reading its memory, in which
/// are the secrets that tokens are signed with.
fn keep_memory_private() {
    if let Err(error) = prctl::set_dumpable(false) {
        tracing::warn!(%error, "other processes of this user can read the secrets of this one");
    }
}

fn start(arguments: Arguments) -> Result<(), Failure> {
    let tls = arguments.tls()?;
    if tls.is_none() && !arguments.plaintext && !arguments.listen.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "without TLS, tokens and events would cross the network to {} for everybody to read: \
             give --tls-cert and --tls-key, or --plaintext where something in front adds TLS",
            arguments.listen
        )));
    }
    let settings = arguments.settings(tls)?;
    let settings = ServerSettings { connections_max: descriptors_for(settings.connections_max), ..settings };
    runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(settings))
}

impl Arguments {
    fn tls(&self) -> Result<Option<ServerTls>, Failure> {
        let (Some(cert), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) else { return Ok(None) };
        Ok(Some(ServerTls::read(TlsFiles { cert, key, client_ca: self.client_ca.clone() })?))
    }

    /// Reads the keys and opens the store.
    fn settings(self, tls: Option<ServerTls>) -> Result<ServerSettings, Failure> {
        let keys = Keys::read(KeyFiles { secrets: self.token_secret, public_keys: self.token_key })?;
        let limits = Limits {
            requests: self.node_requests.0,
            events: self.node_events.0,
            bytes: self.node_bytes.0,
            calls_max: self.node_calls,
            connections_max: self.node_connections,
        };
        let denied = self.deny_nodes.map(Denied::read).transpose()?.unwrap_or_default();
        let quota = Quota { node_bytes: self.node_stored.0, reserve: self.reserve };
        let connections_max = usize::try_from(self.connections).unwrap_or(usize::MAX);
        let settings = ServerSettings::new(self.listen, keys, self.store.open(quota)?);
        Ok(ServerSettings { tls, denied, limits, connections_max, http: self.http, ..settings })
    }
}

async fn serve(settings: ServerSettings) -> Result<(), Failure> {
    let store = settings.store.about();
    let transport = if settings.tls.is_some() { "TLS" } else { "plaintext" };
    let stop = CancellationToken::new();
    let impatience = watch_signals(stop.clone())?;
    let server = Server::bind(settings).await?;
    tracing::info!(address = %server.address(), store, transport, "serving agents");
    if let Some(address) = server.http_address() {
        tracing::info!(%address, "answering /livez, /readyz and /metrics");
    }
    service_manager::ready();
    tokio::select! {
        never = feed_watchdog() => match never {},
        served = server.run(stop.cancelled_owned()) => served?,
        () = impatience => tracing::warn!("told twice to stop: calls under way are left without an answer"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Tells systemd that tasks get on; without `WatchdogSec=` nobody listens.
async fn feed_watchdog() -> Infallible {
    loop {
        service_manager::watchdog();
        sleep(WATCHDOG_INTERVAL).await;
    }
}

/// Asks the system for as many descriptors as so many connections need; gives how many connections there may be.
fn descriptors_for(connections: usize) -> usize {
    let wanted = connections as u64 + strangers::most(connections) as u64 + DESCRIPTORS_OTHER;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return connections };
    // Err: it stays as it is.
    let got = if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).is_ok() {
        wanted.min(hard)
    } else {
        soft
    };
    if got >= wanted {
        return connections;
    }
    let left = usize::try_from(got.saturating_sub(DESCRIPTORS_OTHER)).unwrap_or(usize::MAX);
    // Strangers have as many places as nodes, where there are few.
    let possible = left.saturating_sub(strangers::most(left / 2)).max(1).min(connections);
    tracing::warn!(wanted = connections, possible, "fewer connections than wanted: the limit of open files is {got}");
    possible
}

/// Cancels `stop` at the first SIGTERM or SIGINT; the future is done at the second.
fn watch_signals(stop: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            service_manager::stopping();
            stop.cancel();
        }
    })
}

/// What counts the lines that came too often, and what waits a moment for the last lines when it is dropped.
fn log_to_stderr() -> (Flood, Option<Ending>) {
    let flood = Flood::default();
    let (writer, ending) = stderr::writer();
    // The client of NATS logs each attempt to connect; the store logs the change.
    let own = [("async_nats", LevelFilter::OFF)];
    let (levels, not_understood) = levels(LevelFilter::INFO, &own, &std::env::var(LOG_VARIABLE).unwrap_or_default());
    let layer = tracing_subscriber::fmt::layer()
        // Said on standard error, which is what has just failed: that would end the call at hand.
        .log_internal_errors(false)
        .with_writer(writer)
        .fmt_fields(Plain)
        .with_ansi(anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never)
        .with_target(false)
        // Nodes can cause lines, as often as they may call.
        .with_filter(flood.clone());
    tracing_subscriber::registry().with(levels).with(layer).init();
    not_understood.into_iter().for_each(|part| part.tell(LOG_VARIABLE));
    (flood, ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_above_nothing_or_off() {
        assert_eq!(rate("off").map(|rate| rate.0), Ok(None));
        assert_eq!(rate("7").map(|rate| rate.0), Ok(Some(7)));
        assert_eq!(rate_of_bytes("64MiB").map(|rate| rate.0), Ok(Some(64 << 20)));
        for wrong in ["0", "-1", "", "much"] {
            assert!(rate(wrong).is_err() && rate_of_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
