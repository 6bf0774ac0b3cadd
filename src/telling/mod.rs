//! What a person is told of how things are: that something is wrong, worse, still so, well again; not what happened.
//!
//! Given the states of things, the time and what was told before; gives [`Notification`]s, and when to look again. Whoever sends one
//! says so ([`Telling::sent`]), and keeps [`Telling::encode`] where it survives. Pure: no clock, no network.
//!
//! Always holds: what is wrong and wanted is told once, again when it gets worse, and its end is told when and only when it was
//! told itself; quiet hours, silences and storms put off and fold together, and drop nothing but what has come and gone in
//! between, which the digest after them names. Deliberately absent: events. After a month away the month is not told, but how
//! things are.

mod notification;
mod quiet;
#[cfg(test)]
mod tests;
mod told;
mod weekly;

use std::{collections::VecDeque, time::Duration};

pub use self::{
    notification::{Notification, What},
    quiet::Quiet,
    weekly::Weekly,
};
use self::{
    quiet::Night,
    told::{Entry, Mark, TOLD_MAX, Told},
    weekly::Standing,
};
use crate::{
    order::Sorted as _,
    schema::local::{StateChange, StateLevel, SubjectState},
};

/// So many changes of level within [`FLAPS_WITHIN`] are told as one, and then nothing until it was calm for as long.
const FLAP_EDGES: usize = 4;

/// Milliseconds.
const FLAPS_WITHIN: i64 = 10 * 60 * 1000;

/// Messages are counted over this, milliseconds.
const STORM_WITHIN: i64 = 60 * 1000;

/// How somebody wants to be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// When nothing is told.
    pub quiet: Option<Quiet>,
    /// Whether that holds for what is critical, too.
    pub is_critical_quiet: bool,
    /// After how long what is still wrong is told again.
    pub repeat: Option<Duration>,
    /// More messages in a minute become one.
    pub digest_after: usize,
    /// When it is said that all is well, or what is not.
    pub weekly: Option<Weekly>,
    /// Whoever is told keeps an account of their own: nothing is folded together, and what is acknowledged is said again, too.
    pub is_mirror: bool,
}

/// When somebody looks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Unix milliseconds.
    pub now: i64,
    /// Minutes since midnight, as the clock on the wall shows.
    pub minute_of_day: u16,
    /// Of the same clock; 0 is Sunday.
    pub day_of_week: u8,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Due {
    /// To be sent, in this order.
    pub notices: Vec<Notification>,
    /// When there may be something though no state changes, Unix milliseconds.
    pub again_at: Option<i64>,
    /// Whether there is something to say that has to wait until then: nobody has looked in vain.
    pub is_held_back: bool,
}

impl Due {
    fn again(&mut self, at: i64) {
        self.again_at = Some(self.again_at.map_or(at, |before| before.min(at)));
    }
}

/// Who is told, what they know, and what they were sent of late.
#[derive(Debug)]
pub struct Telling {
    rules: Rules,
    told: Told,
    /// When messages were sent within the last minute, Unix milliseconds.
    sent_at: VecDeque<i64>,
}

/// What a state is to whoever is told.
struct Subject<'a> {
    state: &'a SubjectState,
    now: &'a StateChange,
    key: u64,
    before: Option<Entry>,
    /// When a silence of it was over, Unix milliseconds: what came and went before that is no news.
    news_from: i64,
}

impl Telling {
    /// Goes on with what [`Telling::encode`] gave; anew with what it did not give.
    pub fn new(rules: Rules, told: &[u8]) -> Telling {
        Telling { rules, told: Told::decode(told).unwrap_or_default(), sent_at: VecDeque::new() }
    }

