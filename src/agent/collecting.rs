//! Keeps the collectors running: starts each, starts it again with growing waits when it fails, turns it on and off, and
//! knows how it is. Always holds: of one collector there is never more than one at work.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    config::CollectorSettings,
    supervisor::{Part, Phase, Supervisor, contained},
};
use crate::{
    backoff::{Backoff, random},
    collectors::{CollectError, Context, Sights},
    health::{Conditions, Fault, Registry},
    host::Host,
    pipeline::{Emitter, MemoryKeeper},
    schema::local::CollectorStatus,
    telemetry::{ErrorChain, message},
};

/// First and longest wait before a failed collector starts again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// A collector that ran this long before it failed begins with the first wait again.
const STEADY: Duration = Duration::from_secs(600);

/// How long collectors may take to end when they are turned off or get other settings. One that takes longer is waited for
/// by its successor, and by nobody else.
const STOP_MAX: Duration = Duration::from_secs(1);

/// One that runs this long has seen what it looks at.
const SEEING: Duration = Duration::from_secs(30);

/// Where it is remembered what collectors cannot see.
const SIGHTS: &str = "sight";

/// The state of one that looks.
const RUNNING: &str = "running";

/// How the collectors are. Cheap to copy.
#[derive(Clone)]
pub(super) struct Collecting {
    states: Arc<Mutex<Vec<State>>>,
    sights: Sights,
    registry: Registry,
}

struct State {
    name: &'static str,
    state: &'static str,
    detail: String,
    restarts: u64,
    emitter: Emitter,
}

/// What every collector is given.
pub(super) struct Surroundings {
    pub(super) emitter: Emitter,
    pub(super) host: Host,
    pub(super) keeper: MemoryKeeper,
    pub(super) supervisor: Supervisor,
    pub(super) registry: Registry,
    /// Whether they say at their first look what is wrong, also where they have told of it before.
    pub(super) assertion: bool,
}

/// The collectors that run.
pub(super) struct Collectors {
    with: Surroundings,
    collecting: Collecting,
    running: Vec<Running>,
}

/// A collector that was started, and may have been told to end.
struct Running {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Collectors {
    /// Starts those that are enabled.
    pub(super) fn start(configured: &[CollectorSettings], with: Surroundings) -> Collectors {
        let state = |settings: &CollectorSettings| State {
            name: settings.spec.name,
            state: "off",
            detail: String::new(),
            restarts: 0,
            emitter: with.emitter.for_source(settings.spec.name),
        };
        let states = Arc::new(Mutex::new(configured.iter().map(state).collect()));
        let registry = with.registry.clone();
        let sights = Sights::new(with.keeper.memory(SIGHTS), registry.clone());
        let collecting = Collecting { states, sights, registry };
        let mut collectors = Collectors { with, collecting, running: Vec::new() };
        for settings in configured.iter().filter(|settings| settings.enabled) {
            collectors.begin(settings);
        }
        collectors
    }

    /// How they are.
    pub(super) fn collecting(&self) -> Collecting {
        self.collecting.clone()
    }

    /// Gives these their new settings: each ends, and starts again where it is enabled, with what it remembers. The others
    /// go on untouched.
    pub(super) async fn turn(&mut self, changed: &[CollectorSettings]) {
        let is_changed = |running: &&mut Running| changed.iter().any(|settings| settings.spec.name == running.name);
        let is_at_work = |running: &&mut Running| !running.task.is_finished();
        let ending = self.running.iter_mut().filter(is_changed).filter(is_at_work).map(|running| {
            running.stop.cancel();
            &mut running.task
        });
        if tokio::time::timeout(STOP_MAX, futures_util::future::join_all(ending)).await.is_err() {
            tracing::warn!("a collector does not stop; its new settings wait for it");
        }
        for settings in changed {
            self.collecting.conditions(settings.spec.name).clear(message::COLLECTOR_FAILS);
            match settings.enabled {
                true => self.begin(settings),
                false => {
                    self.collecting.set(settings.spec.name, |state| state.state = "off");
                    self.collecting.sights.forget(settings.spec.name);
                }
            }
        }
    }

