//! The look at systemd: connect, list, compare, follow; and all of it again when the bus has gone.
//!
//! It has a loop of its own and is no domain of `collectors::driver`: that one compares looks, and what came between two of them
//! would be one change. Here each signal is told by itself and in systemd's order, so a service that fails and is started again
//! within a moment is a failure and a start; and what is known of services is of the boot that it was seen in.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    convert::Infallible,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    Settings,
    story::{self, COMPONENT, Condition, Known},
    unit::UnitState,
};
use crate::{
    backoff::{Backoff, random},
    collectors::{CollectError, Context, finding::Finding, listing},
    host::{
        clock::Clock,
        systemd_bus::{BusError, Properties, Signal, SystemdBus, Unit},
    },
    order::Sorted as _,
    telemetry::ErrorChain,
};

/// The most services that are followed; what comes beyond is a blind spot.
const UNITS_MAX: usize = 16 * 1024;
/// What it is blind to beyond them.
const BEYOND: &str = "all of the services";
/// What it would not see, before there is any.
const NEAR: &str = "services beyond the bound";
/// Questions to systemd at a time: enough to keep it busy, few enough to let others through.
const QUESTIONS_MAX: usize = 8;
/// The most signals that are taken in before a list; the rest is taken in after it, where it may be old news.
const SIGNALS_MAX: usize = 16 * 1024;
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
    /// By which the services were chosen; not known of memories of older agents.
    chosen: Option<Settings>,
}

#[derive(Serialize)]
struct Remember<'a> {
    boot_id: uuid::Uuid,
    services: &'a BTreeMap<String, Known>,
    chosen: Option<&'a Settings>,
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
    /// What was known when the agent last ran.
    Down,
    /// What was known a moment ago.
    Now,
}

struct Watch {
    settings: Settings,
    context: Context,
    boot_id: uuid::Uuid,
    since: Since,
    /// Of every service that is loaded, and of no other.
    known: BTreeMap<String, Known>,
    /// By which these were chosen: until the first list, the settings of an earlier run.
    chosen: Option<Settings>,
    states: HashMap<String, UnitState>,
    /// Whether the services have been listed since signals may have been missed.
    listed: bool,
    /// Whether systemd reads its units anew.
    reloading: bool,
}

/// Why a session with systemd has ended.
enum Ended {
    /// Begin another one.
    Bus(BusError),
    /// The collector ends, too.
    Collector(CollectError),
}

impl From<BusError> for Ended {
    fn from(error: BusError) -> Ended {
        Ended::Bus(error)
    }
}

impl From<CollectError> for Ended {
    fn from(error: CollectError) -> Ended {
        Ended::Collector(error)
    }
}

