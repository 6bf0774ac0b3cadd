//! `rodent-controller serve`.

use std::{io, net::SocketAddr, path::PathBuf, str::FromStr};

use bytesize::ByteSize;
use clap::{Args, value_parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::{Failure, STORE_DEFAULT, location::Location};
use crate::{
    controller::{
        Limits,
        server::{Server, Settings},
        tls::{Tls, TlsFiles},
        token::{KeyFiles, Keys},
    },
    telemetry::{Ending, levels, logging::Plain, stderr},
};

/// Descriptors for everything beside connections: the database, files that are read, a few scrapes.
const DESCRIPTORS_OTHER: u64 = 128;

/// Overrides what is logged: `RODENT_LOG=debug`.
const LOG_VARIABLE: &str = "RODENT_LOG";

/// Take events from agents until SIGTERM or Ctrl-C
///
/// Every call needs a bearer token (JWT) whose claim `rid` names the node, signed with
/// one of the keys. A batch is answered for when it is stored. Files of keys and
/// certificates are read again when they change; connections stay.
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
    /// Connections at once, of all nodes
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Calls a second of one node, or `off`
    #[arg(long, value_name = "N", default_value = "5000")]
    node_requests: Rate<u32>,
    /// Events a second of one node, or `off`
    #[arg(long, value_name = "N", default_value = "500000")]
    node_events: Rate<u32>,
    /// Bytes of events a second of one node, decompressed, or `off`
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    node_bytes: Rate<ByteSize>,
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

impl<T: FromStr + Default + PartialOrd> FromStr for Rate<T> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Rate<T>, Self::Err> {
        match text.parse() {
            _ if text == "off" => Ok(Rate(None)),
            Ok(rate) if rate > T::default() => Ok(Rate(Some(rate))),
            _ => Err("expected a number above 0, or off"),
        }
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let _ending = log_to_stderr();
    let tls = arguments.tls()?;
    if tls.is_none() && !arguments.plaintext && !arguments.listen.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "without TLS, tokens and events would cross the network to {} for everybody to read: \
             give --tls-cert and --tls-key, or --plaintext where something in front adds TLS",
            arguments.listen
        )));
    }
    let settings = arguments.settings(tls)?;
    let settings = Settings { connections_max: descriptors_for(settings.connections_max), ..settings };
    runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(settings))
}

impl Arguments {
    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let (Some(cert), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) else { return Ok(None) };
        Ok(Some(Tls::read(TlsFiles { cert, key, client_ca: self.client_ca.clone() })?))
    }

    /// Reads the keys and opens the store.
    fn settings(self, tls: Option<Tls>) -> Result<Settings, Failure> {
        let keys = Keys::read(KeyFiles { secrets: self.token_secret, public_keys: self.token_key })?;
        let limits = Limits {
            requests: self.node_requests.0,
            events: self.node_events.0,
            bytes: self.node_bytes.0.map(|ByteSize(bytes)| bytes),
            calls_max: self.node_calls,
            connections_max: self.node_connections,
        };
        let connections_max = usize::try_from(self.connections).unwrap_or(usize::MAX);
        let settings = Settings::new(self.listen, keys, self.store.open()?);
        Ok(Settings { tls, limits, connections_max, http: self.http, ..settings })
    }
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let store = settings.store.about();
    let transport = if settings.tls.is_some() { "TLS" } else { "plaintext" };
    let stop = CancellationToken::new();
    let impatience = watch_signals(stop.clone())?;
    let server = Server::bind(settings).await?;
    tracing::info!(address = %server.address(), store, transport, "serving agents");
    if let Some(address) = server.http_address() {
        tracing::info!(%address, "answering /livez, /readyz and /metrics");
    }
    // Err: no systemd listens.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        served = server.run(stop.cancelled_owned()) => served?,
        () = impatience => tracing::warn!("told twice to stop: calls under way are left without an answer"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Asks the system for as many descriptors as so many connections need; gives how many connections there may be.
fn descriptors_for(connections: usize) -> usize {
    let wanted = connections as u64 + DESCRIPTORS_OTHER;
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
    let possible = usize::try_from(got.saturating_sub(DESCRIPTORS_OTHER).max(1)).unwrap_or(connections);
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
            // Err: no systemd listens.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            stop.cancel();
        }
    })
}

/// Dropping what it gives waits a moment for the last lines.
fn log_to_stderr() -> Option<Ending> {
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
        .with_target(false);
    tracing_subscriber::registry().with(levels).with(layer).init();
    not_understood.into_iter().for_each(|part| part.tell(LOG_VARIABLE));
    ending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_above_nothing_or_off() {
        assert_eq!("off".parse::<Rate<u32>>().map(|rate| rate.0), Ok(None));
        assert_eq!("7".parse::<Rate<u32>>().map(|rate| rate.0), Ok(Some(7)));
        assert_eq!("64MiB".parse::<Rate<ByteSize>>().map(|rate| rate.0), Ok(Some(ByteSize(64 << 20))));
        for wrong in ["0", "-1", "", "much"] {
            assert!(wrong.parse::<Rate<u32>>().is_err(), "{wrong}");
        }
    }
}
