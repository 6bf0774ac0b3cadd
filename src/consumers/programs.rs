//! Consumers that are programs': who may attach, who is attached, how long nobody has been, and how each is doing.
//!
//! The local socket attaches and gives; the agent looks from time to time who stays away. Always holds: of one consumer one
//! program is attached at the most, that of its owner, of root or of the agent's own user; a name never is one of the agent's
//! own consumers, for its cursor is called [`PROGRAM_PREFIX`] and the name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::effort::{Effort, Stopwatch};
pub use super::uncommitted::Uncommitted;
use crate::{
    event_log::{Cursor, EventLog, Lane, Ownership},
    health::{Conditions, Fault, Registry},
    lock::lock,
    order::{Gather as _, Sorted as _},
    schema::local::{
        ConsumerLaneStatus, ConsumerStatus, PROGRAM_PREFIX, ProgramStatus, consumer_status::State, own_name,
    },
    telemetry::message,
    words::{human_duration, is_name},
};

/// What their status calls their sink.
pub const TYPE: &str = "program";

/// Consumers of programs, and of one user who is neither root nor the agent's own.
pub const PROGRAMS_MAX: usize = 64;
/// See [`PROGRAMS_MAX`].
pub const PROGRAMS_OF_USER_MAX: usize = 16;

/// The longest name, bytes.
const NAME_BYTES_MAX: usize = 48;

/// How old the note may be that a program is attached: after a crash it has been away so much longer.
const NOTE_AGE_MAX: Duration = Duration::from_secs(86_400);

/// After its start the agent gives programs this long to come back, at the most, whatever the notes say.
const RETURN_TIME: Duration = Duration::from_secs(3600);

/// Of so many runs of events it is remembered how often they were given; those behind them count as new.
const LEFT_MAX: usize = 1_000;

/// Why a program cannot have a consumer.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The name is none.
    #[error("`{0}` is no name of a consumer: 1 to {NAME_BYTES_MAX} of the characters a to z, 0 to 9, `-` and `_`")]
    Name(String),
    /// There is none of this name.
    #[error("there is no consumer `{0}` of a program; `rodent consumers list` shows those that there are")]
    Absent(String),
    /// It is another user's.
    #[error("the consumer `{name}` belongs to user {owner}: only that user, root and the agent's own may have it")]
    NotYours {
        /// The consumer.
        name: String,
        /// Whose it is.
        owner: u32,
    },
    /// Another program has it.
    #[error("another program is attached to the consumer `{0}`: stop it, or take over from it with `steal`")]
    Taken(String),
    /// No more consumers are taken.
    #[error(
        "there are {PROGRAMS_MAX} consumers of programs, or {PROGRAMS_OF_USER_MAX} of this user, and no more are taken: \
         remove one with `rodent consumers remove`"
    )]
    TooMany,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// As the kernel says.
    pub uid: u32,
    /// Root, or the agent's own user.
    pub is_trusted: bool,
}

impl Caller {
    fn may_have(self, program: Ownership) -> bool {
        self.is_trusted || self.uid == program.owner
    }
}

/// How long a program may stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Until somebody is told.
    pub warn_after: Duration,
    /// Until nothing is kept for the consumer any more; none for never.
    pub release_after: Option<Duration>,
}

/// What [`Programs::look`] has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// Nobody came for so long.
    Missing,
    /// Nothing is kept for it any more.
    Released,
    /// It came again, or is not there any more.
    Back,
}

/// The consumers of programs. Cheap to copy.
#[derive(Clone)]
pub struct Programs {
    log: EventLog,
    registry: Registry,
    /// Unix milliseconds.
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// By cursor.
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
    /// The log's age when the agent started, milliseconds.
    started: u64,
}

struct Entry {
    status: ConsumerStatus,
    /// Of who is attached: cancelled when another takes over.
    seat: Option<CancellationToken>,
    /// What was told of it last.
    told: Option<Attendance>,
    /// By lane.
    left: [Vec<Uncommitted>; 2],
    stopwatch: Stopwatch,
}

/// A program that is attached, until it is dropped.
pub struct Attachment {
    programs: Programs,
    name: String,
    ousted: CancellationToken,
    pub cursor: Cursor,
    /// Whether it is new.
    pub is_new: bool,
    /// Whether nothing was kept for it any more.
    pub was_released: bool,
    left: [Vec<Uncommitted>; 2],
}

