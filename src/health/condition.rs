//! What is not as it should be, said by the part that it is about and by nobody else.
//!
//! A part holds [`Conditions`] and says [`Conditions::set`] and [`Conditions::clear`]; the [`Registry`] keeps what stands and
//! writes the line in the journal when it begins and when it is over. Everybody who shows how a program is (its socket, its
//! metrics, systemd's line, the commands) renders that, and judges nothing. The identifier of a condition is the name of its
//! message, so that `journalctl MESSAGE_ID=…` finds when it began. Always holds: of one part and message one condition stands
//! at the most, and no more than the parts and messages of the program.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::order::Sorted as _;
use crate::telemetry::message::Message;

/// How bad a condition is, the most harmless first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionLevel {
    /// Somebody may want to know; all is well.
    Notice,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Error,
}

impl ConditionLevel {
    /// `notice`, `warning`, `error`.
    pub fn name(self) -> &'static str {
        match self {
            ConditionLevel::Notice => "notice",
            ConditionLevel::Warning => "warning",
            ConditionLevel::Error => "error",
        }
    }
}

/// What a part says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    level: ConditionLevel,
    text: String,
    since: Option<i64>,
    is_told: bool,
}

impl Fault {
    /// One sentence. What a person does about it stands with the message.
    pub fn new(level: ConditionLevel, text: impl Into<String>) -> Fault {
        Fault { level, text: text.into(), since: None, is_told: false }
    }

    /// A [`ConditionLevel::Notice`].
    pub fn notice(text: impl Into<String>) -> Fault {
        Fault::new(ConditionLevel::Notice, text)
    }

    /// A [`ConditionLevel::Warning`].
    pub fn warning(text: impl Into<String>) -> Fault {
        Fault::new(ConditionLevel::Warning, text)
    }

    /// A [`ConditionLevel::Error`].
    pub fn error(text: impl Into<String>) -> Fault {
        Fault::new(ConditionLevel::Error, text)
    }

    /// It began before it is said. Unix milliseconds; 0 is not known.
    #[must_use]
    pub fn since(self, since: i64) -> Fault {
        Fault { since: Some(since).filter(|since| *since > 0), ..self }
    }

    /// The part writes its own lines in the journal.
    #[must_use]
    pub fn told(self) -> Fault {
        Fault { is_told: true, ..self }
    }
}

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whom it is about.
    pub part: String,
    /// What the journal has of it.
    pub message: Message,
    /// How bad it is.
    pub level: ConditionLevel,
    /// Unix milliseconds.
    pub since: i64,
    /// One sentence.
    pub text: String,
    is_told: bool,
}

impl Condition {
    /// The name of its message, in lower case.
    pub fn id(&self) -> String {
        self.message.name.to_ascii_lowercase()
    }
}

