//! Counters that the configuration asks for: of the events that a filter takes, told apart by some of their fields.
//!
//! Counts what the log has taken, on its way in; gives the numbers to who shows them. Always holds: a counter has at most
//! [`SERIES_MAX`] series, and beyond them everything is counted as `other`, so that no name in an event makes it grow; every event
//! that the filter takes is counted once. Without any counter an event costs nothing here.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, RwLock},
};

use crate::{
    event::{EventView, Filter, Head, Label},
    lock::{self, lock},
};

/// The most series of one counter; what would be one more is counted as [`OTHER`].
const SERIES_MAX: usize = 1_000;

/// The most counters, and labels of each.
pub const COUNTERS_MAX: usize = 64;
const LABELS_MAX: usize = 8;

/// What stands for values that have no room any more.
const OTHER: &str = "other";

/// The longest name, bytes.
const NAME_BYTES_MAX: usize = 100;

/// What the names of counters end in.
const ENDING: &str = "_total";

/// What the names of the agent's own metrics begin with.
const TAKEN: [&str; 2] = ["rodent_", "process_"];

/// What a counter is called, what it counts and by what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CounterSettings {
    /// As Prometheus shows it.
    pub name: String,
    /// Conditions of a filter; one of them suffices.
    pub on: Vec<String>,
    /// As [`Label::parse`] takes them.
    pub by: Vec<String>,
}

/// What is wrong with one, and where: `name`, `on` or `by`.
#[derive(Debug, PartialEq, Eq)]
pub struct CounterFault {
    /// The setting.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// One counter.
#[derive(Debug)]
pub struct FieldCounter {
    settings: CounterSettings,
    filter: Filter,
    labels: Vec<Label>,
    series: Mutex<BTreeMap<Vec<String>, u64>>,
}

impl FieldCounter {
    /// Of events to come.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: CounterSettings) -> Result<FieldCounter, CounterFault> {
        let fault = |key, message: &str| CounterFault { key, message: message.to_owned() };
        let CounterSettings { name, on, by } = &settings;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins_right = name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
        if !begins_right || !name.bytes().all(is_letter) || name.len() > NAME_BYTES_MAX {
            let message = "expected letters, digits and `_`, such as nas_logins_total";
            return Err(fault("name", message));
        }
        if !name.ends_with(ENDING) {
            return Err(CounterFault {
                key: "name",
                message: format!("what counts ends in `{ENDING}`: write {name}{ENDING}"),
            });
        }
        if let Some(taken) = TAKEN.iter().find(|taken| name.starts_with(*taken)) {
            return Err(CounterFault { key: "name", message: format!("names with `{taken}` are the agent's own") });
        }
        let filter = Filter::parse(&[on.join(" or ")])
            .map_err(|error| CounterFault { key: "on", message: error.to_string() })?;
        if by.len() > LABELS_MAX {
            return Err(CounterFault { key: "by", message: format!("at most {LABELS_MAX} are taken") });
        }
        let labels: Vec<_> = by
            .iter()
            .map(|text| Label::parse(text, &filter))
            .collect::<Result<_, _>>()
            .map_err(|message| CounterFault { key: "by", message })?;
        let mut seen = HashSet::new();
        if let Some(twice) = labels.iter().find(|label| !seen.insert(label.name())) {
            return Err(CounterFault { key: "by", message: format!("`{}` is named twice", twice.name()) });
        }
        Ok(FieldCounter { settings, filter, labels, series: Mutex::default() })
    }

    /// As Prometheus shows it.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Names of its labels.
    pub fn labels(&self) -> Vec<&str> {
        self.labels.iter().map(Label::name).collect()
    }

    /// Of each series the values of its labels and how many there were.
    pub fn series(&self) -> Vec<(Vec<String>, u64)> {
        lock(&self.series).iter().map(|(values, count)| (values.clone(), *count)).collect()
    }

    fn count(&self, event: &EventView) {
        let mut values: Vec<_> = self.labels.iter().map(|label| label.value(event)).collect();
        let mut series = lock(&self.series);
        if series.len() >= SERIES_MAX && !series.contains_key(&values) {
            values.fill(OTHER.to_owned());
        }
        *series.entry(values).or_default() += 1;
    }
}

/// All of them. Those that stay when the configuration changes go on counting.
#[derive(Debug, Default)]
pub(super) struct Counters(RwLock<Arc<[Arc<FieldCounter>]>>);

impl Counters {
    pub(super) fn all(&self) -> Arc<[Arc<FieldCounter>]> {
        Arc::clone(&lock::read(&self.0))
    }

    /// From now on these.
    pub(super) fn set(&self, wanted: &[CounterSettings]) {
        let before = self.all();
        let of = |settings: &CounterSettings| match before.iter().find(|counter| counter.settings == *settings) {
            Some(counter) => Some(Arc::clone(counter)),
            // Err: whoever read the configuration has refused it.
            None => FieldCounter::new(settings.clone()).ok().map(Arc::new),
        };
        *lock::write(&self.0) = wanted.iter().filter_map(of).collect();
    }