/// Looks until dropped; whoever waits for `connected` hears when systemd has been found.
pub(super) async fn watch(settings: Settings, context: Context, connected: &Notify) -> Result<(), CollectError> {
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
                connected.notify_one();
                match watch.session(bus, &mut backoff).await {
                    Ok(never) => match never {},
                    Err(Ended::Bus(error)) => error,
                    Err(Ended::Collector(error)) => return Err(error),
                }
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
        let (since, known, chosen) = match remembered {
            None => (Since::Ever, BTreeMap::new(), None),
            Some(last) if last.boot_id == boot_id => (Since::Down, last.services, last.chosen),
            Some(last) => (Since::Boot { complete: false }, last.services, last.chosen),
        };
        let (states, listed, reloading) = (HashMap::new(), false, false);
        Watch { settings, context, boot_id, since, known, chosen, states, listed, reloading }
    }

    /// Follows one connection to its end.
    async fn session(&mut self, mut bus: SystemdBus, backoff: &mut Backoff) -> Result<Infallible, Ended> {
        (self.listed, self.reloading) = (false, false);
        loop {
            if !self.listed {
                self.list(&mut bus).await?;
                backoff.reset();
            }
            let patience = if self.reloading { RELOAD_TIME_MAX } else { Duration::MAX };
            let signal = timeout(patience, bus.next()).await.unwrap_or(Ok(Signal::Reloaded))?;
            self.take(signal).await?;
        }
    }

    /// Lists all services and compares them with what is known.
    async fn list(&mut self, bus: &mut SystemdBus) -> Result<(), Ended> {
        let listing = Listing::of(bus, &self.settings, &self.known).await?;
        let why = listing::beyond(listing.beyond, UNITS_MAX, "loaded", "service.exclude");
        self.context.note(BEYOND, why).await?;
        let near = listing::near(listing.states.len(), UNITS_MAX).unwrap_or_default();
        self.context.sight.is_not_meant_to_see(NEAR, &near);
        self.listed = true;
        let mut told = HashSet::new();
        if self.since == Since::Now {
            // What was signalled meanwhile tells the same step by step, so it goes first.
            for _ in 0..SIGNALS_MAX {
                let Some(signal) = bus.next().now_or_never() else { break };
                let signal = signal?;
                told.extend(signal.unit().map(str::to_owned));
                self.take(signal).await?;
            }
        }
        self.compare(listing, &told).await?;
        Ok(())
    }

    async fn take(&mut self, signal: Signal) -> Result<(), CollectError> {
        let start = Instant::now();
        match signal {
            Signal::Reloading => self.reloading = true,
            Signal::Reloaded => (self.reloading, self.listed) = (false, false),
            // While all units are read anew they seem to go: the list that follows tells what has become of them.
            _ if self.reloading => {}
            Signal::Changed { unit, properties, complete } => self.follow(unit, &properties, complete).await?,
            Signal::Removed { unit } => self.forget(&unit).await?,
        }
        if start.elapsed() > PAUSE_MAX {
            self.listed = false;
        }
        Ok(())
    }

    /// Compares a list with what is known. `told` are the services that signals have told of since it was made.
    async fn compare(&mut self, listing: Listing, told: &HashSet<String>) -> Result<(), CollectError> {
        if let Since::Boot { complete } = &mut self.since {
            *complete = listing.booted;
        }
        if self.since == Since::Ever {
            self.context.report([inventory(&listing.states)]).await?;
        }
        let gone = self.known.keys().filter(|name| !listing.states.contains_key(*name) && !told.contains(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.forget(&name).await?;
        }
        for (name, state) in listing.states {
            let newer = self.states.get(&name).is_none_or(|known| known.changed_at < state.changed_at);
            if told.contains(&name) && !(newer && self.known.contains_key(&name)) {
                continue;
            }
            let was_left_out = self.chosen.as_ref().is_some_and(|chosen| !chosen.include(&name));
            let (known, mut findings) = judge(self.since, self.known.get(&name), was_left_out, &name, &state);
            if self.context.asserts && self.since != Since::Now && findings.is_empty() {
                findings.extend(story::first_sight(&name, &state).1.into_iter().map(Finding::asserted));
            }
            self.context.report(findings).await?;
            self.known.insert(name.clone(), known);
            self.states.insert(name, state);
        }
        (self.since, self.chosen) = (Since::Now, Some(self.settings.clone()));
        self.remember();
        Ok(())
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
        // One that was not there is new, and so are all its times.
        let before = self.known.get(&unit).cloned().unwrap_or_default();
        let (known, findings) = story::observe(&unit, &before, &next);
        self.context.report(findings).await?;
        if self.known.get(&unit) != Some(&known) {
            self.known.insert(unit, known);
            self.remember();
        }
        Ok(())
    }

    /// A service is no longer loaded, which systemd does with those that have ended.
    async fn forget(&mut self, unit: &str) -> Result<(), CollectError> {
        let (known, state) = (self.known.remove(unit), self.states.remove(unit));
        // Of one that has been excluded since nothing can be said, and of one before the boot only that it fails no more.
        let (tell, seen) = (self.settings.include(unit), matches!(self.since, Since::Down | Since::Now));
        if let Some(known) = known {
            let last = state.unwrap_or_default();
            self.context.report(story::vanished(unit, &known, &last, seen).filter(|_| tell)).await?;
            self.remember();
        }
        Ok(())
    }

    fn remember(&self) {
        self.context.memory.remember(&Remember {
            boot_id: self.boot_id,
            services: &self.known,
            chosen: self.chosen.as_ref(),
        });
    }
}

