//! What running collectors cannot see, and that it is told: once when it begins, as an event and in `rodent status`, and
//! once when it is over.
//!
//! A collector names what it is blind to and why, and takes it back with every look that sees it. What was told is remembered
//! between runs of the agent, so that a start tells nothing anew. Always holds: what is told is emitted before it counts as
//! told; of one collector at most [`SPOTS_MAX`] blind spots are told by name at a time, and one more when another is over. That
//! there are more is a blind spot of its own, and `rodent status` counts them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use tokio::sync::OnceCell;

use super::finding::Finding;
use crate::{
    event::Level,
    health::{Fault, Registry},
    lock::lock,
    pipeline::{EmitError, Emitter, Memory},
    schema::events::system_host_payload::SystemHostOperation as Operation,
    telemetry::message,
};

/// The most blind spots of one collector that are told apart.
const SPOTS_MAX: usize = 64;

/// The most that are counted beyond them; as many as a collector follows things.
const UNTOLD_MAX: usize = 16 * 1024;

/// Blind spots that `rodent status` names.
const SHOWN_MAX: usize = 3;

/// Component of the events.
const COMPONENT: &str = "sight";

/// Of every collector. Cheap to copy.
#[derive(Clone, Default)]
pub struct Sights {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    memory: Option<Memory>,
    registry: Option<Registry>,
    recalled: OnceCell<()>,
    /// By collector: what it cannot see, and why.
    told: Mutex<BTreeMap<String, Spots>>,
    /// By collector: what it cannot see beyond those that are told.
    untold: Mutex<BTreeMap<&'static str, BTreeSet<String>>>,
    /// What nobody has to be told, for it is meant to be so.
    by_design: Mutex<BTreeMap<String, Spots>>,
}

type Spots = BTreeMap<String, String>;

impl Sights {
    /// Goes on with what was told before, and remembers there what is told. What a collector cannot see is a condition.
    pub fn new(memory: Memory, registry: Registry) -> Sights {
        let shared = Shared { memory: Some(memory), registry: Some(registry), ..Shared::default() };
        Sights { shared: Arc::new(shared) }
    }

    /// What a collector that has failed cannot see.
    pub fn all_of(collector: &str) -> String {
        format!("what the collector {collector} looks at")
    }

    /// What a collector is called where something is wrong with it.
    pub fn part(collector: &str) -> String {
        format!("collectors.{collector}")
    }

    /// A collector that is turned off is not blind.
    pub fn forget(&self, collector: &str) {
        if let Some(registry) = &self.shared.registry {
            registry.part(Sights::part(collector)).clear(message::COLLECTOR_BLIND);
        }
    }

    /// Says of a collector what it cannot see. That it has failed as a whole is said by who starts it again.
    fn judge(&self, collector: &str, spots: &Spots) {
        let Some(registry) = &self.shared.registry else { return };
        let whole = Sights::all_of(collector);
        let blind = spots
            .iter()
            .filter(|(what, _)| **what != whole && **what != beyond(collector))
            .map(|(what, why)| format!("{what}: {why}"));
        let counted = lock(&self.shared.untold).get(collector).map_or(0, BTreeSet::len);
        let blind = shown(blind.collect(), counted);
        let fault = (!blind.is_empty()).then(|| {
            let text = format!("the collector {collector} cannot see {blind}");
            Fault::warning(text).told()
        });
        registry.part(Sights::part(collector)).put(message::COLLECTOR_BLIND, fault);
    }

    /// That of one collector, once what was told before is known.
    pub async fn of(&self, collector: &'static str) -> Sight {
        let recall = || async {
            if let Some(memory) = self.shared.memory.clone() {
                let recalled = tokio::task::spawn_blocking(move || memory.recall()).await;
                *lock(&self.shared.told) = recalled.ok().flatten().unwrap_or_default();
            }
        };
        self.shared.recalled.get_or_init(recall).await;
        if let Some(spots) = lock(&self.shared.told).get(collector) {
            self.judge(collector, spots);
        }
        Sight { sights: self.clone(), collector }
    }

    /// What a collector cannot see, in one line; empty when it sees everything.
    pub fn line(&self, collector: &str) -> String {
        let mut spots: Vec<String> = Vec::new();
        for these in [&self.shared.told, &self.shared.by_design] {
            let spots_of = lock(these).get(collector).cloned().unwrap_or_default();
            let named = spots_of.into_iter().filter(|(what, _)| *what != beyond(collector));
            spots.extend(named.map(|(what, why)| format!("{what}: {why}")));
        }
        let untold = lock(&self.shared.untold).get(collector).map_or(0, BTreeSet::len);
        shown(spots, untold)
    }
}