/// The name of a consumer's cursor, by its own name or that.
///
/// # Errors
/// When it is no name.
pub fn cursor_name(name: &str) -> Result<String, AttachError> {
    let own = own_name(name);
    match is_name(own, NAME_BYTES_MAX) {
        true => Ok(format!("{PROGRAM_PREFIX}{own}")),
        false => Err(AttachError::Name(name.chars().take(2 * NAME_BYTES_MAX).collect())),
    }
}

impl Programs {
    /// Of this log.
    pub fn new(log: EventLog, registry: Registry, now: Arc<dyn Fn() -> i64 + Send + Sync>) -> Programs {
        let started = log.age();
        Programs { log, registry, now, entries: Arc::default(), started }
    }

    /// Whether there is a consumer of this name that the caller may have.
    ///
    /// # Errors
    /// When it is another user's, or the name is none.
    pub fn is_there(&self, name: &str, caller: Caller) -> Result<bool, AttachError> {
        match self.log.program(&cursor_name(name)?) {
            Some(program) if caller.may_have(program) => Ok(true),
            Some(Ownership { owner, .. }) => Err(AttachError::NotYours { name: name.to_owned(), owner }),
            None => Ok(false),
        }
    }

    /// Whether a program is attached to the consumer of this name.
    pub fn is_attached(&self, name: &str) -> bool {
        cursor_name(name).is_ok_and(|name| self.lock().get(&name).is_some_and(|entry| entry.seat.is_some()))
    }

    /// Takes up what was told of a consumer, which may be gone since, before this run. What this run has told counts.
    pub fn recall(&self, name: &str, told: Attendance) {
        if let Ok(name) = cursor_name(name) {
            self.lock().entry(name.clone()).or_insert_with(|| Entry::new(&name)).told.get_or_insert(told);
        }
    }

