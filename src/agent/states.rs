//! Keeps the states of the machine's things: folds what the log holds and what comes, writes the checkpoint beside the log, and
//! says of what it does not know that it does not.
//!
//! Given the log; gives [`States`] to whoever shows them. Reads both lanes as any reader does, the older event first, past frames
//! that hold nothing that tells of a state, and waits where there is nothing: no turn without an event, but for one that writes
//! what has changed. What is urgent is folded at once; what is not, when somebody asks, and a moment later otherwise, so that a
//! stream of it does not wake this with every commit. Always holds: an event is folded once; a checkpoint that is damaged, or of
//! another log, another numbering or other meanings is not gone on with: what the log still has is folded anew, and the rest is
//! shown as what it was. A fault in the fold of one event costs that event only.

mod follower;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use self::follower::{Follower, Step};
use crate::{
    event::{EventView, Head},
    event_log::{EventLog, Lane, Read, Sieve},
    health::{Conditions, Fault},
    lock::lock,
    schema::local::{StateLevel, SubjectState},
    state::{Checkpoint, Fold, LaneAt, OTHERS_MAX, SUBJECTS_MAX, StatesWatch},
    telemetry::{ErrorChain, message},
    words::{counted, grouped},
};

/// The file beside the log.
const FILE: &str = "states";

/// What a collector says that looks for the first time.
const INVENTORY: &str = "system.host.inventory";

/// From a change to the checkpoint that has it.
const WRITE_AFTER: Duration = Duration::from_secs(60);

/// So long after a start every collector has looked.
const ASSERTED_AFTER: Duration = Duration::from_secs(60);

/// So many events are folded anew by a start at the most, and so many passed over anew, unless the agent is killed.
const WRITE_EVENTS: u64 = 50_000;
const WRITE_PASSED: u64 = 2_000_000;

/// As much of a lane is read at a time, events and bytes.
const READ_MAX: (usize, usize) = (512, 256 * 1024);

/// From so many events on that are yet to be folded, nobody is to believe that all is well.
const BEHIND_MAX: u64 = 50_000;

/// Who emits much leaves so many behind for a moment, again and again: that is told only when it lasts so long.
const BEHIND_AFTER: Duration = Duration::from_secs(3);

/// So long somebody who asks waits until everything is folded; then he is told how much is not.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(1);

/// Until a log that could not be read is tried again.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// What is known of the things of this machine. Cheap to copy.
#[derive(Clone)]
pub(super) struct States {
    shared: Arc<Shared>,
}

struct Shared {
    log: EventLog,
    path: PathBuf,
    conditions: Conditions,
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    fold: Mutex<Fold>,
    /// Where this run began to write, by lane.
    begins_at: [u64; 2],
    /// Collectors that knew nothing of before when they looked in this run: what was wrong is told anew, and nothing is ended.
    looked_anew: Mutex<BTreeSet<String>>,
    needs_assertion: bool,
    /// Unix milliseconds.
    started_at: i64,
    /// Something was folded.
    turned: Notify,
    /// Somebody waits for that.
    asked: Notify,
    /// Frames that hold something that is to be looked at.
    sieve: Sieve,
}

impl States {
    /// Goes on with the checkpoint, or anew. Blocking: reads a file and an event of each lane.
    pub(super) fn open(
        log: &EventLog,
        state_directory: &Path,
        conditions: Conditions,
        now: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> States {
        let path = state_directory.join(FILE);
        let started_at = now();
        let fold = begin(log, &path, started_at);
        let has_gone_on = |lane: &Lane| log.bounds(*lane).0 <= fold.next_sequence(*lane);
        let needs_assertion = fold.needs_assertion() || !Lane::ALL.iter().all(has_gone_on);
        let shared = Shared {
            log: log.clone(),
            path,
            conditions,
            now,
            fold: Mutex::new(fold),
            begins_at: Lane::ALL.map(|lane| log.next_sequence(lane)),
            looked_anew: Mutex::default(),
            needs_assertion,
            started_at,
            turned: Notify::new(),
            asked: Notify::new(),
            sieve: follower::sieve(),
        };
        States { shared: Arc::new(shared) }
    }

    /// Whether the collectors are to say at their first look what is wrong, also where they have told of it before: events
    /// were lost, or removed before they were folded.
    pub(super) fn needs_assertion(&self) -> bool {
        self.shared.needs_assertion
    }

    /// Looks at what is known.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&lock(&self.shared.fold))
    }

    /// What things are told to be wrong in this state, and how badly; none before the log is folded to its end.
    pub(super) fn wrong(&self, state: &str) -> Option<Vec<(String, StateLevel)>> {
        let wrong = |its: &&SubjectState| its.state == state && its.level() != StateLevel::Ok;
        let named = |its: &SubjectState| (its.subject.clone(), its.level());
        (self.behind() == 0)
            .then(|| self.with(|fold| fold.worst_first().into_iter().filter(wrong).map(named).collect()))
    }