/// The first of them, and how many more there are, with those that are only counted.
fn shown(mut spots: Vec<String>, counted: usize) -> String {
    let more = spots.len().saturating_sub(SHOWN_MAX) + counted;
    spots.truncate(SHOWN_MAX);
    if more > 0 {
        spots.push(format!("and {more} more"));
    }
    spots.join("; ")
}

/// What one collector sees and what not. Cheap to copy.
#[derive(Clone)]
pub struct Sight {
    sights: Sights,
    collector: &'static str,
}

impl Sight {
    /// It cannot see something; told when that is news.
    ///
    /// # Errors
    /// When the log takes no events.
    pub(crate) async fn is_blind(&self, emitter: &Emitter, what: &str, why: &str) -> Result<(), EmitError> {
        if self.is_told(what) || self.told() < SPOTS_MAX {
            self.untold(|spots| spots.remove(what));
            return self.is_blind_to(emitter, what, why).await;
        }
        self.untold(|spots| spots.len() < UNTOLD_MAX && spots.insert(what.to_owned()));
        let why = format!("{SPOTS_MAX} blind spots of it are told by name; rodent status counts what is beyond them");
        self.is_blind_to(emitter, &beyond(self.collector), &why).await
    }

    async fn is_blind_to(&self, emitter: &Emitter, what: &str, why: &str) -> Result<(), EmitError> {
        let is_known = self.is_told(what);
        if !is_known {
            tracing::warn!(
                message_id = %message::COLLECTOR_BLIND,
                collector = self.collector,
                what,
                why,
                "a collector cannot see a part of what it looks at"
            );
            self.tell(emitter, Level::Warn, Operation::BlindSpot, what, why.to_owned()).await?;
        }
        self.note(|spots| spots.insert(what.to_owned(), why.to_owned()), !is_known);
        Ok(())
    }

    /// It sees something; told when it did not before.
    ///
    /// # Errors
    /// As [`Sight::is_blind`].
    pub(crate) async fn sees(&self, emitter: &Emitter, what: &str) -> Result<(), EmitError> {
        let is_all_told = self.untold(|spots| {
            spots.remove(what);
            spots.is_empty()
        });
        self.sees_again(emitter, what).await?;
        // With a place free, whatever is beyond would be told by its name.
        if is_all_told && self.told() < SPOTS_MAX {
            self.sees_again(emitter, &beyond(self.collector)).await?;
        }
        Ok(())
    }

    async fn sees_again(&self, emitter: &Emitter, what: &str) -> Result<(), EmitError> {
        if self.is_told(what) {
            let message_id = message::COLLECTOR_BLIND;
            tracing::info!(%message_id, collector = self.collector, what, "a collector sees it again");
            self.tell(emitter, Level::Info, Operation::SeesAgain, what, String::new()).await?;
            self.note(|spots| spots.remove(what), true);
        }
        Ok(())
    }

