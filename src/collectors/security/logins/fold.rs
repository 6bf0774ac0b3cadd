//! Which logins are told, and which only count. Pure.
//!
//! A failure is told by itself until there are [`BRUTE_FORCE_MIN`] from one source within a window; then the source is told once as
//! one that tries again and again, and once more when it has been quiet for [`CALM`], with how many there were. Whoever tries
//! from a thousand addresses is told as one: beyond the bounds here, all others are [`MANY`]. A login that works is told
//! once in a while for each user and source, with how many there were like it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::line::Attempt;

/// From so many failures on it is no mistake in typing.
const BRUTE_FORCE_MIN: u64 = 6;
/// The same for all others together, who may be many people with one mistake each.
const MANY_MIN: u64 = 30;
/// After so long without a failure it is over, and counting begins anew; milliseconds.
const CALM: i64 = 10 * 60 * 1000;
/// The most sources that are followed, bytes being some 100 each; and the most that are told apart as trying again and again.
const SOURCES_MAX: usize = 256;
const TOLD_MAX: usize = 16;
/// The most single failures that are told within [`CALM`].
const SINGLES_MAX: u32 = 32;
/// The most users and sources whose logins are followed; beyond them none is told again for as long as these stay.
const LOGINS_MAX: usize = 256;
/// The most logins whose end is waited for; beyond them that of the oldest is not told.
const SESSIONS_MAX: usize = 256;
/// The same user from the same source is told again after so long; milliseconds.
const AGAIN: i64 = 60 * 60 * 1000;
/// All sources beyond the bounds.
pub(super) const MANY: &str = "many addresses";

/// What is known of failures and logins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fold {
    sources: BTreeMap<String, Failures>,
    /// When the window of single ones began, and how many were told in it.
    singles: (i64, u32),
    /// By user, target, way and source: when it was told, and how many came since.
    logins: BTreeMap<String, (i64, u64)>,
    /// Logins that were told and have not ended, by process: user, way, source, and when.
    #[serde(default)]
    sessions: BTreeMap<u32, (String, String, String, i64)>,
}

/// Failures of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failures {
    pub(super) count: u64,
    /// Unix milliseconds.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Of the first; empty as soon as they differ.
    pub(super) user: String,
    pub(super) method: String,
    /// Empty for the machine itself.
    pub(super) source: String,
    is_told: bool,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Failed(Attempt),
    Begins(Failures),
    Ceased(Failures),
    /// With how many failures of its source there were, and how many logins like it.
    LoggedIn(Attempt, u64, u64),
    LoggedOut(Attempt),
}

impl Fold {
    /// Takes an attempt in. What had been quiet for long when it came is over, however late both are read.
    pub(super) fn take(&mut self, attempt: Attempt, told: &mut Vec<Told>) {
        // What is read file by file goes back in time with each: an older one says nothing of what came later.
        self.let_go(attempt.at, |quiet| quiet >= CALM, told);
        if attempt.succeeded { self.logged_in(attempt, told) } else { self.failed(attempt, told) }
    }

