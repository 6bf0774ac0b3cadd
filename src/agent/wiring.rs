//! Puts the rooms together and lists the parts of the agent: what each is called, how it runs, what its unexpected end means
//! ([`Part`]), and in which [`Phase`] it stops.
//!
//! The collectors and the uplink come and go with the settings: [`Collectors`] and [`Delivering`] start those parts. What takes
//! other settings while the agent runs stands in [`Parts`].

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Agent, IDENTITY, Reloads, absence_watch, clock_watch,
    collecting::{self, Collectors},
    config::Loaded,
    config_change::{self, Tidings},
    control::{self, Desk},
    delivering::{self, Delivering},
    exposition::{self, Exposition},
    log_look::LogLook,
    log_trouble, mirror, opening, registration, spool_intake,
    states_desk::StatesDesk,
    status::{StatusParts, watch_conditions},
    steering::{self, InForceView, Parts, Steering},
    supervisor::{Part, Phase, Supervisor},
    watchdog,
};
use crate::{
    consumers::programs::Programs,
    health::{Pulse, Registry},
    host::{Host, clock::Clock},
    local_api::{self, LocalApi, Rooms},
    pipeline::{Emitter, Gate, MemoryKeeper},
    schema::local::SOCKET,
    sinks::{
        self, NodeName,
        uplink::{UPLINK, UplinkState},
    },
    spool::Spool,
    telemetry::ErrorChain,
};