type Standing = BTreeMap<(String, &'static str), Condition>;

/// What stands in one program. Cheap to copy.
#[derive(Clone)]
pub struct Registry {
    standing: Arc<Mutex<Standing>>,
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// What one part says. Cheap to copy.
#[derive(Clone)]
pub struct Conditions {
    part: String,
    registry: Registry,
}

impl Registry {
    /// With nothing in it. `now` gives Unix milliseconds.
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Registry {
        Registry { standing: Arc::default(), now: Arc::new(now) }
    }

    /// For one part.
    pub fn part(&self, name: impl Into<String>) -> Conditions {
        Conditions { part: name.into(), registry: self.clone() }
    }

    /// What stands, the worst first, of equals the oldest.
    pub fn standing(&self) -> Vec<Condition> {
        let mut standing: Vec<Condition> = self.lock().values().cloned().collect();
        standing.order_by_key(|condition| (std::cmp::Reverse(condition.level), condition.since));
        standing
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // What a panic leaves is a condition too many or too few.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `ok`, `warning` or `error`: of what stands.
pub fn verdict(standing: &[Condition]) -> &'static str {
    let worst = standing.iter().map(|condition| condition.level).max();
    worst.filter(|level| *level > ConditionLevel::Notice).map_or("ok", ConditionLevel::name)
}

impl Conditions {
    /// It is so. Said again it keeps its beginning; its words may be others.
    pub fn set(&self, message: Message, fault: Fault) {
        let Fault { level, text, since, is_told } = fault;
        let key = (self.part.clone(), message.name);
        let mut standing = self.registry.lock();
        let before = standing.get(&key);
        let since = since.or(before.map(|before| before.since)).unwrap_or_else(|| (self.registry.now)());
        let is_news = before.is_none_or(|before| before.level != level);
        let condition = Condition { part: self.part.clone(), message, level, since, text, is_told };
        standing.insert(key, condition.clone());
        drop(standing);
        if is_news && !is_told {
            begins(&condition);
        }
    }

    /// It is not so, or no more.
    pub fn clear(&self, message: Message) {
        let cleared = self.registry.lock().remove(&(self.part.clone(), message.name));
        if let Some(Condition { part, message, text, .. }) = cleared.filter(|cleared| !cleared.is_told) {
            tracing::info!(message_id = %message, part, "no more: {text}");
        }
    }

    /// [`Conditions::set`], or [`Conditions::clear`].
    pub fn put(&self, message: Message, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.set(message, fault),
            None => self.clear(message),
        }
    }
}

fn begins(Condition { part, message, level, text, .. }: &Condition) {
    let advice = message.advice;
    match level {
        ConditionLevel::Error => tracing::error!(message_id = %message, part, advice, "{text}"),
        ConditionLevel::Warning => tracing::warn!(message_id = %message, part, advice, "{text}"),
        ConditionLevel::Notice => tracing::info!(message_id = %message, part, advice, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::telemetry::message;

    fn registry() -> (Registry, Arc<AtomicI64>) {
        let time = Arc::new(AtomicI64::new(1));
        let now = Arc::clone(&time);
        (Registry::new(move || now.load(Ordering::Relaxed)), time)
    }

    fn said(registry: &Registry) -> Vec<String> {
        let line = |it: Condition| format!("{} {} {} {}: {}", it.level.name(), it.part, it.id(), it.since, it.text);
        registry.standing().into_iter().map(line).collect()
    }

    #[test]
    fn what_is_said_again_keeps_its_beginning_and_has_its_newest_words_until_it_is_cleared() {
        let (registry, time) = registry();
        let clock = registry.part("clock");
        clock.set(message::CLOCK_UNSYNCHRONISED, Fault::warning("out of step"));
        time.store(9, Ordering::Relaxed);
        clock.set(message::CLOCK_UNSYNCHRONISED, Fault::warning("far out of step"));
        assert_eq!(said(&registry), ["warning clock clock_unsynchronised 1: far out of step"]);
        registry.part("log").clear(message::CLOCK_UNSYNCHRONISED);
        assert_eq!(said(&registry).len(), 1, "only its own part clears it");
        clock.put(message::CLOCK_UNSYNCHRONISED, None);
        assert!(registry.standing().is_empty());
    }

    #[test]
    fn the_worst_stands_first_and_a_notice_is_nothing_to_act_on() {
        let (registry, time) = registry();
        assert_eq!(verdict(&registry.standing()), "ok");
        registry.part("a").set(message::RESTART_NEEDED, Fault::notice("n"));
        assert_eq!(verdict(&registry.standing()), "ok");
        registry.part("b").set(message::DEAD_LETTER, Fault::warning("w"));
        assert_eq!(verdict(&registry.standing()), "warning");
        time.store(7, Ordering::Relaxed);
        registry.part("c").set(message::DISK_FAILS, Fault::error("e"));
        registry.part("d").set(message::DISK_FAILS, Fault::error("older").since(5));
        assert_eq!(verdict(&registry.standing()), "error");
        let levels: Vec<_> = registry.standing().iter().map(|condition| condition.text.clone()).collect();
        assert_eq!(levels, ["older", "e", "w", "n"]);
    }
}