    fn logged_in(&mut self, attempt: Attempt, told: &mut Vec<Told>) {
        let failures = self.sources.get(&key_of(&attempt)).filter(|source| source.is_told).map_or(0, |it| it.count);
        let key = [&*attempt.user, &*attempt.target, &*attempt.method, &*attempt.source].join(" ");
        if let Some((at, like_it)) = self.logins.get_mut(&key)
            && attempt.at.saturating_sub(*at) < AGAIN
            && failures == 0
        {
            *like_it = like_it.saturating_add(1);
            return;
        }
        let (_, like_it) = self.logins.remove(&key).unwrap_or_default();
        if self.logins.len() >= LOGINS_MAX {
            // The one that was told longest ago gives way: it is told again when it comes, and not counted.
            let oldest = self.logins.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.logins.remove(&oldest));
        }
        self.logins.insert(key, (attempt.at, 0));
        // By su and sudo nobody comes, and Samba's sessions are told as those of shares.
        let has_end = attempt.method.starts_with("ssh") || attempt.method == "login";
        if has_end && attempt.process != 0 {
            let session = (attempt.user.clone(), attempt.method.clone(), attempt.source.clone(), attempt.at);
            self.sessions.insert(attempt.process, session);
        }
        if self.sessions.len() > SESSIONS_MAX {
            let oldest = self.sessions.iter().min_by_key(|(_, (_, _, _, at))| *at).map(|(process, _)| *process);
            oldest.and_then(|oldest| self.sessions.remove(&oldest));
        }
        told.push(Told::LoggedIn(attempt, failures, like_it));
    }

    /// A session has ended. Of one that was not told its end is not told either.
    pub(super) fn left(&mut self, attempt: Attempt, told: &mut Vec<Told>) {
        if self.sessions.get(&attempt.process).is_some_and(|(user, ..)| *user == attempt.user)
            && let Some((user, method, source, _)) = self.sessions.remove(&attempt.process)
        {
            told.push(Told::LoggedOut(Attempt { user, method, source, ..attempt }));
        }
    }

    fn failed(&mut self, attempt: Attempt, told: &mut Vec<Told>) {
        let mut key = key_of(&attempt);
        let is_known = self.sources.contains_key(&key);
        if !is_known && self.sources.len() >= SOURCES_MAX {
            key = MANY.to_owned();
        }
        let source = self.sources.entry(key.clone()).or_insert_with(|| Failures::from(&attempt, &key));
        source.add(&attempt);
        if source.is_told {
            return;
        }
        if source.count >= BRUTE_FORCE_MIN && key != MANY {
            if self.sources.values().filter(|source| source.is_told).count() < TOLD_MAX {
                self.begins(&key, told);
            } else if let Some(source) = self.sources.remove(&key) {
                self.joins_many(source, &attempt, told);
            }
            return;
        }
        if attempt.at.saturating_sub(self.singles.0) >= CALM {
            self.singles = (attempt.at, 0);
        }
        if key != MANY && self.singles.1 < SINGLES_MAX {
            self.singles.1 += 1;
            told.push(Told::Failed(attempt));
        } else if key == MANY {
            self.many_begins(told);
        } else {
            // It stays with its source, where it counts towards that; as untold it is one of many.
            self.joins_many(Failures { count: 1, ..Failures::from(&attempt, MANY) }, &attempt, told);
        }
    }

    fn joins_many(&mut self, failures: Failures, attempt: &Attempt, told: &mut Vec<Told>) {
        let many = self.sources.entry(MANY.to_owned()).or_insert_with(|| Failures::from(attempt, MANY));
        many.count = many.count.saturating_add(failures.count);
        many.last = many.last.max(attempt.at);
        self.many_begins(told);
    }

    fn many_begins(&mut self, told: &mut Vec<Told>) {
        if self.sources.get(MANY).is_some_and(|many| many.count >= MANY_MIN && !many.is_told) {
            self.begins(MANY, told);
        }
    }

    fn begins(&mut self, key: &str, told: &mut Vec<Told>) {
        if let Some(source) = self.sources.get_mut(key) {
            source.is_told = true;
            told.push(Told::Begins(source.clone()));
        }
    }

    /// Lets go of what is over.
    pub(super) fn settle(&mut self, now: i64, told: &mut Vec<Told>) {
        // A clock that was set back must not keep it for ever.
        self.let_go(now, |quiet| quiet.unsigned_abs() >= CALM.unsigned_abs(), told);
    }

    fn let_go(&mut self, now: i64, is_calm: impl Fn(i64) -> bool, told: &mut Vec<Told>) {
        self.sources.retain(|_, source| {
            let is_over = is_calm(now.saturating_sub(source.last));
            if is_over && source.is_told {
                told.push(Told::Ceased(source.clone()));
            }
            !is_over
        });
        self.logins.retain(|_, (at, like_it)| *like_it > 0 || now.saturating_sub(*at) < AGAIN);
    }

    /// What stands: what is told again when whoever keeps the states has lost it.
    pub(super) fn standing(&self) -> Vec<Told> {
        self.sources.values().filter(|source| source.is_told).cloned().map(Told::Begins).collect()
    }
}

impl Failures {
    fn from(attempt: &Attempt, key: &str) -> Failures {
        let is_many = key == MANY;
        Failures {
            first: attempt.at,
            user: if is_many { String::new() } else { attempt.user.clone() },
            method: attempt.method.clone(),
            source: if is_many { MANY.to_owned() } else { key_source(attempt) },
            ..Failures::default()
        }
    }

    fn add(&mut self, attempt: &Attempt) {
        self.count = self.count.saturating_add(1);
        self.last = attempt.at;
        // At the machine itself the user is what it is followed by.
        if self.user != attempt.user && !self.source.is_empty() {
            self.user.clear();
        }
        if self.method != attempt.method {
            self.method.clear();
        }
    }
}

/// By what an attempt is followed: its source, and at the machine itself its user.
fn key_of(attempt: &Attempt) -> String {
    if attempt.source.is_empty() { format!("user {}", attempt.user) } else { key_source(attempt) }
}

/// Of the sixth version a network of 64 bits: whoever has one address there has them all.
fn key_source(attempt: &Attempt) -> String {
    match attempt.source.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("{}/64", std::net::Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        Err(_) => attempt.source.clone(),
    }
}

#[cfg(test)]
mod tests;