impl Agent {
    pub(super) async fn start(
        Loaded { config, records, .. }: Loaded,
        reloads: Option<Reloads>,
    ) -> anyhow::Result<Agent> {
        let host = Host::at("/");
        let clock = Clock::of(&host);
        let now: Arc<dyn Fn() -> i64 + Send + Sync> = {
            let clock = clock.clone();
            Arc::new(move || clock.unix_milliseconds())
        };
        let registry = {
            let now = Arc::clone(&now);
            Registry::new(move || now())
        };
        let (supervisor, abandon) = (Supervisor::new(registry.clone()), CancellationToken::new());
        let stopping = supervisor.stopping(Phase::Sources);
        // Bound first: a second agent is told so before it touches the log.
        let is_of_system = reloads.as_ref().is_some_and(|reloads| reloads.source.is_of_system());
        let known = is_of_system.then(|| SOCKET.into());
        let api =
            LocalApi::bind(&local_api::SocketSettings { socket: config.socket.clone(), known, ..Default::default() })
                .await
                .context("listen for programs on this machine")?;
        let exposition = Exposition::new(stopping.clone());
        let (metrics, followed) = watch::channel(config.metrics);
        let (beat, beaten) = watch::channel(config.beat.clone());
        // Answers `/livez` while a large log is being opened.
        let exposed = Arc::clone(&exposition);
        supervisor.start(Part::again("metrics", Phase::Doors, move |stop| {
            exposition::keep(Arc::clone(&exposed), followed.clone(), stop)
        }));
        let (log, node_id) = opening::open(&config, &host, &clock).await?;
        let emitter = {
            let (gate, now) = (Gate::new(&config.events.levels, &config.events.categories), Arc::clone(&now));
            Emitter::new(log.clone(), gate, move || now())
        };
        emitter.set_counters(&config.counters);
        let own = emitter.for_source("agent");
        let keeper = MemoryKeeper::new(config.state_directory.join("memory"), log.clone());
        opening::remember_urgent_states(&emitter, keeper.memory("urgent_states")).await;
        let states = opening::open_states(&log, &config, registry.part("states"), &now).await?;
        let dead_letters = opening::open_dead_letters(&config).await;
        let paused = opening::open_paused(&config).await?;
        let cursor = log.cursor(UPLINK).context("too many cursors in the event log")?;
        let programs = Programs::new(log.clone(), registry.clone(), Arc::clone(&now));

        let uplink = UplinkState::new(config.controller.as_ref().map_or("", |controller| &controller.address));
        let threshold = watch::Sender::new(steering::threshold(&config.events));
        let profile = watch::Sender::new(config.events.profile);
        let may = watch::Sender::new(config.may());
        let absence = watch::Sender::new(config.consumers.absence);
        let scopes = watch::Sender::new(config.consumers.scopes.clone());
        let (absent, scoped) = (absence.subscribe(), scopes.subscribe());
        let (orders, given) = mpsc::channel(control::ORDERS_MAX);
        let (changes, asked) = mpsc::channel(steering::WAITING_MAX);
        let (tidings, untold) = Tidings::new();
        let loops = [("runtime", Pulse::default()), ("delivery", Pulse::default())];
        let [(_, runtime), (_, delivery)] = loops.clone();
        let delivering = Delivering::start(
            config.controller.as_ref(),
            &config.sinks,
            delivering::Surroundings {
                log: log.clone(),
                cursor,
                threshold: threshold.clone(),
                state: uplink.clone(),
                dead_letters: dead_letters.clone(),
                paused,
                states: Arc::new(states.clone()),
                identity: config.state_directory.join(IDENTITY),
                node: NodeName {
                    id: node_id.as_str().into(),
                    host: host.hostname().unwrap_or_else(|_| node_id.clone()).into(),
                },
                now: Arc::clone(&now),
                pulse: delivery,
                orders,
                supervisor: supervisor.clone(),
                registry: registry.clone(),
                stopping,
                shutdown: supervisor.stopping(Phase::Delivery),
                abandon: abandon.clone(),
            },
        );
        let sinks_desk = delivering.consumers().sinks_desk();
        let collectors = Collectors::start(
            &config.collectors,
            collecting::Surroundings {
                emitter: emitter.clone(),
                host,
                keeper: keeper.clone(),
                supervisor: supervisor.clone(),
                registry: registry.clone(),
                assertion: states.needs_assertion(),
            },
        );
        let in_force = InForceView::new(now(), registry.part("configuration"));
        let states_desk = Arc::new(StatesDesk {
            states: states.clone(),
            collecting: collectors.collecting(),
            registry: registry.clone(),
            emitter: own.clone(),
            log: log.clone(),
            now: Arc::clone(&now),
        });
        let status = Arc::new(StatusParts {
            started_at: now(),
            node_id,
            state_directory: config.state_directory.display().to_string(),
            profile: profile.subscribe(),
            clock: clock.clone(),
            log: log.clone(),
            log_look: LogLook::new(&log),
            emitter: emitter.clone(),
            uplink: uplink.clone(),
            consumers: delivering.consumers(),
            programs: programs.clone(),
            collecting: collectors.collecting(),
            dead_letters: dead_letters.clone(),
            in_force: in_force.clone(),
            socket: api.usage(),
            supervisor: supervisor.clone(),
            registry: registry.clone(),
            states: Arc::clone(&states_desk),
        });
        exposition.started(Arc::clone(&status));
        let (source, log_level, signal) = match reloads {
            Some(Reloads { source, log_level, signal }) => (Some(source), Some(log_level), Some(signal)),
            None => (None, None, None),
        };
        let turned = Parts {
            emitter: emitter.clone(),
            log: log.clone(),
            threshold,
            profile,
            may: may.clone(),
            log_level,
            metrics,
            beat,
            collectors,
            delivering,
            absence,
            scopes,
        };
        let spool = Spool::of(&config.state_directory);
        let remembered = ["registration", "config"].map(|name| keeper.memory(name));
        let [registered, configured] = remembered;
        let steering = Steering::new((config, records.clone()), source, turned, in_force, tidings, now);
        let desk = Desk { may: may.subscribe(), status: Arc::clone(&status).source(), changes: changes.clone() };
        let rooms = Rooms {
            emitter: emitter.clone(),
            log: log.clone(),
            status: Arc::clone(&status).source(),
            dead_letters,
            programs: programs.clone(),
            scopes: scoped,
            sink_orders: steering::sink_orders(changes.clone()),
            reload: steering::desk(changes),
            trouble: exposition.trouble_source(),
            settling: Arc::clone(&states_desk).settling(),
            states: Arc::clone(&states_desk).source(),
            silence: Arc::clone(&states_desk).silence_desk(),
            acknowledge: states_desk.acknowledge_desk(),
            sinks: sinks_desk,
        };
        let told_before = states.clone();
        let (sources, doors) = (supervisor.stopping(Phase::Sources), supervisor.stopping(Phase::Doors));
        for part in [
            Part::again("pulse", Phase::Doors, move |stop| watchdog::beat(runtime.clone(), stop)),
            Part::again("registration", Phase::Sources, {
                let own = own.clone();
                move |stop| registration::report(uplink.registrations(), own.clone(), registered.clone(), stop)
            }),
            Part::once("config", Phase::Sources, config_change::report(records, untold, own.clone(), configured)),
            Part::again("memory", Phase::Memory, move |stop| keeper.clone().run(stop)),
            // After the last words of the collectors.
            Part::again("states", Phase::Memory, move |stop| states.clone().keep(stop)),
            Part::again("spool", Phase::Sources, {
                let conditions = registry.part("spool");
                move |stop| {
                    let (spool, conditions) = (spool.clone(), conditions.clone());
                    spool_intake::run(spool, spool_intake::INTERVAL, emitter.clone(), conditions, stop)
                }
            }),
            Part::once("orders", Phase::Sources, desk.run(given, sources.clone())),
            Part::once("steering", Phase::Sources, steering.run(asked, signal, sources)),
            Part::again("absence_watch", Phase::Sources, {
                let (own, states) = (own.clone(), told_before.clone());
                move |stop| {
                    let states = states.clone();
                    let was_told = move || states.wrong("consumer");
                    absence_watch::watch(programs.clone(), was_told, absent.clone(), own.clone(), stop)
                }
            }),
            Part::again("log_trouble", Phase::Sources, {
                let log = log.clone();
                move |stop| {
                    let (log, states) = (log.clone(), told_before.clone());
                    let was_told = move || states.wrong("event log").map(|wrong| !wrong.is_empty());
                    log_trouble::report(move || log.degraded(), was_told, log_trouble::INTERVAL, own.clone(), stop)
                }
            }),
            Part::again("beat", Phase::Sources, {
                let (trouble, conditions) = (exposition.trouble_source(), registry.part("beat"));
                move |stop| {
                    let trouble = Arc::clone(&trouble);
                    sinks::beat(beaten.clone(), move || trouble(), conditions.clone(), stop)
                }
            }),
            Part::once("socket", Phase::Doors, serve(api, rooms, doors)),
            Part::again("journal", Phase::Doors, {
                let log = log.clone();
                move |stop| mirror::show(log.clone(), stop)
            }),
            Part::again("clock", Phase::Doors, {
                let (log, conditions) = (log.clone(), registry.part("clock"));
                move |stop| clock_watch::run(clock.clone(), log.clone(), conditions.clone(), stop)
            }),
            Part::again("status", Phase::Doors, move |stop| watch_conditions(Arc::clone(&status), stop)),
        ] {
            supervisor.start(part);
        }
        Ok(Agent { log, supervisor, abandon, loops })
    }
}

async fn serve(api: LocalApi, rooms: Rooms, shutdown: CancellationToken) {
    if let Err(error) = api.serve(rooms, shutdown).await {
        tracing::error!(error = %ErrorChain(&error), "programs on this machine are not answered any more");
    }
}