    /// Events of the log that are yet to be folded.
    pub(super) fn behind(&self) -> u64 {
        let folded = self.with(|fold| Lane::ALL.map(|lane| fold.next_sequence(lane)));
        Lane::ALL.iter().zip(folded).map(|(lane, next)| self.shared.log.bounds(*lane).1.saturating_sub(next)).sum()
    }

    /// Waits until the events before these sequences are folded. Cancel safe.
    pub(super) async fn folded(&self, next: [u64; 2]) {
        let is_folded =
            || self.with(|fold| Lane::ALL.into_iter().zip(next).all(|(lane, next)| fold.next_sequence(lane) >= next));
        let mut has_asked = false;
        loop {
            let mut turned = std::pin::pin!(self.shared.turned.notified());
            turned.as_mut().enable();
            if is_folded() {
                return;
            }
            if !std::mem::replace(&mut has_asked, true) {
                self.shared.asked.notify_one();
            }
            turned.await;
        }
    }

    /// Waits until what can be read now is folded, but not for long.
    pub(super) async fn settle(&self) {
        let next = Lane::ALL.map(|lane| self.shared.log.bounds(lane).1);
        // Err: there is more than that time is enough for, or the log cannot be read. Both are said beside the states.
        let _ = tokio::time::timeout(SETTLE_TIME_MAX, self.folded(next)).await;
    }

    /// Whether a state of which this collector told last, at this place of the log, was not seen again though the collector
    /// knew nothing of it.
    pub(super) fn is_unseen(&self, source: &str, lane: &str, sequence: u64) -> bool {
        let began =
            Lane::ALL.into_iter().find(|its| its.name() == lane).map(|lane| self.shared.begins_at[lane.index()]);
        began.is_some_and(|began| sequence < began) && lock(&self.shared.looked_anew).contains(source)
    }

    /// Folds until `shutdown`, then what is there yet; and writes it.
    pub(super) async fn keep(self, shutdown: CancellationToken) {
        let mut follower = Follower::new(&self);
        let mut unwritten = Unwritten::default();
        let mut assertion = self.shared.needs_assertion.then(|| Instant::now() + ASSERTED_AFTER);
        let mut is_unread = false;
        let mut behind_since = None;
        loop {
            let stepped = follower.step(&self).await;
            let Some((back, step)) = stepped else { return };
            follower = back;
            unwritten.add(&step);
            self.shared.turned.notify_waiters();
            match step.trouble {
                None => {
                    if std::mem::take(&mut is_unread) {
                        self.shared.conditions.clear(message::STATES_FAIL);
                    }
                    behind_since = behind_since.filter(|_| step.is_full).or_else(|| step.is_full.then(Instant::now));
                    self.judge(behind_since);
                    if unwritten.is_much() {
                        self.write(&mut unwritten).await;
                    }
                    if step.is_full {
                        continue;
                    }
                }
                Some(error) => {
                    let text = format!("what is wrong with the machine is not followed: {}", ErrorChain(&error));
                    self.shared.conditions.set(message::STATES_FAIL, Fault::warning(text));
                    is_unread = true;
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(LOG_PAUSE) => continue,
                    }
                }
            }
            if shutdown.is_cancelled() {
                break;
            }
            let due = unwritten.since.map(|since| since + WRITE_AFTER);
            tokio::select! {
                () = follower.ready(&self.shared.asked) => {}
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep_until(assertion.unwrap_or_else(Instant::now)), if assertion.is_some() => {
                    assertion = None;
                    lock(&self.shared.fold).asserted(self.shared.started_at);
                    unwritten.since.get_or_insert_with(Instant::now);
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.write(&mut unwritten).await;
                }
            }
        }
        if unwritten.is_some() {
            self.write(&mut unwritten).await;
        }
    }

    async fn write(&self, unwritten: &mut Unwritten) {
        let shared = Arc::clone(&self.shared);
        let written = tokio::task::spawn_blocking(move || {
            let now = (shared.now)();
            // The file is encoded from a copy, so that nobody who asks waits for the disk.
            let mut fold = lock(&shared.fold).clone();
            for lane in Lane::ALL {
                let event_id = event_id(&shared.log, lane, fold.next_sequence(lane).saturating_sub(1));
                fold.note_last_event_id(lane, event_id.unwrap_or_default());
            }
            Checkpoint::write(&shared.path, fold, now)
        });
        let trouble = match written.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("the states cannot be written to {}: {error}", self.shared.path.display())),
            Err(_) => Some("the states cannot be written: a fault of the agent".to_owned()),
        };
        *unwritten = match trouble {
            None => Unwritten::default(),
            // Tried again in a while.
            Some(_) => Unwritten { since: Some(Instant::now()), ..Unwritten::default() },
        };
        self.shared.conditions.put(message::STATES_FAIL, trouble.map(Fault::warning));
    }

    /// Whether a collector has told what there is, as it does when it remembers nothing.
    fn note_look(&self, at: LaneAt, head: &Head, event: &[u8]) {
        let is_inventory = || head.kind().is_some_and(|kind| kind.as_str() == INVENTORY);
        if at.sequence >= self.shared.begins_at[at.lane.index()]
            && is_inventory()
            && let Ok(view) = EventView::decode(event)
        {
            lock(&self.shared.looked_anew).insert(view.source().to_owned());
        }
    }

    /// `behind_since`: since when there has been more than one step could fold.
    fn judge(&self, behind_since: Option<Instant>) {
        let behind = behind_since.filter(|since| since.elapsed() >= BEHIND_AFTER).map(|_| self.behind());
        if behind_since.is_none() || behind.is_some_and(|behind| behind > BEHIND_MAX) {
            let text = |behind| {
                format!("what is wrong with the machine is not known yet: {} events are to be folded", grouped(behind))
            };
            self.shared.conditions.put(message::STATES_BEHIND, behind.map(text).map(Fault::warning));
        }
        let left_out = self.with(|fold| if fold.is_full() { fold.left_out() } else { 0 });
        let full = (left_out > 0).then(|| {
            Fault::warning(format!(
                "there is no room for {} that went wrong: {SUBJECTS_MAX} are kept, and of what other programs tell \
                 {OTHERS_MAX}",
                counted(left_out, "state")
            ))
        });
        self.shared.conditions.put(message::STATES_FULL, full);
    }
}

