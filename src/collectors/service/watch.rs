//! The look at systemd: connect, list, compare, follow; and all of it again when the bus has gone.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Settings,
    story::{self, Change, Condition, Known},
    unit::UnitState,
};
use crate::{
    backoff::{Backoff, random},
    collectors::{CollectError, Context},
    event::{Level, Metadata},
    host::{
        clock::Clock,
        systemd_bus::{BusError, Properties, Signal, SystemdBus, Unit},
    },
    schema::events::{SystemHostPayload, system_host_payload::SystemHostOperation},
    telemetry::ErrorChain,
};

/// The most services that are followed; what comes beyond is not looked at.
const UNITS_MAX: usize = 4096;
/// Questions to systemd at a time: enough to keep it busy, few enough to let others through.
const QUESTIONS_MAX: usize = 8;
/// The bus drops signals in silence for a reader that stops for long. After that we list anew.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// When systemd has not said by then that it has read its units anew, we list all the same.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(90);
/// The first wait before connecting again, and the longest.
const RECONNECT_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What survives a restart of the agent.
#[derive(Deserialize)]
struct Remembered {
    boot_id: uuid::Uuid,
    services: BTreeMap<String, Known>,
}

#[derive(Serialize)]
struct Remember<'a> {
    boot_id: uuid::Uuid,
    services: &'a BTreeMap<String, Known>,
}

/// What a list of services is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Nothing: first sight.
    Ever,
    /// What was known before the machine was booted.
    Boot {
        /// Whether systemd has started what it wants to start.
        complete: bool,
    },
    /// What was known a while ago.
    Last,
}

struct Watch {
    settings: Settings,
    context: Context,
    boot_id: uuid::Uuid,
    since: Since,
    /// Of every service that is loaded, and of no other.
    known: BTreeMap<String, Known>,
    states: HashMap<String, UnitState>,
}

/// Looks until dropped.
pub(super) async fn watch(settings: Settings, context: Context) -> Result<(), CollectError> {
    if !context.host.is_live() {
        return Err(CollectError::Absent("services are only those of the running machine".into()));
    }
    let mut backoff = Backoff::new(RECONNECT_WAITS.0, RECONNECT_WAITS.1);
    let mut seen = false;
    let mut watch = Watch::new(settings, context).await;
    loop {
        let error = match SystemdBus::connect(None, ".service").await {
            Ok(bus) => {
                seen = true;
                watch.session(bus, &mut backoff).await?
            }
            Err(error @ BusError::Absent(_)) if !seen => return Err(CollectError::Absent(error.to_string())),
            Err(error) => error,
        };
        let wait = backoff.next(random());
        tracing::info!(error = %ErrorChain(&error), ?wait, "connecting to systemd again");
        sleep(wait).await;
    }
}

impl Watch {
    async fn new(settings: Settings, context: Context) -> Watch {
        let (clock, memory) = (Clock::of(&context.host), context.memory.clone());
        let read = tokio::task::spawn_blocking(move || (clock.boot_id(), memory.recall::<Remembered>()));
        let (boot_id, remembered) = read.await.unwrap_or_default();
        let (since, known) = match remembered {
            None => (Since::Ever, BTreeMap::new()),
            Some(last) if last.boot_id == boot_id => (Since::Last, last.services),
            Some(last) => (Since::Boot { complete: false }, last.services),
        };
        Watch { settings, context, boot_id, since, known, states: HashMap::new() }
    }

    /// Follows one connection to its end, and gives the reason of the end.
    async fn session(&mut self, mut bus: SystemdBus, backoff: &mut Backoff) -> Result<BusError, CollectError> {
        let mut listed = false;
        let mut reloading = false;
        loop {
            if !listed {
                match Listing::of(&bus, &self.settings).await {
                    Ok(listing) => self.compare(listing).await?,
                    Err(error) => return Ok(error),
                }
                backoff.reset();
            }
            let patience = if reloading { RELOAD_TIME_MAX } else { Duration::MAX };
            let signal = match timeout(patience, bus.next()).await {
                Ok(Ok(signal)) => signal,
                Ok(Err(error)) => return Ok(error),
                Err(_elapsed) => Signal::Reloaded,
            };
            let start = Instant::now();
            // While all units are read anew they seem to go: the list that follows tells what has become of them.
            let reloaded = signal == Signal::Reloaded;
            match signal {
                Signal::Reloading => reloading = true,
                Signal::Reloaded => reloading = false,
                _ if reloading => {}
                Signal::Changed { unit, properties, complete } => self.follow(unit, &properties, complete).await?,
                Signal::Removed { unit } => self.forget(&unit).await?,
            }
            listed = !reloaded && start.elapsed() < PAUSE_MAX;
        }
    }

