//! Drives the domains of a collector: looks at each at the start, in its turn and when it wakes, compares with what is
//! known, and tells what that comes to.
//!
//! A collector gives it domains and the context; what they find goes to the emitter, what they know to the memory, what they
//! cannot see to the sight. Each is followed beside the others: one that hangs, fails or is absent delays and silences none.
//! Always holds: what is found is emitted before it is known, and known before it is remembered, so that a run that is killed
//! has its findings told again by the next one. At first sight what is wrong is told, and what there is in one inventory;
//! what changed while nobody looked is told once; what other settings left out, or these leave out, has not come or gone.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Future, pending},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::{BoxFuture, try_join_all};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::{CollectError, Context, finding::Finding};
use crate::{event::Level, lock::lock, telemetry::ErrorChain};

/// When to look again at what could not be seen, unless its turn comes earlier.
const RETRY: Duration = Duration::from_secs(10);
/// Between two turns of what is only looked at when it wakes: thirty years.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A part of the machine that is looked at by itself.
pub(super) trait Domain: Send + 'static {
    /// What it is called in the memory of its collector, and as a blind spot.
    const NAME: &'static str;
    /// What is known of it, compared from look to look and remembered. What its JSON leaves out is only compared.
    type Known: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync;
    /// The settings by which it is chosen what is followed, remembered beside it; `()` where everything is.
    type Choice: Serialize + DeserializeOwned + Send + Sync;

    /// Those of now.
    fn choice(&self) -> Self::Choice;

    /// What such settings take of it, and what they leave out.
    fn split(known: Self::Known, _: &Self::Choice) -> (Self::Known, Option<Self::Known>) {
        (known, None)
    }

    /// Looks; `None` when there is nothing to be seen now, and what is known stays. What is seen in part only it says to the
    /// context itself.
    ///
    /// # Errors
    /// It is a blind spot, or absent for good.
    fn look(
        &mut self,
        context: &Context,
        before: Option<&Self::Known>,
    ) -> impl Future<Output = Result<Option<Self::Known>, CollectError>> + Send;

    /// What is wrong, where nothing is known before: what distinguishes it from nothing, unless that is well.
    fn first_sight(&self, known: &Self::Known) -> Vec<Finding> {
        self.diff(&Self::Known::default(), known)
    }

    /// What has happened between two looks.
    fn diff(&self, before: &Self::Known, after: &Self::Known) -> Vec<Finding>;

    /// What there is, for the inventory of the collector.
    fn inventory(&self, _: &Self::Known) -> String {
        String::new()
    }

    /// What is known from now on, at the start from the memory.
    fn knows(&mut self, _: &Self::Known) {}

    /// How often it is looked at; `None` for only when it wakes.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Waits for a reason to look before its turn. Dropped when the turn comes: it need keep nothing, for the look that
    /// follows sees what there is.
    ///
    /// # Errors
    /// The way of waking is broken: it is looked at and waited for again in a while.
    fn wake(&mut self, _: &Context) -> impl Future<Output = Result<(), CollectError>> + Send {
        pending()
    }

    /// What to remember and to tell at the end; `agent_ends` is false when the collector alone does.
    fn end(&self, known: Self::Known, _agent_ends: bool) -> (Self::Known, Vec<Finding>) {
        (known, Vec::new())
    }
}

/// A collector at work.
pub(super) struct Driver {
    ground: Ground,
    domains: Vec<Box<dyn Driven>>,
}

impl Driver {
    /// `subject` is what its inventory is called.
    pub(super) fn new(context: Context, subject: &'static str) -> Driver {
        Driver { ground: Ground { context, subject, remembered: Mutex::default() }, domains: Vec::new() }
    }

    /// One more domain. The first look goes by the order in which they are given.
    pub(super) fn with(mut self, domain: impl Domain) -> Driver {
        self.domains.push(Box::new(Slot {
            domain,
            known: None,
            chosen: None,
            stage: Stage::Unseen,
            is_blind: false,
            absent: None,
        }));
        self
    }

    /// Drives them until it is told to end.
    pub(super) async fn run(mut self) -> Result<(), CollectError> {
        let shutdown = self.ground.context.shutdown.clone();
        // Dropped wherever it stands: what was emitted and not yet remembered is found again at the next start.
        tokio::select! {
            () = shutdown.cancelled() => {}
            ended = self.drive() => return ended.map(|never| match never {}),
        }
        for domain in &mut self.domains {
            domain.end(&self.ground).await?;
        }
        Ok(())
    }