    fn begin(&mut self, settings: &CollectorSettings) {
        let name = settings.spec.name;
        let Some(emitter) = self.collecting.emitter(name) else { return };
        let (host, memory) = (self.with.host.clone(), self.with.keeper.memory(name));
        let agent_stops = self.with.supervisor.stopping(Phase::Sources);
        let asserts = self.with.assertion;
        let stop = agent_stops.child_token();
        let shutdown = stop.clone();
        let before = self.running.iter().position(|running| running.name == name);
        let before = before.map(|index| self.running.swap_remove(index).task).filter(|task| !task.is_finished());
        let (collecting, settings) = (self.collecting.clone(), settings.clone());
        let keeping = async move {
            if let Some(before) = before {
                collecting.set(name, |state| (state.state, state.detail) = ("failed", "does not stop".to_owned()));
                // Two at once would tell everything twice.
                let _ = before.await;
            }
            let sight = collecting.sights.of(name).await;
            let context = Context { emitter, host, memory, sight, shutdown, agent_stops, asserts };
            collecting.keep(settings, context).await;
        };
        let task = self.with.supervisor.start(Part::job(name, Phase::Sources, keeping));
        self.running.push(Running { name, stop, task });
    }
}

impl Collecting {
    /// For `rodent status`, in the order of the list.
    pub(super) fn status(&self) -> Vec<CollectorStatus> {
        self.lock()
            .iter()
            .map(|state| CollectorStatus {
                name: state.name.to_owned(),
                state: state.state.to_owned(),
                detail: if state.state == RUNNING { self.sights.line(state.name) } else { state.detail.clone() },
                emitted_events: state.emitter.emitted(),
                restarts: state.restarts,
            })
            .collect()
    }

    /// Runs one collector until it is absent or told to end.
    async fn keep(self, wanted: CollectorSettings, context: Context) {
        let name = wanted.spec.name;
        let conditions = self.conditions(name);
        let mut backoff = Backoff::new(RESTART.0, RESTART.1);
        let mut asserts = context.asserts;
        while !context.shutdown.is_cancelled() {
            self.set(name, |state| state.state = RUNNING);
            let started = tokio::time::Instant::now();
            let context_of_run = again(&context, asserts);
            let run = contained(async { wanted.build().run(context_of_run).await });
            tokio::pin!(run);
            let ended = tokio::select! {
                ended = &mut run => ended,
                () = tokio::time::sleep(SEEING) => {
                    conditions.clear(message::COLLECTOR_FAILS);
                    // The log that takes no events is told of elsewhere.
                    let _ = context.sees(&Sights::all_of(name)).await;
                    run.await
                }
            };
            if context.shutdown.is_cancelled() {
                return;
            }
            let detail = match ended {
                Ok(Ok(())) => return,
                Ok(Err(CollectError::Absent(why))) => {
                    tracing::info!(collector = name, why, "nothing to collect on this machine");
                    conditions.clear(message::COLLECTOR_FAILS);
                    self.set(name, |state| (state.state, state.detail) = ("absent", why));
                    return;
                }
                Ok(Err(error)) => ErrorChain(&error).to_string(),
                Err(panic) => panic,
            };
            asserts &= started.elapsed() < SEEING;
            if started.elapsed() >= STEADY {
                backoff.reset();
            }
            let wait = backoff.next(random());
            tracing::warn!(
                message_id = %message::COLLECTOR_FAILS,
                collector = name,
                error = detail,
                again_in = ?wait,
                "a collector has failed and starts again"
            );
            let text = format!("the collector {name} has failed: {detail}");
            conditions.set(message::COLLECTOR_FAILS, Fault::warning(text).told());
            let _ = context.is_blind(&Sights::all_of(name), &detail).await;
            self.set(name, |state| (state.state, state.detail) = ("failed", detail));
            tokio::select! {
                () = context.shutdown.cancelled() => {}
                () = tokio::time::sleep(wait) => self.set(name, |state| state.restarts += 1),
            }
        }
    }

    fn conditions(&self, name: &str) -> Conditions {
        self.registry.part(Sights::part(name))
    }

    fn emitter(&self, name: &str) -> Option<Emitter> {
        Some(self.lock().iter().find(|state| state.name == name)?.emitter.clone())
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

fn again(context: &Context, asserts: bool) -> Context {
    Context {
        emitter: context.emitter.clone(),
        host: context.host.clone(),
        memory: context.memory.clone(),
        sight: context.sight.clone(),
        shutdown: context.shutdown.clone(),
        agent_stops: context.agent_stops.clone(),
        asserts,
    }
}