fn inventory(states: &HashMap<String, UnitState>) -> Finding {
    let count = |condition| states.values().filter(|state| Known::of(state).condition == condition).count();
    let (active, failed) = (count(Condition::Running), count(Condition::Failed));
    let detail = format!("{} loaded, {active} active, {failed} failed", states.len());
    Finding::inventory("services", COMPONENT, detail)
}

/// What a service in a list amounts to, and which events that makes.
fn judge(
    since: Since,
    before: Option<&Known>,
    was_left_out: bool,
    name: &str,
    state: &UnitState,
) -> (Known, Vec<Finding>) {
    match (since, before) {
        (Since::Ever, _) => story::first_sight(name, state),
        // It may have been there all along.
        (Since::Down | Since::Boot { .. }, None) if was_left_out => story::first_sight(name, state),
        (Since::Boot { complete }, before) => {
            story::after_boot(name, before.unwrap_or(&Known::default()), state, complete)
        }
        (Since::Down, None) => story::appeared(name, state),
        // One that was not there is new, and so are all its times.
        (Since::Now, None) => story::observe(name, &Known::default(), state),
        (_, Some(before)) => story::observe(name, before, state),
    }
}

/// The services as they are at one time.
struct Listing {
    states: HashMap<String, UnitState>,
    booted: bool,
    /// How many are not followed.
    beyond: usize,
}

impl Listing {
    async fn of(bus: &SystemdBus, settings: &Settings, known: &BTreeMap<String, Known>) -> Result<Listing, BusError> {
        let booted = !matches!(bus.system_state().await?.as_str(), "initializing" | "starting");
        let mut units = bus.units().await?;
        units.retain(|unit| settings.include(&unit.name));
        // Those that are followed stay followed.
        units.order_by_key(|unit| !known.contains_key(&unit.name));
        let beyond = units.len().saturating_sub(UNITS_MAX);
        units.truncate(UNITS_MAX);
        let questions = units.into_iter().map(|unit| state_of(bus, unit));
        let states: Vec<_> = stream::iter(questions).buffer_unordered(QUESTIONS_MAX).try_collect().await?;
        Ok(Listing { states: states.into_iter().flatten().collect(), booted, beyond })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collectors::pattern::Patterns,
        schema::events::{ServiceStatusPayload, service_status_payload::ServiceStatusOperation as Operation},
    };

    fn told(since: Since, was_left_out: bool, active: &str) -> Vec<Operation> {
        let state = UnitState { active: active.to_owned(), active_enter: 7, ..UnitState::default() };
        let (known, findings) = judge(since, None, was_left_out, "a.service", &state);
        assert_eq!(known, Known::of(&state), "from then on it is followed");
        findings.iter().map(|finding| finding.payload::<ServiceStatusPayload>().operation()).collect()
    }

    #[test]
    fn of_services_that_other_settings_left_out_only_failures_are_told() {
        for since in [Since::Down, Since::Boot { complete: true }] {
            assert_eq!(told(since, true, "active"), []);
            assert_eq!(told(since, true, "inactive"), []);
            assert_eq!(told(since, true, "failed"), [Operation::Failed]);
            assert_eq!(told(since, false, "active"), [Operation::Started], "one that was not there");
        }
    }

    #[test]
    fn a_memory_of_an_older_agent_is_read_and_the_settings_are_remembered() {
        let older = serde_json::json!({"boot_id": uuid::Uuid::nil(), "services": {}});
        assert!(serde_json::from_value::<Remembered>(older).is_ok_and(|older| older.chosen.is_none()));
        let settings = Settings {
            units: Patterns::new(vec!["*.service".to_owned()]),
            exclude: Patterns::new(vec!["a*".to_owned()]),
        };
        let memory = Remember { boot_id: uuid::Uuid::nil(), services: &BTreeMap::new(), chosen: Some(&settings) };
        let text = serde_json::to_string(&memory).unwrap();
        let chosen = serde_json::from_str::<Remembered>(&text).unwrap().chosen.unwrap();
        assert!(!chosen.include("a.service") && chosen.include("b.service"));
    }
}
