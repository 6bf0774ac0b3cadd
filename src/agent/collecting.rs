//! Keeps the collectors running: starts each, starts it again with growing waits when it fails, and knows how it is.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::supervisor::Supervisor;
use crate::{
    backoff::{Backoff, random},
    collectors::{CollectError, Context, Spec},
    host::Host,
    pipeline::{Emitter, MemoryKeeper},
    schema::local::CollectorStatus,
    settings::Part,
    telemetry::ErrorChain,
};

/// First and longest wait before a failed collector starts again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// A collector that ran this long before it failed begins with the first wait again.
const STEADY: Duration = Duration::from_secs(600);

/// A collector that is wanted, and its settings.
pub(super) struct Wanted {
    pub(super) spec: &'static Spec,
    pub(super) settings: Part,
}

/// How the collectors are. Cheap to copy.
#[derive(Clone)]
pub(super) struct Collecting {
    states: Arc<Mutex<Vec<State>>>,
}

struct State {
    name: &'static str,
    state: &'static str,
    detail: String,
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
    /// Starts the wanted ones out of `all`.
    pub(super) fn start(
        all: &'static [Spec],
        wanted: Vec<Wanted>,
        with: &Surroundings,
        keeper: &MemoryKeeper,
        supervisor: &Supervisor,
    ) -> Collecting {
        let states = all.iter().map(|spec| State { name: spec.name, state: "off", detail: String::new(), emitter: None });
        let collecting = Collecting { states: Arc::new(Mutex::new(states.collect())) };
        for wanted in wanted {
            let emitter = with.emitter.for_source(wanted.spec.name);
            collecting.set(wanted.spec.name, |state| state.emitter = Some(emitter.clone()));
            let context = Context {
                emitter,
                host: with.host.clone(),
                memory: keeper.memory(wanted.spec.name),
                shutdown: with.shutdown.clone(),
            };
            supervisor.start(wanted.spec.name, collecting.clone().keep(wanted, context, supervisor.clone()));
        }
        collecting
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
            })
            .collect()
    }

    /// Runs one collector until it is absent or the agent stops.
    async fn keep(self, wanted: Wanted, context: Context, supervisor: Supervisor) {
        let name = wanted.spec.name;
        let mut backoff = Backoff::new(RESTART.0, RESTART.1);
        while !context.shutdown.is_cancelled() {
            self.set(name, |state| state.state = "running");
            let started = tokio::time::Instant::now();
            let collector = (wanted.spec.build)(&mut wanted.settings.open());
            let run = supervisor.start(name, collector.run(again(&context)));
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
                () = tokio::time::sleep(wait) => {}
            }
        }
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
