//! `rodent bench`: what the machine at hand gives. Hidden from the main help; documented in the README.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::Failure;
use crate::{bench, telemetry::ErrorChain};

/// Measure the event log, the encoding or the uplink on this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rodent bench log --directory /var/tmp
  rodent bench encoding
  rodent bench uplink --events 1000000")]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Durable events a second and commit latency, beside a plain file in the same run
    Log {
        /// A directory on the disk in question; removed afterwards what was made in it
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
        /// Events for the throughput figures
        #[arg(long, value_name = "N", default_value_t = 1_000_000)]
        events: u64,
        /// Single commits for the latency figures
        #[arg(long, value_name = "N", default_value_t = 1000)]
        commits: usize,
    },
    /// Size and speed of protobuf events beside the same events as JSON
    Encoding {
        /// Events to measure with
        #[arg(long, value_name = "N", default_value_t = 200_000)]
        events: u64,
    },
    /// Events a second from the log to a controller over the loopback
    Uplink {
        /// A directory on the disk in question; removed afterwards what was made in it
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
        /// Events to deliver
        #[arg(long, value_name = "N", default_value_t = 500_000)]
        events: u64,
        /// Events a batch
        #[arg(long, value_name = "N", default_value_t = 500)]
        batch_size: usize,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut out = io::stdout();
    match arguments.what {
        What::Log { directory, events, commits } => {
            let scratch = bench::Scratch::below(&directory)?;
            let plan = bench::log::Plan { events, commits };
            runtime
                .block_on(bench::log::run(scratch.path(), plan, &mut out))
                .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?;
        }
        What::Encoding { events } => bench::encoding::run(events, &mut out)?,
        What::Uplink { directory, events, batch_size } => {
            let scratch = bench::Scratch::below(&directory)?;
            let plan = bench::uplink::Plan { events, batch_size };
            runtime
                .block_on(bench::uplink::run(scratch.path(), plan, &mut out))
                .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
