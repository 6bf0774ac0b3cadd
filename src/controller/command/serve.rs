//! `rodent-controller serve`.

use std::{io, net::SocketAddr, path::PathBuf};

use clap::Args;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{Failure, STORE_DEFAULT, location::Location};
use crate::controller::{
    server::{Server, Settings},
    token::{Keys, Secret},
};

/// Take events from agents until SIGTERM or Ctrl-C
///
/// The connection is plaintext: TLS is not there yet. Listen on the loopback, or
/// behind something that adds it. Every call needs a bearer token signed with the
/// secret (HS256), whose claim `rid` names the node.
#[derive(Args)]
#[command(after_help = "Example:
  rodent-controller serve --listen 127.0.0.1:7443 \\
      --store sqlite:/var/lib/rodent-controller/events.db \\
      --token-secret /etc/rodent-controller/secret")]
pub(super) struct Arguments {
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
    /// `sqlite:PATH`, or `memory`: gone when the controller stops
    #[arg(long, value_name = "STORE", default_value = STORE_DEFAULT)]
    store: Location,
    /// File with the secret that tokens are signed with, at least 32 bytes
    #[arg(long, value_name = "FILE")]
    token_secret: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    log_to_stderr();
    let keys = Keys::hs256(&Secret::read(&arguments.token_secret)?);
    let store = arguments.store.open()?;
    let settings = Settings::new(arguments.listen, keys, store);
    runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let store = settings.store.about();
    let stop = CancellationToken::new();
    let impatience = watch_signals(stop.clone())?;
    let server = Server::bind(settings).await?;
    tracing::info!(address = %server.address(), store, "serving agents, plaintext");
    // Err: no systemd listens.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        served = server.run(stop.cancelled_owned()) => served?,
        () = impatience => tracing::warn!("told twice to stop: calls under way are left without an answer"),
    }
    tracing::info!("stopped");
    Ok(())
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

fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never)
        .with_target(false)
        .init();
}