    /// What was told, at most [`BLOB_BYTES_MAX`](crate::event_log::BLOB_BYTES_MAX) bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.told.encode()
    }

    /// What is to be told now of these states. `wants` says of a level and a kind whether a problem of that sort is told at all;
    /// `silenced_until` of a thing, until when nothing is said of it, or was not, Unix milliseconds.
    pub fn look<'a>(
        &self,
        states: impl IntoIterator<Item = &'a SubjectState>,
        wants: impl Fn(StateLevel, &str) -> bool,
        silenced_until: impl Fn(&str) -> Option<i64>,
        at: Moment,
    ) -> Due {
        let mut look = Due::default();
        let is_quiet = self.rules.quiet.is_some_and(|quiet| quiet.holds(at.minute_of_day));
        let ended = self.last_night(at).filter(|night| self.told.looked_at != 0 && self.told.looked_at < night.end);
        if let Some(quiet) = self.rules.quiet.filter(|_| is_quiet) {
            look.again(quiet.ends_at(at));
        }
        let (mut more, mut standing) = (0, self.weekly(at, is_quiet, &mut look));
        for state in states {
            let Some(now) = state.changes.first() else { continue };
            if let Some(standing) = &mut standing {
                let is_silent = silenced_until(&state.subject).is_some_and(|until| until > at.now);
                let is_wanted = worst(state).is_some_and(|worst| wants(worst.level(), &worst.kind));
                standing.add(state, now, is_wanted, is_silent);
            }
            let is_healed = ended.is_some_and(|night| night.has_healed(state));
            let is_steady = now.level() == StateLevel::Ok && !is_healed && !is_flapping(state, at.now, 0);
            if self.told.is_empty() && is_steady {
                continue;
            }
            let key = told::key(&state.subject, &state.state);
            let (before, news_from) = (self.told.get(key), silenced_until(&state.subject).unwrap_or_default());
            // Who keeps an account would take silence for the end of what stands in it.
            let is_kept_up = self.rules.is_mirror && before.is_some();
            if news_from > at.now && !is_kept_up {
                look.again(news_from);
                continue;
            }
            let is_healed = is_healed && now.since >= news_from;
            let subject = Subject { state, now, key, before, news_from };
            let worst = worst(state);
            let is_wanted = subject.before.is_some() || worst.is_some_and(|worst| wants(worst.level(), &worst.kind));
            let found = self.judge(&subject, at, is_healed, &mut look).filter(|_| is_wanted);
            let Some(notice) = found else { continue };
            let passes = notice.level == StateLevel::Critical && !self.rules.is_critical_quiet;
            if is_quiet && !passes {
                continue;
            }
            // Somebody who knows of so many things that are wrong is told how many others there are.
            match notice.is_new(subject.before) && self.told.len() + look.notices.len() >= TOLD_MAX {
                true => more += 1,
                false => look.notices.push(notice),
            }
        }
        look.notices.order_by_key(|notice| (std::cmp::Reverse(notice.level), notice.since));
        if more > 0 && (self.told.more == 0 || more >= 2 * usize::from(self.told.more)) {
            look.notices.push(Notification::more(more, at.now));
        }
        let mut look = self.fold_together(look, ended.is_some(), at);
        // Whatever else there is to say.
        look.notices.extend(standing.map(|standing| Notification::weekly(&standing, at.now)));
        look
    }

    /// An account of all that is, where it is time for it. What was missed is made up for.
    fn weekly(&self, at: Moment, is_quiet: bool, look: &mut Due) -> Option<Standing> {
        let weekly = self.rules.weekly?;
        look.again(weekly.next(at));
        let last = weekly.last(at);
        // In the week in which clocks go back the same one is an hour later.
        let is_due = !is_quiet && self.told.weekly_at != 0 && self.told.weekly_at + weekly::SAME_WITHIN < last;
        is_due.then(|| Standing::of(last))
    }

    /// The last quiet hours, where they are over.
    fn last_night(&self, at: Moment) -> Option<Night> {
        let quiet = self.rules.quiet.filter(|quiet| !quiet.holds(at.minute_of_day))?;
        Some(quiet.last(at))
    }

    /// What is to be said of one thing, whatever the hour.
    fn judge(&self, subject: &Subject, at: Moment, is_healed: bool, look: &mut Due) -> Option<Notification> {
        let Subject { state, now, key, before, news_from } = *subject;
        let level = now.level();
        let mark = |entry: Option<Entry>| Mark { key, entry };
        let entry = |level: StateLevel, is_flapping: bool| Some(Entry::at(level, is_flapping, at.now));
        let say = |what: What, level: StateLevel, entry: Option<Entry>| {
            Some(Notification::of(state, now, what, level, mark(entry)))
        };
        let is_flapping = !self.rules.is_mirror && is_flapping(state, at.now, news_from);
        let is_restless = is_flapping || before.is_some_and(|before| before.is_flapping);
        if is_restless && is_within(FLAPS_WITHIN, now.since, at.now) {
            look.again(now.since.saturating_add(FLAPS_WITHIN));
            let worst = worst(state).map_or(level, StateChange::level).max(level);
            return match before {
                Some(before) if before.is_flapping => None,
                _ => say(What::Flapping, worst, entry(worst, true)),
            };
        }
        let is_known = state.acknowledgement.is_some() && !self.rules.is_mirror;
        // Whether what was being told has arrived nobody knows: it is told again, and so is its end.
        match (before, level) {
            (Some(told), level) if told.is_pending && level != StateLevel::Ok => {
                say(What::Problem, level, entry(level, false))
            }
            (None, StateLevel::Ok) if is_healed => say(What::Healed, worst(state)?.level(), None),
            (None, StateLevel::Ok) => None,
            (None, _) if is_known => None,
            (None, level) => say(What::Problem, level, entry(level, false)),
            (Some(told), StateLevel::Ok) => say(What::Recovered, told.level, None),
            (Some(_), _) if is_known => None,
            (Some(told), level) if told.is_flapping => say(What::Problem, level, entry(level.max(told.level), false)),
            (Some(told), level) if level > told.level => say(What::Worse, level, entry(level, false)),
            (Some(told), level) => {
                let every = i64::try_from(self.rules.repeat?.as_millis()).ok()?;
                let due = told.told_at().saturating_add(every);
                if due > at.now {
                    look.again(due);
                    return None;
                }
                look.again(at.now.saturating_add(every));
                say(What::Still, level, entry(told.level, false))
            }
        }
    }

    /// Many at once become one.
    fn fold_together(&self, mut look: Due, is_morning: bool, at: Moment) -> Due {
        let recent = self.sent_at.iter().filter(|sent| is_within(STORM_WITHIN, **sent, at.now));
        let (count, oldest) = (recent.clone().count(), recent.min().copied());
        let most = self.rules.digest_after.max(1);
        if look.notices.is_empty() || self.rules.is_mirror {
            return look;
        }
        if count >= most {
            look.again(oldest.unwrap_or(at.now).saturating_add(STORM_WITHIN));
            look.notices.clear();
            look.is_held_back = true;
        } else if look.notices.len() > most - count || is_morning && look.notices.len() > 1 {
            look.notices = vec![Notification::digest(std::mem::take(&mut look.notices), at.now)];
        }
        look
    }

    /// It is being sent: should the agent be killed now, it is not known whether they know of it. Gives of which things that is so
    /// since now; where there are such, it is to be kept before anything is sent.
    pub fn announce(&mut self, notice: &Notification) -> Vec<u64> {
        self.told.announce(&notice.marks)
    }

    /// What was announced was not sent after all, for certain. Not for what an earlier attempt has announced, which may have
    /// arrived.
    pub fn withdraw(&mut self, announced: &[u64]) {
        self.told.withdraw(announced);
    }

    /// It was sent: whoever is told knows it now.
    pub fn sent(&mut self, notice: &Notification, at: Moment) {
        self.told.mark(&notice.marks, notice.more);
        if matches!(notice.what, What::Well | What::Unwell) {
            self.told.weekly_at = at.now;
        }
        if self.rules.is_mirror {
            return;
        }
        self.sent_at.retain(|sent| is_within(STORM_WITHIN, *sent, at.now));
        let messages = if notice.what == What::Digest { self.rules.digest_after.max(1) } else { 1 };
        self.sent_at.extend(std::iter::repeat_n(at.now, messages));
    }

    /// There is nothing left to say now. What is not among these states any more was forgotten, and nobody waits for its end.
    /// Gives whether what is to be kept is otherwise.
    pub fn looked<'a>(&mut self, states: impl IntoIterator<Item = &'a SubjectState>, at: Moment) -> bool {
        let is_first =
            self.told.looked_at == 0 || self.last_night(at).is_some_and(|night| self.told.looked_at < night.end);
        if is_first {
            self.told.looked_at = at.now;
        }
        // Who has only just asked for it waits for a week at the most.
        let was_asked = self.rules.weekly.is_some();
        let is_first = is_first || was_asked != (self.told.weekly_at != 0);
        if !was_asked || self.told.weekly_at == 0 {
            // One that comes within the hour is not the same as any before.
            self.told.weekly_at = if was_asked { at.now - weekly::SAME_WITHIN } else { 0 };
        }
        let forgot = !self.told.is_empty() && self.told.forget_all_but(states);
        is_first || forgot
    }
}

/// The worst of the changes since it was well, or of those that it recovered from.
fn worst(state: &SubjectState) -> Option<&StateChange> {
    let is_wrong = |change: &&StateChange| change.level() != StateLevel::Ok;
    let from = state.changes.iter().skip_while(|change| change.level() == StateLevel::Ok);
    // Of equals the first that was.
    from.take_while(is_wrong).max_by_key(|change| change.level())
}

/// Of what happened from `from` on.
fn is_flapping(state: &SubjectState, now: i64, from: i64) -> bool {
    let counts = |change: &&StateChange| change.since >= from && is_within(FLAPS_WITHIN, change.since, now);
    state.changes.iter().filter(counts).count() >= FLAP_EDGES
}

/// Whether it is no longer ago than that. What is ahead of a clock that was set back is not.
fn is_within(span: i64, time: i64, now: i64) -> bool {
    (0..span).contains(&now.saturating_sub(time))
}