    async fn drive(&mut self) -> Result<Infallible, CollectError> {
        let (ground, domains) = (&self.ground, &mut self.domains);
        let memory = ground.context.memory.clone();
        let remembered = tokio::task::spawn_blocking(move || memory.recall()).await;
        *ground.remembered() = remembered.ok().flatten().unwrap_or_default();
        let mut inventory = Vec::new();
        for domain in domains.iter_mut() {
            inventory.push(domain.begin(ground).await?);
        }
        ground.tell_inventory(inventory).await?;
        domains.iter_mut().for_each(|domain| domain.has_told(ground));
        let whys = try_join_all(domains.iter_mut().map(|domain| domain.follow(ground))).await?;
        Err(CollectError::Absent(whys.join("; ")))
    }
}

/// What the domains of a collector share.
struct Ground {
    context: Context,
    subject: &'static str,
    /// By domain.
    remembered: Mutex<BTreeMap<String, Value>>,
}

impl Ground {
    async fn tell_inventory(&self, parts: Vec<String>) -> Result<(), CollectError> {
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let inventory = (!parts.is_empty()).then(|| Finding::inventory(self.subject, self.subject, parts.join("; ")));
        self.context.report(inventory).await
    }

    /// Remembers what has changed since it last did.
    fn remember(&self, domain: &'static str, entry: Value) {
        let mut remembered = self.remembered();
        if remembered.get(domain) != Some(&entry) {
            remembered.insert(domain.to_owned(), entry);
            self.context.memory.remember(&*remembered);
        }
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        lock(&self.remembered)
    }
}

/// A domain, whatever is known of it.
trait Driven: Send {
    /// The first look; gives what there is when that is to be told.
    fn begin<'a>(&'a mut self, ground: &'a Ground) -> BoxFuture<'a, Result<String, CollectError>>;

    /// The inventory has been told.
    fn has_told(&mut self, ground: &Ground);

    /// Looks until it is absent, and says why it is.
    fn follow<'a>(&'a mut self, ground: &'a Ground) -> BoxFuture<'a, Result<String, CollectError>>;

    /// The last word, after the last look.
    fn end<'a>(&'a mut self, ground: &'a Ground) -> BoxFuture<'a, Result<(), CollectError>>;
}

/// A domain and what is known of it.
struct Slot<D: Domain> {
    domain: D,
    known: Option<D::Known>,
    /// By which it was chosen what is known from the memory, until the first look.
    chosen: Option<D::Choice>,
    stage: Stage,
    /// Whether the last look failed.
    is_blind: bool,
    /// Why it is, once it is.
    absent: Option<String>,
}

/// How far this run is with a domain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What is known is that of the memory.
    Unseen,
    /// What is wrong has been told, and the inventory not.
    Seen,
    /// All that is known has been told.
    Told,
}

#[derive(Serialize, Deserialize)]
struct Entry<Known, Choice> {
    known: Known,
    chosen: Choice,
}

impl<D: Domain> Slot<D> {
    fn recall(&mut self, ground: &Ground) {
        let entry = ground.remembered().get(D::NAME).map(Entry::<D::Known, D::Choice>::deserialize);
        match entry {
            None => {}
            Some(Ok(Entry { known, chosen })) => {
                let (known, _) = D::split(known, &self.domain.choice());
                self.domain.knows(&known);
                (self.known, self.chosen) = (Some(known), Some(chosen));
            }
            Some(Err(error)) => {
                tracing::warn!(domain = D::NAME, %error, "what was remembered is not understood; it is looked at anew");
            }
        }
    }

    async fn look(&mut self, context: &Context) -> Result<Option<D::Known>, CollectError> {
        match self.domain.look(context, self.known.as_ref()).await {
            Err(error @ CollectError::Failed { .. }) => {
                self.is_blind = true;
                let why = ErrorChain(&error).to_string();
                context.is_blind(D::NAME, &why).await?;
                Ok(None)
            }
            Err(CollectError::Absent(why)) => {
                tracing::debug!(domain = D::NAME, why, "nothing of it on this machine");
                self.absent = Some(why);
                Ok(None)
            }
            looked => {
                self.is_blind = false;
                looked
            }
        }
    }

