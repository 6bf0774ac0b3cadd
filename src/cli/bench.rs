//! `rodent bench`: what the machine at hand gives. Hidden from the main help; documented in docs/measuring.md.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};

use super::Failure;
use crate::{
    bench::{self, log::BenchPart},
    telemetry::ErrorChain,
    words::parse_duration,
};

/// Measure the event log, the encoding or the uplink on this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rodent bench log --directory /var/tmp
  rodent bench log memory open --stored 1000000,10000000
  rodent bench encoding
  rodent bench ingest --directory /var/tmp
  rodent bench consume --directory /var/tmp
  rodent bench uplink --events 1000000
  rodent bench webhook --directory /var/tmp
  rodent bench herd --agents 10000 --outage 1h")]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What the event log gives and takes, beside a plain file in the same run
    Log {
        /// What to measure
        #[arg(value_enum, value_name = "WHAT", default_values_t = [BenchPart::Throughput, BenchPart::Latency, BenchPart::Space])]
        parts: Vec<BenchPart>,
        /// A directory on the disk in question; removed afterwards what was made in it
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
        /// Events of a round
        #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
        events: u64,
        /// Rounds, and kills for `open`; their median is shown
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Commits of each size, for `latency`
        #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
        commits: u32,
        /// Stored events, for `memory` and `open`
        #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1_000_000, 10_000_000])]
        stored: Vec<u64>,
        /// How long after draining `space` looks at the disk
        #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
        wait: Duration,
    },
    /// Size and speed of protobuf events beside the same events as JSON
    Encoding {
        /// Events to measure with
        #[arg(long, value_name = "N", default_value_t = 200_000)]
        events: u64,
    },
    /// Events a second through the socket into the log, and how long one takes
    Ingest {
        /// A directory on the disk in question; removed afterwards what was made in it
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
        /// Events of a round
        #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
        events: u64,
        /// Rounds; their median is shown
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Events that are given one at a time
        #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
        emits: u32,
    },
    /// Events a second from the log through the socket to a program
    Consume {
        /// A directory on the disk in question; removed afterwards what was made in it
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
        /// Stored events
        #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
        events: u64,
        /// Rounds; their median is shown
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Events that are given one at a time
        #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
        emits: u32,
        /// How long programs stand idle
        #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
        idle: Duration,
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
        /// Rounds; their median is shown
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// A certificate for `localhost` that is its own authority (PEM): measures TLS, too
        #[arg(long, value_name = "FILE", requires = "tls_key")]
        tls_cert: Option<PathBuf>,
        /// Its key (PEM)
        #[arg(long, value_name = "FILE", requires = "tls_cert")]
        tls_key: Option<PathBuf>,
    },
    /// Events a second from an agent to a webhook over the loopback, and what idle sinks hold
    Webhook {
        /// A directory on the disk in question; removed afterwards what was made in it
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
        /// The agent to measure [default: this program]
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
        /// Events of a round
        #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
        events: u64,
        /// Rounds; their median is shown
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Urgent events that are given one at a time
        #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
        emits: u32,
        /// How long agents stand idle
        #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "20s")]
        idle: Duration,
    },
    /// Simulate many agents whose controller comes back, in simulated time
    Herd {
        /// How many agents
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        agents: u64,
        /// For how long the controller is away
        #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1h")]
        outage: Duration,
        /// Events a batch
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        batch_size: u64,
        /// The same seed gives the same course
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
    },
    /// The other end of the uplink in a process of its own
    #[command(hide = true)]
    Peer { peer: String },
    /// A piece of measuring in a process of its own
    #[command(hide = true)]
    Job { job: String },
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut out = io::stdout();
    match arguments.what {
        What::Log { parts, directory, events, rounds, commits, stored, wait } => {
            let scratch = bench::Scratch::below(&directory)?;
            let plan = bench::log::LogPlan { events, rounds, commits, stored, wait };
            runtime
                .block_on(bench::log::run(scratch.path(), &parts, &plan, &mut out))
                .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?;
        }
        What::Job { job } => runtime
            .block_on(bench::log::answer(&job, &mut out))
            .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?,
        What::Encoding { events } => bench::encoding::run(events, &mut out)?,
        What::Herd { agents, outage, batch_size, seed } => {
            let agents = usize::try_from(agents).unwrap_or(usize::MAX);
            bench::herd::run(bench::herd::HerdPlan { agents, outage, batch_size, seed }, &mut out)?;
        }
        What::Peer { peer } => runtime
            .block_on(bench::uplink::peer::serve(&peer, &mut out))
            .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?,
        What::Ingest { directory, events, rounds, emits } => {
            let scratch = bench::Scratch::below(&directory)?;
            let plan = bench::ingest::IngestPlan { events, rounds, emits };
            runtime
                .block_on(bench::ingest::run(scratch.path(), plan, &mut out))
                .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?;
        }
        What::Consume { directory, events, rounds, emits, idle } => {
            let scratch = bench::Scratch::below(&directory)?;
            let plan = bench::consume::ConsumePlan { events, rounds, emits, idle };
            runtime
                .block_on(bench::consume::run(scratch.path(), plan, &mut out))
                .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?;
        }
        What::Webhook { directory, program, events, rounds, emits, idle } => {
            let scratch = bench::Scratch::below(&directory)?;
            let plan = bench::webhook::WebhookPlan { program, events, rounds, emits, idle };
            runtime
                .block_on(bench::webhook::run(scratch.path(), &plan, &mut out))
                .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?;
        }
        What::Uplink { directory, events, batch_size, rounds, tls_cert, tls_key } => {
            let scratch = bench::Scratch::below(&directory)?;
            let tls = tls_cert.zip(tls_key).map(|(cert, key)| bench::uplink::PeerTlsFiles { cert, key });
            let plan = bench::uplink::UplinkPlan { events, batch_size, rounds, tls };
            runtime
                .block_on(bench::uplink::run(scratch.path(), plan, &mut out))
                .map_err(|error| Failure::other(ErrorChain(&error).to_string()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