    /// An event was accepted.
    pub(super) fn count(&self, event: &[u8]) {
        let counters = self.all();
        if counters.is_empty() {
            return;
        }
        let Ok(head) = Head::read(event) else { return };
        let mut counters = counters.iter().filter(|counter| counter.filter.may_match(&head)).peekable();
        if counters.peek().is_none() {
            return;
        }
        // Decoded once, for all that may want it.
        let Ok(event) = EventView::decode(event) else { return };
        counters.filter(|counter| counter.filter.matches(&event)).for_each(|counter| counter.count(&event));
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::schema::{
        Payload as _,
        events::{Event, EventLevel, StoragePoolPayload, storage_pool_payload::StoragePoolOperation as Operation},
    };

    fn settings(name: &str, on: &[&str], by: &[&str]) -> CounterSettings {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CounterSettings { name: name.to_owned(), on: texts(on), by: texts(by) }
    }

    fn pool(name: &str, operation: Operation) -> Vec<u8> {
        let payload =
            StoragePoolPayload { pool_name: name.to_owned(), operation: operation.into(), ..Default::default() };
        let event = Event {
            level: EventLevel::Warn.into(),
            event_payload: Some(payload.into_event_payload()),
            ..Event::default()
        };
        event.encode_to_vec()
    }

    fn of(counters: &Counters, place: usize) -> Vec<(String, u64)> {
        let counter = Arc::clone(&counters.all()[place]);
        counter.series().into_iter().map(|(values, count)| (values.join(" "), count)).collect()
    }

    #[test]
    fn events_are_counted_by_what_they_say_of_themselves() {
        let counters = Counters::default();
        counters.set(&[
            settings("pools_total", &["storage.pool.created", "storage.pool.deleted"], &["pool_name", "operation"]),
            settings("all_total", &["*"], &[]),
            settings("tank_total", &["storage.pool.* pool_name=tank"], &[]),
        ]);
        counters.count(&pool("tank", Operation::Created));
        counters.count(&pool("tank", Operation::Created));
        counters.count(&pool("a", Operation::Deleted));
        counters.count(&pool("a", Operation::ScrubStarted));
        counters.count(b"no event");
        let pair = |values: &str, count| (values.to_owned(), count);
        assert_eq!(of(&counters, 0), [pair("a deleted", 1), pair("tank created", 2)]);
        assert_eq!(of(&counters, 1), [pair("", 4)]);
        assert_eq!(of(&counters, 2), [pair("", 2)], "what it says counts, and not its kind alone");
    }

    #[test]
    fn beyond_a_thousand_series_everything_else_is_other_and_nothing_is_left_out() {
        let counters = Counters::default();
        counters.set(&[settings("pools_total", &["storage"], &["pool_name", "level"])]);
        for number in 0..SERIES_MAX + 5 {
            counters.count(&pool(&format!("p{number}"), Operation::Created));
        }
        counters.count(&pool("p0", Operation::Created));
        let series = of(&counters, 0);
        assert_eq!(series.len(), SERIES_MAX + 1);
        let count = |values: &str| series.iter().find(|(own, _)| own == values).map(|(_, count)| *count);
        assert_eq!((count("other other"), count("p0 warn")), (Some(5), Some(2)));
        assert_eq!(series.iter().map(|(_, count)| count).sum::<u64>(), SERIES_MAX as u64 + 6);
    }

    #[test]
    fn a_counter_that_stays_goes_on_and_one_that_is_another_begins_anew() {
        let counters = Counters::default();
        let [stays, goes] = [settings("a_total", &["storage"], &[]), settings("b_total", &["storage"], &[])];
        counters.set(&[goes, stays.clone()]);
        counters.count(&pool("tank", Operation::Created));
        counters.set(&[stays, settings("b_total", &["storage"], &["level"])]);
        assert_eq!((of(&counters, 0).len(), of(&counters, 1).len()), (1, 0));
    }

    #[test]
    fn what_is_wrong_is_told_of_the_setting_that_is_at_fault() {
        for (name, on, by, key, says) in [
            ("", "storage", "level", "name", "expected letters"),
            ("1_total", "storage", "level", "name", "expected letters"),
            ("logins", "storage", "level", "name", "write logins_total"),
            ("rodent_x_total", "storage", "level", "name", "the agent's own"),
            ("x_total", "storage.pol", "level", "on", "storage.pool"),
            ("x_total", "storage", "pool_nam", "by", "did you mean \"pool_name\"?"),
            ("x_total", "storage.pool", "service_name", "by", "no event of these"),
        ] {
            let fault = FieldCounter::new(settings(name, &[on], &[by])).expect_err("refused");
            assert!(fault.key == key && fault.message.contains(says), "{fault:?}");
        }
        let many =
            FieldCounter::new(settings("x_total", &["storage"], &["level"; LABELS_MAX + 1])).expect_err("refused");
        assert!(many.key == "by" && many.message.contains("at most 8"), "{many:?}");
        let twice = FieldCounter::new(settings("x_total", &["storage"], &["level", "level"])).expect_err("refused");
        assert_eq!(twice.key, "by");
    }
}