    /// Compares a whole list with what is known.
    async fn compare(&mut self, listing: Listing) -> Result<(), CollectError> {
        if let Since::Boot { complete } = &mut self.since {
            *complete = listing.booted;
        }
        if self.since == Since::Ever {
            self.emit_inventory(&listing.states).await?;
        }
        let mut known = BTreeMap::new();
        for (name, state) in &listing.states {
            let (now, changes) = self.judge(name, state);
            self.emit(changes).await?;
            known.insert(name.clone(), now);
        }
        let gone = self.known.iter().filter(|(name, _)| !known.contains_key(*name) && self.settings.include(name));
        if self.since == Since::Last {
            let nothing = UnitState::default();
            for (name, before) in gone {
                let last = self.states.get(name).unwrap_or(&nothing);
                self.emit(story::vanished(name, before, last)).await?;
            }
        }
        self.known = known;
        self.states = listing.states;
        self.since = Since::Last;
        self.remember();
        Ok(())
    }

    fn judge(&self, name: &str, state: &UnitState) -> (Known, Vec<Change>) {
        match (self.since, self.known.get(name)) {
            (Since::Ever, _) => story::first_sight(name, state),
            (Since::Boot { complete }, before) => {
                story::after_boot(name, before.unwrap_or(&Known::default()), state, complete)
            }
            (Since::Last, Some(before)) => story::observe(name, before, state),
            (Since::Last, None) => story::appeared(name, state),
        }
    }

    /// Takes in what a signal tells of one service.
    async fn follow(&mut self, unit: String, properties: &Properties, complete: bool) -> Result<(), CollectError> {
        if !self.settings.include(&unit) || (!self.states.contains_key(&unit) && self.states.len() >= UNITS_MAX) {
            return Ok(());
        }
        let state = self.states.entry(unit.clone()).or_default();
        let mut next = state.clone();
        next.update(properties);
        // A signal from before the list that we have already seen.
        if next.changed_at < state.changed_at {
            return Ok(());
        }
        state.clone_from(&next);
        if !complete {
            return Ok(());
        }
        // One that was not there is new: had it run before it was loaded, its times would be another object's.
        let before = self.known.get(&unit).cloned().unwrap_or_default();
        let (known, changes) = story::observe(&unit, &before, &next);
        self.emit(changes).await?;
        if self.known.get(&unit) != Some(&known) {
            self.known.insert(unit, known);
            self.remember();
        }
        Ok(())
    }

    /// A service is no longer loaded, which systemd does with those that have ended.
    async fn forget(&mut self, unit: &str) -> Result<(), CollectError> {
        let (known, state) = (self.known.remove(unit), self.states.remove(unit));
        if let Some(known) = known {
            self.emit(story::vanished(unit, &known, &state.unwrap_or_default())).await?;
            self.remember();
        }
        Ok(())
    }

    async fn emit_inventory(&self, states: &HashMap<String, UnitState>) -> Result<(), CollectError> {
        let count = |condition| states.values().filter(|state| Known::of(state).condition == condition).count();
        let (active, failed) = (count(Condition::Running), count(Condition::Failed));
        let detail = format!("{} services loaded: {active} active, {failed} failed", states.len());
        let payload =
            SystemHostPayload { subject: "service".into(), detail, operation: SystemHostOperation::Inventory.into() };
        let metadata = Metadata::from([("component".into(), "service".into()), ("action".into(), "inventory".into())]);
        self.context.emitter.system_host(Level::Info, payload, metadata).await?;
        Ok(())
    }

    async fn emit(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), CollectError> {
        for Change { level, payload, metadata } in changes {
            self.context.emitter.service_status(level, payload, metadata).await?;
        }
        Ok(())
    }

    fn remember(&self) {
        self.context.memory.remember(&Remember { boot_id: self.boot_id, services: &self.known });
    }
}

/// The services as they are at one time.
struct Listing {
    states: HashMap<String, UnitState>,
    booted: bool,
}

impl Listing {
    async fn of(bus: &SystemdBus, settings: &Settings) -> Result<Listing, BusError> {
        let booted = !matches!(bus.system_state().await?.as_str(), "initializing" | "starting");
        let mut units = bus.units().await?;
        units.retain(|unit| settings.include(&unit.name));
        units.truncate(UNITS_MAX);
        let questions = units.into_iter().map(|unit| state_of(bus, unit));
        let states: Vec<_> = stream::iter(questions).buffer_unordered(QUESTIONS_MAX).try_collect().await?;
        Ok(Listing { states: states.into_iter().flatten().collect(), booted })
    }
}

/// `None` of a unit that has been unloaded since it was listed.
async fn state_of(bus: &SystemdBus, unit: Unit) -> Result<Option<(String, UnitState)>, BusError> {
    Ok(bus.properties(&unit).await?.map(|properties| {
        let mut state = UnitState::default();
        state.update(&properties);
        (unit.name, state)
    }))
}
