//! `rodent agent`: the agent itself, in the foreground, as systemd runs it.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::{
    agent::{self, Reloads, config::Source},
    telemetry::{logging, message},
};

/// Run the agent in the foreground
///
/// Collects events of this machine, keeps them and uploads them to the configured controller. Ends in order at SIGTERM
/// or Ctrl-C, and reads its configuration again at SIGHUP (as `rodent reload` has it do).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rodent agent
  rodent agent --config ./rodent.yml
  RODENT_LOG=debug rodent agent --config ./rodent.yml")]
pub(super) struct Arguments {
    /// The configuration; without it /etc/rodent/rodent.yml and its drop-ins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, socket: Option<PathBuf>) -> Result<ExitCode, Failure> {
    // Before the configuration is read: a token may stand in it.
    agent::keep_memory_private();
    let source = Source { file: arguments.config.clone(), root: PathBuf::from("/"), socket };
    let loaded = source.load().map_err(|faults| refuse(faults.to_string()))?;
    let logging = logging::start(loaded.config.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let reloads = Reloads { source, log_level: logging.level(), signal: agent::reload_signal()? };
        let running = agent::run(loaded, Some(reloads), shutdown.clone());
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => return ended,
            signal = agent::stop_signal() => signal?,
        }
        shutdown.cancel();
        tokio::select! {
            ended = &mut running => ended,
            // Whoever asks twice does not want to wait.
            signal = agent::stop_signal() => Ok(signal?),
        }
    });
    // A thread that is stuck in the kernel must not keep the process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS).map_err(|error| Failure::other(format!("{error:#}")))
}

/// The journal gets an entry that can be found and explained; standard error is told in any case.
fn refuse(error: String) -> Failure {
    let logging = logging::start(tracing::Level::ERROR);
    if logging.is_journal() {
        tracing::error!(message_id = %message::CONFIGURATION_REFUSED, error, "the configuration is refused");
    }
    Failure::config(error)
}
