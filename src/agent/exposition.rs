//! The agent as `/metrics` and `/readyz` show it, and the task that keeps the listener where the configuration wants it.
//!
//! Takes from [`StatusParts`]; gives to whoever asks over HTTP. Listening can fail (the port is taken, the address is not
//! there yet): the agent runs on, says so once, and tries again.

mod families;
mod page;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::families::families;
use self::page::Beside;
use super::{config::MetricsSettings, status::StatusParts};
use crate::{
    local_api::TroubleSource,
    metrics::{Exposed, Format, Listener},
};

/// How long a scrape waits for the disk; then it tells what was seen last. Below what a scraper waits for the page.
const LOOK_TIME_MAX: Duration = Duration::from_millis(500);

/// Until the next attempt to listen.
const LISTEN_PAUSE: Duration = Duration::from_secs(10);

/// What is shown. Exists before what it shows, so that `/livez` answers while a large log is being opened.
pub(super) struct Exposition {
    parts: OnceLock<Arc<StatusParts>>,
    stopping: CancellationToken,
}

impl Exposition {
    /// Of an agent that starts; `stopping` is cancelled when it begins to stop.
    pub(super) fn new(stopping: CancellationToken) -> Arc<Exposition> {
        Arc::new(Exposition { parts: OnceLock::new(), stopping })
    }

    /// It takes events from now on.
    pub(super) fn started(&self, parts: Arc<StatusParts>) {
        // Err: it was said before.
        let _ = self.parts.set(parts);
    }

    /// For the health service of the socket.
    pub(super) fn trouble_source(self: &Arc<Self>) -> TroubleSource {
        let exposition = Arc::clone(self);
        Arc::new(move || exposition.trouble())
    }

    /// Why the agent takes no events. A controller that is away is none of the reasons, nor is a disk that cannot be
    /// written: events are kept in memory then.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("the agent is stopping".to_owned());
        }
        match self.parts.get() {
            None => Some("the agent is starting: the event log is being opened".to_owned()),
            Some(parts) => parts.refuses(),
        }
    }
}

impl Exposed for Exposition {
    fn trouble(&self) -> Option<String> {
        Exposition::trouble(self)
    }

    fn page(&self, format: Format) -> String {
        let Some(parts) = self.parts.get() else { return page::starting(format) };
        let (status, signs) = (parts.status_within(LOOK_TIME_MAX), parts.log.signs());
        let beside = Beside {
            ready: Exposition::trouble(self).is_none(),
            now: parts.clock.unix_milliseconds(),
            counts: parts.emitter.counts(),
            counters: &parts.emitter.counters(),
            efforts: parts.consumers.efforts().into_iter().chain(parts.programs.efforts()).collect(),
            commits: parts.log.commits(),
            writer_stalled_seconds: signs.stuck().or(signs.hung()).map_or(0.0, |time| time.as_secs_f64()),
            problems: parts.states.problems(PROBLEMS_MAX).1,
            restarts: parts.supervisor.restarts(),
        };
        page::page(&status, &beside, format)
    }
}

/// The most problems of the machine that have a series each; all are counted.
const PROBLEMS_MAX: usize = 200;

/// Listens where the settings say, and elsewhere when they change, until `shutdown`.
pub(super) async fn keep(
    exposition: Arc<Exposition>,
    mut settings: watch::Receiver<MetricsSettings>,
    shutdown: CancellationToken,
) {
    let mut wanted = *settings.borrow_and_update();
    loop {
        wanted = tokio::select! {
            () = shutdown.cancelled() => return,
            other = other(&mut settings, wanted) => other,
            never = serve(&exposition, wanted) => match never {},
        };
    }
}

/// Settings that are not `these`, as soon as there are.
async fn other(settings: &mut watch::Receiver<MetricsSettings>, these: MetricsSettings) -> MetricsSettings {
    let changed = settings.wait_for(|now| *now != these).await.map(|now| *now);
    match changed {
        Ok(other) => other,
        // Nobody can change them any more.
        Err(_) => std::future::pending().await,
    }
}

async fn serve(exposition: &Arc<Exposition>, settings: MetricsSettings) -> Infallible {
    let Some(address) = settings.listen else { return std::future::pending().await };
    let listener = listen(address).await;
    let address = listener.address().unwrap_or(address);
    tracing::info!(%address, "answering /livez, /readyz and /metrics");
    let exposed: Arc<dyn Exposed> = Arc::clone(exposition) as _;
    listener.serve(exposed).await
}

/// Binds the address, however long that takes.
async fn listen(address: SocketAddr) -> Listener {
    let mut told = false;
    loop {
        match Listener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(
                    %address,
                    %error,
                    "metrics cannot be answered here; the agent runs without, and tries again"
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_starts_or_stops_is_not_ready_and_has_a_page_all_the_same() {
        let stopping = CancellationToken::new();
        let exposition = Exposition::new(stopping.clone());
        assert!(exposition.trouble().is_some_and(|trouble| trouble.starts_with("the agent is starting")));
        let page = exposition.page(Format::Text);
        assert!(page.contains("\nrodent_ready 0\n") && page.contains("rodent_build_info{version="), "{page}");
        stopping.cancel();
        assert_eq!(exposition.trouble().as_deref(), Some("the agent is stopping"));
    }
}