    /// What it is blind to that begins so; without the beginning.
    pub(crate) fn blind_to(&self, prefix: &str) -> Vec<String> {
        let mut spots: Vec<String> = self.untold(|spots| spots.iter().cloned().collect());
        spots.extend(lock(&self.sights.shared.told).get(self.collector).into_iter().flat_map(BTreeMap::keys).cloned());
        spots.iter().filter_map(|what| what.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    fn is_told(&self, what: &str) -> bool {
        lock(&self.sights.shared.told).get(self.collector).is_some_and(|spots| spots.contains_key(what))
    }

    /// How many are told by name.
    fn told(&self) -> usize {
        let told = lock(&self.sights.shared.told);
        told.get(self.collector)
            .map_or(0, |spots| spots.len() - usize::from(spots.contains_key(&beyond(self.collector))))
    }

    fn untold<T>(&self, change: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        change(lock(&self.sights.shared.untold).entry(self.collector).or_default())
    }

    /// What it is not meant to see, for the status alone; an empty reason takes it back.
    pub(crate) fn is_not_meant_to_see(&self, what: &str, why: &str) {
        let mut all = lock(&self.sights.shared.by_design);
        let spots = all.entry(self.collector.to_owned()).or_default();
        match why {
            "" => drop(spots.remove(what)),
            why => drop(spots.insert(what.to_owned(), why.to_owned())),
        }
    }

    async fn tell(
        &self,
        emitter: &Emitter,
        level: Level,
        operation: Operation,
        what: &str,
        why: String,
    ) -> Result<(), EmitError> {
        let action = if operation == Operation::BlindSpot { "blind" } else { "sees" };
        Finding::host(level, operation, what, why, COMPONENT, action).emit(emitter).await
    }

    /// Changes what has been told, and remembers that where it is news.
    fn note(&self, change: impl FnOnce(&mut Spots) -> Option<String>, is_news: bool) {
        let mut told = lock(&self.sights.shared.told);
        let spots = told.entry(self.collector.to_owned()).or_default();
        change(spots);
        self.sights.judge(self.collector, spots);
        if let Some(memory) = self.sights.shared.memory.as_ref().filter(|_| is_news) {
            memory.remember(&*told);
        }
    }
}

/// What a collector is blind to beyond the bound.
fn beyond(collector: &str) -> String {
    format!("all of {collector}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collectors::{
            CollectError, Collector, CollectorRun, Context,
            tests::{End, Machine, Told},
        },
        event_log::{EventLog, Settings},
        health::ConditionLevel,
        pipeline::{Gate, MemoryKeeper},
    };

    /// Is blind to so many things at first, sees them one after another, and ends.
    struct Blinks(usize);

    impl Collector for Blinks {
        fn run(self: Box<Self>, context: Context) -> CollectorRun {
            Box::pin(async move {
                let name = |number: usize| format!("thing {number:03}");
                for _ in 0..2 {
                    for number in 0..self.0 {
                        context.is_blind(&name(number), "dark").await?;
                    }
                }
                assert!(context.sight.sights.line("toys").ends_with(&format!("and {} more", self.0 - SHOWN_MAX)));
                assert_eq!(context.sight.blind_to("thing ").len(), self.0);
                // One is over, and the first of those beyond takes its place.
                context.sees(&name(0)).await?;
                if self.0 > SPOTS_MAX {
                    context.is_blind(&name(SPOTS_MAX), "dark").await?;
                }
                for number in 1..self.0 {
                    context.sees(&name(number)).await?;
                }
                assert_eq!(context.sight.sights.line("toys"), "");
                context.shutdown.cancelled().await;
                Ok::<(), CollectError>(())
            })
        }
    }

    async fn told(count: usize, events: usize) -> Vec<String> {
        let script = async |told: &mut Told| told.reaches(events).await;
        Machine::new().run_this("toys", Box::new(Blinks(count)), End::Clean, script).await
    }

    #[tokio::test]
    async fn beyond_the_bound_it_is_told_once_that_there_are_more_and_once_that_there_are_not() {
        let beyond = |line: &&String| line.ends_with(" all of toys");
        let at_the_bound = told(SPOTS_MAX, 2 * SPOTS_MAX).await;
        assert_eq!(at_the_bound.iter().filter(beyond).count(), 0, "{at_the_bound:?}");
        let above = told(SPOTS_MAX + 3, 2 * SPOTS_MAX + 4).await;
        let lines: Vec<_> = above.iter().filter(beyond).map(String::as_str).collect();
        assert_eq!(lines, ["warn system.host.blind_spot all of toys", "info system.host.sees_again all of toys"]);
        assert!(above.contains(&format!("warn system.host.blind_spot thing {SPOTS_MAX:03}")), "{above:?}");
    }

    #[tokio::test]
    async fn what_a_collector_cannot_see_is_a_condition_of_it_until_it_sees_it_or_is_turned_off() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let (emitter, registry) = (Emitter::new(log.clone(), Gate::open(), || 1), Registry::new(|| 1));
        let keeper = MemoryKeeper::new(directory.path().join("memory"), log.clone());
        let said = || {
            let line = |it: crate::health::Condition| (it.part, it.level, it.text);
            registry.standing().into_iter().map(line).collect::<Vec<_>>()
        };
        let blind = |what: &str| {
            let text = format!("the collector storage cannot see {what}");
            [("collectors.storage".to_owned(), ConditionLevel::Warning, text)]
        };
        let sights = Sights::new(keeper.memory("sight"), registry.clone());
        let sight = sights.of("storage").await;
        sight.is_blind(&emitter, &Sights::all_of("storage"), "it fails").await.expect("told");
        assert_eq!(said(), [], "that it has failed is another condition");
        sight.is_blind(&emitter, "/mnt/a", "no answer").await.expect("told");
        sight.is_blind(&emitter, "/mnt/b", "no answer").await.expect("told");
        assert_eq!(said(), blind("/mnt/a: no answer; /mnt/b: no answer"));
        sight.sees(&emitter, "/mnt/a").await.expect("told");
        assert_eq!(said(), blind("/mnt/b: no answer"));
        sights.forget("storage");
        assert_eq!(said(), []);
        // What the last run was blind to, this one has yet to see.
        Sights::new(keeper.memory("sight"), registry.clone()).of("storage").await;
        assert_eq!(said(), blind("/mnt/b: no answer"));
        log.close();
    }
}