    /// Attaches a program. A new consumer begins at `first`. With `steal` a program that is attached is ousted.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(&self, name: &str, caller: Caller, first: [u64; 2], steal: bool) -> Result<Attachment, AttachError> {
        let cursor_name = cursor_name(name)?;
        let mut entries = self.lock();
        let is_new = !self.is_there(name, caller)?;
        if is_new {
            let all = self.log.programs();
            let of_user = all.iter().filter(|(_, program)| program.owner == caller.uid).count();
            if all.len() >= PROGRAMS_MAX || (!caller.is_trusted && of_user >= PROGRAMS_OF_USER_MAX) {
                return Err(AttachError::TooMany);
            }
        }
        let entry = entries.entry(cursor_name.clone()).or_insert_with(|| Entry::new(&cursor_name));
        if entry.seat.is_some() && !steal {
            return Err(AttachError::Taken(name.to_owned()));
        }
        let (now, seen) = ((self.now)(), self.log.age());
        let program = Ownership { owner: caller.uid, created_at: now, seen, is_released: false };
        let cursor = self.log.program_cursor(&cursor_name, program, first).ok_or(AttachError::TooMany)?;
        let before = self.log.program(&cursor_name).unwrap_or(program);
        self.log.set_program(&cursor_name, Ownership { seen, is_released: false, ..before });
        let ousted = CancellationToken::new();
        if let Some(before) = entry.seat.replace(ousted.clone()) {
            before.cancel();
        }
        entry.enter(State::Connected, now);
        if before.is_released {
            entry.told = Some(Attendance::Released);
        }
        let left = std::mem::take(&mut entry.left);
        let left = if is_new { Default::default() } else { left };
        let (programs, was_released) = (self.clone(), before.is_released);
        Ok(Attachment { programs, name: cursor_name, ousted, cursor, is_new, was_released, left })
    }

    /// How each is, by name.
    pub fn status(&self) -> Vec<ConsumerStatus> {
        let (entries, age) = (self.lock(), self.log.age());
        let of = |(name, program): (String, Ownership)| {
            let entry = entries.get(&name);
            let status = entry.map_or_else(|| Entry::new(&name).status, |entry| entry.status.clone());
            let is_attached = entry.is_some_and(|entry| entry.seat.is_some());
            let away = if is_attached { 0 } else { age.saturating_sub(program.seen).max(1) };
            let uncommitted_events = status.program.as_ref().map_or(0, |program| program.uncommitted_events);
            ConsumerStatus {
                target: format!("user {}", program.owner),
                program: Some(ProgramStatus {
                    owner_uid: program.owner,
                    created_at: program.created_at,
                    unattached_milliseconds: away,
                    released: program.is_released,
                    uncommitted_events,
                }),
                ..status
            }
        };
        let mut all: Vec<_> = self.log.programs().into_iter().map(of).collect();
        all.order_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// What each costs, by name.
    pub fn efforts(&self) -> Vec<(String, Arc<Effort>)> {
        let entries = self.lock();
        entries.iter().map(|(name, entry)| (name.clone(), Arc::clone(&entry.stopwatch.effort))).collect()
    }

    /// Looks who has not come for long, and releases who has stayed away for too long. Gives what is news, by cursor.
    pub fn look(&self, absence: Absence) -> Vec<(String, Attendance)> {
        let (mut entries, age) = (self.lock(), self.log.age());
        let since_start = Duration::from_millis(age.saturating_sub(self.started));
        let programs: BTreeMap<_, _> = self.log.programs().into_iter().gather();
        let mut news = Vec::new();
        for (name, program) in &programs {
            let entry = entries.entry(name.clone()).or_insert_with(|| Entry::new(name));
            let away = Duration::from_millis(age.saturating_sub(program.seen));
            let conditions = self.registry.part(name);
            if entry.seat.is_some() {
                if away > NOTE_AGE_MAX.min(absence.warn_after / 2) {
                    self.log.set_program(name, Ownership { seen: age, ..*program });
                }
                conditions.clear(message::CONSUMER_MISSING);
                if entry.told.take().is_some() {
                    news.push((name.clone(), Attendance::Back));
                }
                continue;
            }
            let is_due = |after: Duration| away >= after && since_start >= RETURN_TIME.min(after / 4);
            let attendance = match program.is_released {
                true => Attendance::Released,
                false if absence.release_after.is_some_and(is_due) => {
                    self.log.set_program(name, Ownership { is_released: true, ..*program });
                    Attendance::Released
                }
                false if is_due(absence.warn_after) => Attendance::Missing,
                false => continue,
            };
            conditions.set(message::CONSUMER_MISSING, fault(name, away, &attendance, absence));
            if entry.told.as_ref() != Some(&attendance) {
                entry.told = Some(attendance.clone());
                news.push((name.clone(), attendance));
            }
        }
        entries.retain(|name, entry| {
            let is_there = programs.contains_key(name);
            if !is_there && entry.told.is_some() {
                news.push((name.clone(), Attendance::Back));
            }
            if !is_there {
                self.registry.part(name).clear(message::CONSUMER_MISSING);
            }
            is_there || entry.seat.is_some()
        });
        news
    }

    /// Checks that the caller may change a consumer that is there and that nobody is attached to.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn idle(&self, name: &str, caller: Caller) -> Result<(), AttachError> {
        self.change(name, caller, |_, _| ())
    }

    /// Changes a consumer that nobody is attached to, and keeps everybody off meanwhile.
    ///
    /// # Errors
    /// As [`Programs::idle`].
    pub fn change<T>(
        &self,
        name: &str,
        caller: Caller,
        act: impl FnOnce(&EventLog, &str) -> T,
    ) -> Result<T, AttachError> {
        let cursor = cursor_name(name)?;
        let entries = self.lock();
        if !self.is_there(name, caller)? {
            return Err(AttachError::Absent(name.to_owned()));
        }
        match entries.get(&cursor).is_some_and(|entry| entry.seat.is_some()) {
            true => Err(AttachError::Taken(name.to_owned())),
            false => Ok(act(&self.log, &cursor)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        lock(&self.entries)
    }
}

fn fault(name: &str, away: Duration, attendance: &Attendance, absence: Absence) -> Fault {
    let (own, away) = (own_name(name), human_duration(away));
    Fault::warning(match attendance {
        Attendance::Released => {
            format!("no program came for the consumer {own} for {away}; nothing is kept for it any more")
        }
        _ => {
            let end = absence.release_after.map(human_duration);
            let end = end.map_or_else(String::new, |end| format!("; after {end} nothing is kept for it any more"));
            format!("no program came for the consumer {own} for {away}{end}")
        }
    })
}

impl Entry {
    fn new(cursor: &str) -> Entry {
        let lane = |lane: Lane| ConsumerLaneStatus { lane: lane.name().to_owned(), ..ConsumerLaneStatus::default() };
        let status = ConsumerStatus {
            name: cursor.to_owned(),
            r#type: TYPE.to_owned(),
            state: State::Unattached.into(),
            lanes: Lane::ALL.map(lane).into(),
            program: Some(ProgramStatus::default()),
            ..ConsumerStatus::default()
        };
        Entry { status, seat: None, told: None, left: Default::default(), stopwatch: Stopwatch::default() }
    }

    fn enter(&mut self, state: State, now: i64) {
        self.status.set_state(state);
        self.status.state_since = now;
        self.status.connected_since = if state == State::Connected { now } else { 0 };
    }
}

impl Attachment {
    /// The cursor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Cancelled when another program takes over. From then on nothing may be committed.
    pub fn ousted(&self) -> &CancellationToken {
        &self.ousted
    }

    /// Where the program says how it is.
    pub fn conditions(&self) -> Conditions {
        self.programs.registry.part(&self.name)
    }

    /// Moves the cursor: everything before `next` is done with. Nothing happens when another program has taken over.
    pub fn commit(&self, lane: Lane, next: u64) {
        // Under the lock: whoever takes over waits for it, and this one comes no more behind that.
        let _entries = self.programs.lock();
        if !self.ousted.is_cancelled() {
            self.cursor.commit(lane, next);
        }
    }

    /// What earlier calls gave and saw not committed, ascending.
    pub fn left(&self, lane: Lane) -> &[Uncommitted] {
        &self.left[lane.index()]
    }

    /// The same of this one, for the next.
    pub fn leave(&self, lane: Lane, mut left: Vec<Uncommitted>) {
        left.truncate(LEFT_MAX);
        let mut entries = self.programs.lock();
        if let Some(entry) = entries.get_mut(&self.name).filter(|_| !self.ousted.is_cancelled()) {
            entry.left[lane.index()] = left;
        }
    }

    /// Unix milliseconds.
    pub fn now(&self) -> i64 {
        (self.programs.now)()
    }

    /// An event became a dead letter.
    pub fn refused(&self, lane: Lane, uncommitted: u64) {
        self.note(lane, |Entry { status, .. }, lane, _| {
            lane.refused_events += 1;
            status.program.get_or_insert_default().uncommitted_events = uncommitted;
        });
    }

    /// Events were given to the program.
    pub fn given(&self, lane: Lane, bytes: u64, window: u32, uncommitted: u64) {
        self.note(lane, |Entry { status, stopwatch, .. }, its, _| {
            stopwatch.begin(lane);
            status.sent_batches += 1;
            status.sent_bytes += bytes;
            status.window = window;
            its.sent_batches += 1;
            its.sent_bytes += bytes;
            status.program.get_or_insert_default().uncommitted_events = uncommitted;
        });
    }

    /// What it is given next it was given before.
    pub fn retries(&self) {
        if let Some(entry) = self.programs.lock().get(&self.name) {
            entry.stopwatch.effort.retried.add(1);
        }
    }

    /// The program has committed so many.
    pub fn committed(&self, lane: Lane, events: u64, uncommitted: u64) {
        self.note(lane, |Entry { status, stopwatch, .. }, its, now| {
            stopwatch.lap(lane, uncommitted == 0);
            status.delivered_events += events;
            status.delivered_batches += 1;
            status.last_success = now;
            its.delivered_events += events;
            its.delivered_batches += 1;
            its.last_acknowledgement = now;
            status.program.get_or_insert_default().uncommitted_events = uncommitted;
        });
    }

    fn note(&self, lane: Lane, note: impl FnOnce(&mut Entry, &mut ConsumerLaneStatus, i64)) {
        let now = (self.programs.now)();
        let mut entries = self.programs.lock();
        let Some(entry) = entries.get_mut(&self.name).filter(|_| !self.ousted.is_cancelled()) else { return };
        let Some(at) = entry.status.lanes.iter().position(|its| its.lane == lane.name()) else { return };
        let mut its = std::mem::take(&mut entry.status.lanes[at]);
        note(entry, &mut its, now);
        entry.status.lanes[at] = its;
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let now = (self.programs.now)();
        let mut entries = self.programs.lock();
        let Some(entry) = entries.get_mut(&self.name).filter(|_| !self.ousted.is_cancelled()) else { return };
        entry.seat = None;
        entry.stopwatch.stop();
        entry.enter(State::Unattached, now);
        entry.status.program.get_or_insert_default().uncommitted_events = 0;
        // Of what it was given it has nothing any more but what it has committed.
        Lane::ALL.into_iter().for_each(|lane| self.cursor.held(lane, self.cursor.next(lane)));
        let log = &self.programs.log;
        if let Some(program) = log.program(&self.name) {
            log.set_program(&self.name, Ownership { seen: log.age(), ..program });
        }
        self.conditions().clear(message::CONSUMER_SAYS);
    }
}
