//! How fast events travel from the log to a controller over the loopback; both ends share this machine.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::sample;
use crate::{
    controller::{
        server,
        store::{MemoryStore, Store},
        token,
    },
    event_log::{Draft, EventLog, Lane, LogError},
    schema::wire::SystemInfo,
    settings::Secret,
    sinks::{
        Delivery, Threshold,
        uplink::{self, Surroundings, Tls, TokenSource, Uplink, UplinkState},
    },
};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Events to deliver.
    pub events: u64,
    /// Events a batch.
    pub batch_size: usize,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The log does not work here.
    #[error("fill the event log")]
    Log(#[from] LogError),
    /// The figures cannot be printed.
    #[error("print the figures")]
    Io(#[from] io::Error),
    /// The controller does not work here.
    #[error("run a controller")]
    Controller(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Events that the controller in memory keeps; it is to take and forget.
const EVENTS_KEPT: usize = 10_000;

/// Fills a log in `directory`, then drains it into one controller after the other, and prints.
///
/// # Errors
/// When the log or a controller does not work here.
pub async fn run(directory: &Path, plan: Plan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let log = EventLog::open(sample::log_settings(directory))?;
    let bytes = fill(&log, plan.events).await?;
    writeln!(out, "{} events of {} bytes, batches of {}", plan.events, bytes / plan.events.max(1), plan.batch_size)?;
    writeln!(out, "{:<34} {:>12} {:>22}", "", "events/s", "sent per event byte")?;
    let stores: [(&'static str, Arc<dyn Store>); _] = [
        ("controller in memory", Arc::new(MemoryStore::bounded(EVENTS_KEPT))),
        #[cfg(feature = "sqlite")]
        ("controller with SQLite, durable", sqlite(directory)?),
    ];
    for (name, store) in stores {
        let (elapsed, sent) = drain(&log, name, store, plan).await?;
        let rate = plan.events as f64 / elapsed.as_secs_f64();
        writeln!(out, "{name:<34} {rate:>12.0} {:>22.3}", sent as f64 / bytes.max(1) as f64)?;
    }
    log.close();
    Ok(())
}

#[cfg(feature = "sqlite")]
fn sqlite(directory: &Path) -> Result<Arc<dyn Store>, BenchError> {
    let store = crate::controller::store::SqliteStore::open(&directory.join("events.db")).map_err(controller_error)?;
    Ok(Arc::new(store))
}

/// Appends events durably; gives their bytes.
async fn fill(log: &EventLog, events: u64) -> Result<u64, LogError> {
    let (mut bytes, mut next) = (0, 1);
    for from in (0..events).step_by(1000) {
        let some = sample::encoded(from, events.min(from + 1000));
        bytes += some.iter().map(|event| event.len() as u64).sum::<u64>();
        let drafts: Vec<_> =
            some.iter().map(|event| Draft { event, level: 1, category: 2, timestamp: 1_780_000_000_000 }).collect();
        next = log.append(Lane::Routine, &drafts).await?;
    }
    log.commit(Lane::Routine, next).await?;
    Ok(bytes)
}

/// Delivers everything that is stored; gives how long it took and the bytes that were sent.
async fn drain(
    log: &EventLog,
    name: &'static str,
    store: Arc<dyn Store>,
    plan: Plan,
) -> Result<(Duration, u64), BenchError> {
    let secret = token::Secret::random().map_err(controller_error)?;
    let identity = token::Identity { node: "bench".to_owned(), organisation: "bench".to_owned(), private: true };
    let token = token::issue(&secret, &identity, None).map_err(controller_error)?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = server::Settings::new(listen, token::Keys::hs256(&secret), store);
    let controller = server::Server::bind(settings).await.map_err(controller_error)?;
    let cursor = log.cursor(name).ok_or_else(|| LogError::Closed("too many cursors".to_owned()))?;
    let state = UplinkState::new(name);
    let uplink = Uplink::new(
        uplink::Settings {
            address: controller.address().to_string(),
            token: TokenSource::Inline(Secret::new(token)),
            tls: Tls::Off,
            node_id: "bench".to_owned(),
        },
        Surroundings { now: Arc::new(|| 0), system_info: Arc::new(SystemInfo::default) },
        Delivery::new(log, &cursor, Threshold { batch_size: plan.batch_size, batch_timeout: Duration::from_secs(1) }),
        state.clone(),
    );
    let (drain_and_end, stop) = (CancellationToken::new(), CancellationToken::new());
    // With nothing more to come the uplink delivers what is there and ends.
    drain_and_end.cancel();
    let started = Instant::now();
    let delivering = async {
        uplink.run(drain_and_end, CancellationToken::new()).await;
        let elapsed = started.elapsed();
        stop.cancel();
        elapsed
    };
    let (elapsed, served) = tokio::join!(delivering, controller.run(stop.clone().cancelled_owned()));
    served.map_err(controller_error)?;
    let status = state.status();
    if status.delivered_events != plan.events {
        return Err(controller_error(io::Error::other(format!(
            "only {} arrived: {}",
            status.delivered_events, status.last_error
        ))));
    }
    Ok((elapsed, status.delivered_bytes))
}

fn controller_error(error: impl std::error::Error + Send + Sync + 'static) -> BenchError {
    BenchError::Controller(Box::new(error))
}