    async fn turn(&mut self, ground: &Ground) -> Result<String, CollectError> {
        let Some(after) = self.look(&ground.context).await? else { return Ok(String::new()) };
        ground.context.sees(D::NAME).await?;
        let mut findings = compare(&self.domain, self.known.as_ref(), self.chosen.as_ref(), &after);
        if ground.context.asserts && self.stage == Stage::Unseen && self.known.is_some() {
            // What is no more than news, as that the agent has started, does not stand.
            let standing = self.domain.first_sight(&after).into_iter().filter(|it| it.level > Level::Info);
            let standing = standing.filter(|standing| !findings.contains(standing));
            let standing: Vec<_> = standing.map(Finding::asserted).collect();
            findings.extend(standing);
        }
        ground.context.report(findings).await?;
        let is_news = self.known.as_ref() != Some(&after);
        let inventory = if self.known.is_none() { self.domain.inventory(&after) } else { String::new() };
        self.stage = if inventory.is_empty() { Stage::Told } else { Stage::Seen };
        if is_news {
            self.domain.knows(&after);
        }
        self.known = Some(after);
        if self.chosen.take().is_some() || is_news {
            self.remember(ground);
        }
        Ok(inventory)
    }

    /// Nothing of which not everything has been told: the next run could not know that.
    fn remember(&self, ground: &Ground) {
        let Some(known) = self.known.as_ref().filter(|_| self.stage == Stage::Told) else { return };
        match serde_json::to_value(Entry { known, chosen: self.domain.choice() }) {
            Ok(entry) => ground.remember(D::NAME, entry),
            Err(error) => tracing::error!(domain = D::NAME, %error, "what is known of it has no JSON form"),
        }
    }
}

impl<D: Domain> Driven for Slot<D> {
    fn begin<'a>(&'a mut self, ground: &'a Ground) -> BoxFuture<'a, Result<String, CollectError>> {
        self.recall(ground);
        Box::pin(self.turn(ground))
    }

    fn has_told(&mut self, ground: &Ground) {
        if self.stage == Stage::Seen {
            self.stage = Stage::Told;
            self.remember(ground);
        }
    }

    fn follow<'a>(&'a mut self, ground: &'a Ground) -> BoxFuture<'a, Result<String, CollectError>> {
        Box::pin(async move {
            let mut turns = turns(self.domain.interval().unwrap_or(NEVER));
            loop {
                if let Some(why) = self.absent.take() {
                    return Ok(why);
                }
                if self.is_blind {
                    turns.reset_after(RETRY.min(turns.period()));
                }
                tokio::select! {
                    _ = turns.tick() => {}
                    woken = self.domain.wake(&ground.context) => if is_broken::<D>(woken) {
                        sleep(RETRY).await;
                    }
                }
                let inventory = self.turn(ground).await?;
                ground.tell_inventory(vec![inventory]).await?;
                self.has_told(ground);
            }
        })
    }

    fn end<'a>(&'a mut self, ground: &'a Ground) -> BoxFuture<'a, Result<(), CollectError>> {
        Box::pin(async move {
            // What has not been told of this run yet has no end either.
            let Some(known) = self.known.take().filter(|_| self.stage == Stage::Told) else { return Ok(()) };
            let (known, farewell) = self.domain.end(known, ground.context.agent_stops.is_cancelled());
            ground.context.report(farewell).await?;
            self.known = Some(known);
            self.remember(ground);
            Ok(())
        })
    }
}

/// What a look comes to. `chosen` are the settings of what was known before, where they may be others: what they left out
/// may have been there all along, and only what is wrong with it is told.
pub(super) fn compare<D: Domain>(
    domain: &D,
    before: Option<&D::Known>,
    chosen: Option<&D::Choice>,
    after: &D::Known,
) -> Vec<Finding> {
    let Some(before) = before else { return domain.first_sight(after) };
    let Some(chosen) = chosen else { return domain.diff(before, after) };
    let (taken, left_out) = D::split(after.clone(), chosen);
    let mut findings = domain.diff(before, &taken);
    findings.extend(left_out.iter().flat_map(|left_out| domain.first_sight(left_out)));
    findings
}

fn is_broken<D: Domain>(woken: Result<(), CollectError>) -> bool {
    let error = woken.err();
    if let Some(error) = &error {
        tracing::warn!(domain = D::NAME, error = %ErrorChain(error), "nothing tells when it changes");
    }
    error.is_some()
}

/// The first one after a whole period, for the first look is taken at the start.
pub(super) fn turns(period: Duration) -> Interval {
    let mut turns = interval(period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns.reset();
    turns
}