impl StatesWatch for States {
    fn look(&self, with: &mut dyn FnMut(&Fold)) {
        self.with(with);
    }

    fn await_folded(&self, next: [u64; 2]) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.folded(next))
    }
}

/// What is not in the checkpoint yet.
#[derive(Default)]
struct Unwritten {
    events: u64,
    passed: u64,
    /// Since when a state is otherwise.
    since: Option<Instant>,
}

impl Unwritten {
    fn add(&mut self, step: &Step) {
        self.events += step.events;
        self.passed += step.passed;
        if step.is_news {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    fn is_some(&self) -> bool {
        self.events > 0 || self.passed > 0 || self.since.is_some()
    }

    fn is_much(&self) -> bool {
        self.events >= WRITE_EVENTS || self.passed >= WRITE_PASSED
    }
}

/// Identifier of an event of the log; `None` when it is not there.
fn event_id(log: &EventLog, lane: Lane, sequence: u64) -> Option<String> {
    let Ok(Read::Run(run)) = log.reader(lane, sequence).read(1, READ_MAX.1) else { return None };
    if run.first_sequence != sequence {
        return None;
    }
    run.events().find_map(|event| Head::read(&event.event).ok()).map(|head| head.id)
}

/// What a start begins with.
fn begin(log: &EventLog, path: &Path, now: i64) -> Fold {
    let anew = || Fold::new(Lane::ALL.map(|lane| log.bounds(lane).0));
    let (why, before) = match Checkpoint::read(path) {
        Ok(None) => return anew(),
        Ok(Some(Checkpoint { fold, is_current: true, written_at })) => match other_log(log, &fold) {
            None => return fold,
            Some(why) => (why, Some((fold, written_at))),
        },
        Ok(Some(Checkpoint { fold, written_at, .. })) => {
            ("another version of Rodent folded them otherwise".to_owned(), Some((fold, written_at)))
        }
        Err(damage) => (format!("their file is of no use: {}", ErrorChain(&damage)), None),
    };
    tracing::warn!(message_id = %message::STATES_REBUILT, path = %path.display(), why, "the states are folded anew");
    let fold = anew().rebuilt(why, now);
    match before {
        Some((before, written_at)) => fold.carrying(before, written_at),
        None => fold,
    }
}

/// Why what was folded is not the beginning of this log, if so.
fn other_log(log: &EventLog, fold: &Fold) -> Option<String> {
    Lane::ALL.into_iter().find_map(|lane| {
        let ((first, end), next) = (log.bounds(lane), fold.next_sequence(lane));
        let (last, name) = (next.saturating_sub(1), lane.name());
        if next > end {
            return Some(format!("the log has lost the end of its {name} lane, or is another one"));
        }
        let known = fold.last_event_id(lane);
        if last < first || known.is_empty() {
            return None;
        }
        let found = event_id(log, lane, last)?;
        (found != known).then(|| format!("event {last} of the log's {name} lane is another one"))
    })
}
