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
    domains: Vec<Slot>,
}

impl Driver {
    /// `subject` is what its inventory is called.
    pub(super) fn new(context: Context, subject: &'static str) -> Driver {
        Driver { ground: Ground { context, subject, remembered: Mutex::default() }, domains: Vec::new() }
    }

    /// One more domain. The first look goes by the order in which they are given.
    pub(super) fn with(mut self, domain: impl Domain) -> Driver {
        let watched = Box::new(Watch { domain, known: None, chosen: None, seen: None });
        self.domains.push(Slot { watched, stage: Stage::Unseen, is_blind: false, absent: None });
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

/// A domain, whatever is known of it: what each domain has of its own, and no more, for there are many.
trait Watched: Send {
    fn name(&self) -> &'static str;

    fn interval(&self) -> Option<Duration>;

    /// Takes up what is remembered.
    ///
    /// # Errors
    /// It is not understood.
    fn recall(&mut self, entry: &Value) -> Result<(), serde_json::Error>;

    /// Looks, and keeps what was seen; gives whether something was.
    fn look<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Result<bool, CollectError>>;

    /// What was seen, beside what is known. Where it `asserts`, what was wrong before and still is, too.
    fn compare(&self, asserts: bool) -> Vec<Finding>;

    /// What was seen is known from now on.
    fn accept(&mut self) -> Accepted;

    fn wake<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Result<(), CollectError>>;

    /// What to remember; nothing where nothing is known.
    fn entry(&self) -> Option<serde_json::Result<Value>>;

    /// The last word; nothing where nothing is known.
    fn end(&mut self, agent_ends: bool) -> Option<Vec<Finding>>;
}

/// What follows from what was seen.
struct Accepted {
    /// It is to be remembered.
    is_news: bool,
    /// What there is, where nothing was known before.
    inventory: String,
}

/// A domain and what is known of it.
struct Watch<D: Domain> {
    domain: D,
    known: Option<D::Known>,
    /// By which it was chosen what is known from the memory, until the first look.
    chosen: Option<D::Choice>,
    /// By the look that nothing was made of yet.
    seen: Option<D::Known>,
}

/// A domain, and how this run is with it.
struct Slot {
    watched: Box<dyn Watched>,
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

impl<D: Domain> Watched for Watch<D> {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn interval(&self) -> Option<Duration> {
        self.domain.interval()
    }

    fn recall(&mut self, entry: &Value) -> Result<(), serde_json::Error> {
        let Entry { known, chosen } = Entry::<D::Known, D::Choice>::deserialize(entry)?;
        let (known, _) = D::split(known, &self.domain.choice());
        self.domain.knows(&known);
        (self.known, self.chosen) = (Some(known), Some(chosen));
        Ok(())
    }

    fn look<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Result<bool, CollectError>> {
        self.seen = None;
        Box::pin(async move {
            self.seen = self.domain.look(context, self.known.as_ref()).await?;
            Ok(self.seen.is_some())
        })
    }

    fn compare(&self, asserts: bool) -> Vec<Finding> {
        let Some(after) = &self.seen else { return Vec::new() };
        let mut findings = compare(&self.domain, self.known.as_ref(), self.chosen.as_ref(), after);
        if asserts && self.known.is_some() {
            add_standing(&mut findings, self.domain.first_sight(after));
        }
        findings
    }

    fn accept(&mut self) -> Accepted {
        let Some(after) = self.seen.take() else { return Accepted { is_news: false, inventory: String::new() } };
        let is_other = self.known.as_ref() != Some(&after);
        let inventory = if self.known.is_none() { self.domain.inventory(&after) } else { String::new() };
        if is_other {
            self.domain.knows(&after);
        }
        self.known = Some(after);
        Accepted { is_news: self.chosen.take().is_some() || is_other, inventory }
    }

    fn wake<'a>(&'a mut self, context: &'a Context) -> BoxFuture<'a, Result<(), CollectError>> {
        Box::pin(self.domain.wake(context))
    }

    fn entry(&self) -> Option<serde_json::Result<Value>> {
        let known = self.known.as_ref()?;
        Some(serde_json::to_value(Entry { known, chosen: self.domain.choice() }))
    }

    fn end(&mut self, agent_ends: bool) -> Option<Vec<Finding>> {
        let (known, farewell) = self.domain.end(self.known.take()?, agent_ends);
        self.known = Some(known);
        Some(farewell)
    }
}

/// What stands is told once more. What is no more than news, as that the agent has started, does not stand.
fn add_standing(findings: &mut Vec<Finding>, at_first_sight: Vec<Finding>) {
    let standing = at_first_sight.into_iter().filter(|it| it.level > Level::Info && !findings.contains(it));
    let standing: Vec<_> = standing.map(Finding::asserted).collect();
    findings.extend(standing);
}

impl Slot {
    /// The first look; gives what there is when that is to be told.
    async fn begin(&mut self, ground: &Ground) -> Result<String, CollectError> {
        let domain = self.watched.name();
        let recalled = ground.remembered().get(domain).map_or(Ok(()), |entry| self.watched.recall(entry));
        if let Err(error) = recalled {
            tracing::warn!(domain, %error, "what was remembered is not understood; it is looked at anew");
        }
        self.turn(ground).await
    }

    /// Gives whether something was seen.
    async fn look(&mut self, context: &Context) -> Result<bool, CollectError> {
        let domain = self.watched.name();
        match self.watched.look(context).await {
            Err(error @ CollectError::Failed { .. }) => {
                self.is_blind = true;
                let why = ErrorChain(&error).to_string();
                context.is_blind(domain, &why).await?;
                Ok(false)
            }
            Err(CollectError::Absent(why)) => {
                tracing::debug!(domain, why, "nothing of it on this machine");
                self.absent = Some(why);
                Ok(false)
            }
            looked => {
                self.is_blind = false;
                looked
            }
        }
    }

    async fn turn(&mut self, ground: &Ground) -> Result<String, CollectError> {
        if !self.look(&ground.context).await? {
            return Ok(String::new());
        }
        ground.context.sees(self.watched.name()).await?;
        let findings = self.watched.compare(ground.context.asserts && self.stage == Stage::Unseen);
        ground.context.report(findings).await?;
        let Accepted { is_news, inventory } = self.watched.accept();
        self.stage = if inventory.is_empty() { Stage::Told } else { Stage::Seen };
        if is_news {
            self.remember(ground);
        }
        Ok(inventory)
    }

    /// Nothing of which not everything has been told: the next run could not know that.
    fn remember(&self, ground: &Ground) {
        let domain = self.watched.name();
        match self.watched.entry().filter(|_| self.stage == Stage::Told) {
            None => {}
            Some(Ok(entry)) => ground.remember(domain, entry),
            Some(Err(error)) => tracing::error!(domain, %error, "what is known of it has no JSON form"),
        }
    }

    /// The inventory has been told.
    fn has_told(&mut self, ground: &Ground) {
        if self.stage == Stage::Seen {
            self.stage = Stage::Told;
            self.remember(ground);
        }
    }

    /// Looks until it is absent, and says why it is.
    async fn follow(&mut self, ground: &Ground) -> Result<String, CollectError> {
        let mut turns = turns(self.watched.interval().unwrap_or(NEVER));
        loop {
            if let Some(why) = self.absent.take() {
                return Ok(why);
            }
            if self.is_blind {
                turns.reset_after(RETRY.min(turns.period()));
            }
            let domain = self.watched.name();
            tokio::select! {
                _ = turns.tick() => {}
                woken = self.watched.wake(&ground.context) => if let Err(error) = woken {
                    tracing::warn!(domain, error = %ErrorChain(&error), "nothing tells when it changes");
                    sleep(RETRY).await;
                }
            }
            let inventory = self.turn(ground).await?;
            ground.tell_inventory(vec![inventory]).await?;
            self.has_told(ground);
        }
    }

    /// The last word, after the last look. What has not been told of this run yet has no end either.
    async fn end(&mut self, ground: &Ground) -> Result<(), CollectError> {
        if self.stage != Stage::Told {
            return Ok(());
        }
        let Some(farewell) = self.watched.end(ground.context.agent_stops.is_cancelled()) else { return Ok(()) };
        ground.context.report(farewell).await?;
        self.remember(ground);
        Ok(())
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

/// The first one after a whole period, for the first look is taken at the start.
pub(super) fn turns(period: Duration) -> Interval {
    let mut turns = interval(period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns.reset();
    turns
}
