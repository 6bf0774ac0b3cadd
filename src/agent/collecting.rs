//! Keeps the collectors running: starts each, starts it again with growing waits when it fails, and knows how it is.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{config::CollectorSettings, supervisor::Supervisor};
use crate::{
    backoff::{Backoff, random},
    collectors::{CollectError, Context},
    host::Host,
    pipeline::{Emitter, MemoryKeeper},
    schema::local::CollectorStatus,
    telemetry::ErrorChain,
};

/// First and longest wait before a failed collector starts again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// A collector that ran this long before it failed begins with the first wait again.
const STEADY: Duration = Duration::from_secs(600);

/// How the collectors are. Cheap to copy.
#[derive(Clone)]
pub(super) struct Collecting {
    states: Arc<Mutex<Vec<State>>>,
}

struct State {
    name: &'static str,
    state: &'static str,
    detail: String,
    restarts: u64,
    emitter: Option<Emitter>,
}

/// What every collector is given.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) emitter: Emitter,
    pub(super) host: Host,
    pub(super) shutdown: CancellationToken,
}

impl Collecting {
    /// Starts those that are enabled; gives their tasks too.
    pub(super) fn start(
        configured: &[CollectorSettings],
        with: &Surroundings,
        keeper: &MemoryKeeper,
        supervisor: &Supervisor,
    ) -> (Collecting, Vec<JoinHandle<Option<()>>>) {
        let state = |settings: &CollectorSettings| State {
            name: settings.spec.name,
            state: "off",
            detail: String::new(),
            restarts: 0,
            emitter: settings.enabled.then(|| with.emitter.for_source(settings.spec.name)),
        };
        let collecting = Collecting { states: Arc::new(Mutex::new(configured.iter().map(state).collect())) };
        let mut tasks = Vec::new();
        for settings in configured.iter().filter(|settings| settings.enabled) {
            let name = settings.spec.name;
            let context = Context {
                emitter: collecting.emitter(name).unwrap_or_else(|| with.emitter.for_source(name)),
                host: with.host.clone(),
                memory: keeper.memory(name),
                shutdown: with.shutdown.clone(),
            };
            tasks.push(supervisor.start(name, collecting.clone().keep(settings.clone(), context, supervisor.clone())));
        }
        (collecting, tasks)
    }

    /// For `rodent status`, in the order of the list.
    pub(super) fn status(&self) -> Vec<CollectorStatus> {
        self.lock()
            .iter()
            .map(|state| CollectorStatus {
                name: state.name.to_owned(),
                state: state.state.to_owned(),
                detail: state.detail.clone(),
                emitted_events: state.emitter.as_ref().map_or(0, Emitter::emitted),
                restarts: state.restarts,
            })
            .collect()
    }

    /// Runs one collector until it is absent or the agent stops.
    async fn keep(self, wanted: CollectorSettings, context: Context, supervisor: Supervisor) {
        let name = wanted.spec.name;
        let mut backoff = Backoff::new(RESTART.0, RESTART.1);
        while !context.shutdown.is_cancelled() {
            self.set(name, |state| state.state = "running");
            let started = tokio::time::Instant::now();
            let run = supervisor.start(name, wanted.build().run(again(&context)));
            let detail = match run.await.ok().flatten() {
                Some(Ok(())) => break,
                Some(Err(CollectError::Absent(why))) => {
                    tracing::info!(collector = name, why, "nothing to collect on this machine");
                    self.set(name, |state| (state.state, state.detail) = ("absent", why));
                    return;
                }
                Some(Err(error)) => ErrorChain(&error).to_string(),
                None => "it panicked".to_owned(),
            };
            if started.elapsed() >= STEADY {
                backoff.reset();
            }
            let wait = backoff.next(random());
            tracing::warn!(collector = name, error = detail, again_in = ?wait, "a collector has failed and starts again");
            self.set(name, |state| (state.state, state.detail) = ("failed", detail));
            tokio::select! {
                () = context.shutdown.cancelled() => {}
                () = tokio::time::sleep(wait) => self.set(name, |state| state.restarts += 1),
            }
        }
    }

    fn emitter(&self, name: &str) -> Option<Emitter> {
        self.lock().iter().find(|state| state.name == name)?.emitter.clone()
    }

    fn set(&self, name: &str, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.lock().iter_mut().find(|state| state.name == name) {
            state.detail.clear();
            change(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn again(context: &Context) -> Context {
    Context {
        emitter: context.emitter.clone(),
        host: context.host.clone(),
        memory: context.memory.clone(),
        shutdown: context.shutdown.clone(),
    }
}
