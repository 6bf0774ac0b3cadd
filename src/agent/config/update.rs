//! Settings that a controller wants in force until the files are read the next time, at a start or a reload: read by the
//! same code as the file, so that the same is refused in the same words.
//!
//! An update stands for itself: what it does not name is as the files say, whatever an update before it named. An empty one
//! thus takes everything back.

use serde_json::{Map, Value};

use super::EventSettings;
use crate::settings::{Document, Faults, Records, SettingRecord};

/// Keys of `events` that a controller may set. The others are bounds of what is on the disk: the machine's own affair.
const LIVE: [&str; 3] = ["profile", "levels", "categories"];

/// The section that can be updated, with the dot behind it.
const SECTION: &str = "events.";

/// The key of how long an event may wait in memory.
const FLUSH_INTERVAL: &str = "events.flush_interval";

/// Settings as the files gave them.
#[derive(Clone, Debug)]
pub struct FileEvents(Records);

/// Settings of events that are valid.
#[derive(Clone, Debug)]
pub struct EventUpdate {
    /// What is to be in force.
    pub settings: EventSettings,
    /// Each key with its value.
    pub records: Records,
}

impl FileEvents {
    /// Out of everything that was read.
    pub fn of(records: Records) -> FileEvents {
        FileEvents(records)
    }

    /// What is in force with an update in JSON: an object of keys of `events`.
    ///
    /// # Errors
    /// Everything that is wrong with it, a line each.
    pub fn with(&self, update: &[u8]) -> Result<EventUpdate, Vec<String>> {
        let update: Map<String, Value> = serde_json::from_slice(update)
            .map_err(|error| vec![format!("expected a JSON object such as {{\"levels\": [\"error\"]}}: {error}")])?;
        let fixed: Vec<_> = self.fixed(&update).collect();
        match self.read(update) {
            (settings, Ok(records)) if fixed.is_empty() => Ok(self.bounded(EventUpdate { settings, records })),
            (_, Ok(_)) => Err(fixed),
            (_, Err(faults)) => Err(faults.iter().map(|fault| fault.words()).chain(fixed).collect()),
        }
    }

    /// What the files say alone.
    pub fn settings(&self) -> EventSettings {
        self.read(Map::new()).0
    }

    /// What the files say, with an update on top of it.
    fn read(&self, update: Map<String, Value>) -> (EventSettings, Result<Records, Faults>) {
        let set = self.0.iter().filter(|record| record.origin.is_written());
        let set = set.filter_map(|record| Some((record.key.strip_prefix(SECTION)?.to_owned(), record.value.clone())));
        let mut events: Map<String, Value> = set.collect();
        events.extend(update);
        let document = Document::parse("", &Value::from_iter([("events", Value::from(events))]).to_string());
        let settings = EventSettings::read(&mut document.root().table("events", ""));
        (settings, document.finish())
    }

    /// A profile does not let events wait for longer than the files do: after an unclean stop the next start tells by
    /// those how much may have been lost.
    fn bounded(&self, mut update: EventUpdate) -> EventUpdate {
        let interval_max = self.settings().flush_interval;
        if let Some(own) = self.0.get(FLUSH_INTERVAL).filter(|_| update.settings.flush_interval > interval_max) {
            update.settings.flush_interval = interval_max;
            update.records.put(own.clone());
        }
        update
    }

    /// Keys that have other values in an update than in the files.
    pub fn changed_by(&self, update: &Records) -> Vec<String> {
        let is_other = |record: &&SettingRecord| self.0.get(&record.key).is_none_or(|own| !own.is_as(record));
        update.iter().filter(is_other).map(|record| record.key.clone()).collect()
    }

    /// What the update names and only the files can set.
    fn fixed(&self, update: &Map<String, Value>) -> impl Iterator<Item = String> {
        let is_fixed = |key: &&String| {
            let known = self.0.get(&format!("{SECTION}{key}")).is_some();
            known && !LIVE.contains(&key.as_str())
        };
        let keys: Vec<_> = update.keys().filter(is_fixed).cloned().collect();
        keys.into_iter().map(|key| {
            format!("{SECTION}{key}: not for a controller to set; set it in the configuration file, and reload")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::config::{Config, Profile},
        event::Level,
    };

    fn with(file: &str, update: &str) -> Result<EventSettings, Vec<String>> {
        let loaded = Config::parse("rodent.yml", file).unwrap_or_else(|faults| panic!("{faults}"));
        FileEvents::of(loaded.records).with(update.as_bytes()).map(|update| update.settings)
    }

    #[test]
    fn an_update_beats_the_file_where_it_names_a_key_and_leaves_the_rest_to_it() {
        let file = "events: {levels: [error], batch_size: 7, max_age: 2d, history: off, urgent_share: 40%}";
        let settings = with(file, r#"{"categories": ["storage"], "profile": "low-latency"}"#).expect("valid");
        assert_eq!((settings.levels, settings.categories), (vec![Level::Error], vec!["storage".to_owned()]));
        assert_eq!((settings.profile, settings.batch_size), (Profile::LowLatency, 7), "a knob beats the profile");
        assert_eq!(settings.buffer_size, 5_000);
        assert_eq!((settings.history, settings.urgent_share), (None, 40));
        let unchanged = Config::parse("rodent.yml", file).expect("valid").config.events;
        assert_eq!(with(file, "{}").expect("valid"), unchanged);
        let all = with(file, r#"{"levels": "all"}"#).expect("valid");
        assert_eq!(all.levels.len(), Level::ALL.len());
    }

    #[test]
    fn a_profile_shortens_the_time_in_memory_and_does_not_lengthen_it_and_what_is_told_is_what_is_in_force() {
        let told = |file: &str, update: &str| {
            let of_file = FileEvents::of(Config::parse("rodent.yml", file).expect("valid").records);
            let update = of_file.with(update.as_bytes()).expect("valid");
            let changed = of_file.changed_by(&update.records).contains(&FLUSH_INTERVAL.to_owned());
            (update.settings.flush_interval.as_millis(), changed)
        };
        assert_eq!(told("", r#"{"profile": "minimal"}"#), (1000, false));
        assert_eq!(told("", r#"{"profile": "low-latency"}"#), (200, true));
        assert_eq!(told("events: {profile: minimal}", r#"{"profile": "default"}"#), (1000, true));
        assert_eq!(told("events: {flush_interval: 3s}", r#"{"profile": "minimal"}"#), (3000, false));
    }

    #[test]
    fn what_the_file_may_not_say_the_update_may_not_either_in_the_same_words() {
        for (events, key) in [
            (r#"{"levels": ["loud"]}"#, "events.levels"),
            (r#"{"levels": []}"#, "events.levels"),
            (r#"{"categories": ["moon", "sun"]}"#, "events.categories"),
            (r#"{"profile": "huge"}"#, "events.profile"),
            (r#"{"profile": 3}"#, "events.profile"),
            (r#"{"level": ["error"]}"#, "events.level"),
        ] {
            let words = with("", events).expect_err("refused");
            let faults = Config::parse("rodent.yml", &format!("events: {events}")).expect_err("refused");
            let of_file: Vec<_> = faults.iter().map(|fault| fault.words()).collect();
            assert_eq!(words, of_file);
            assert!(words[0].starts_with(&format!("{key}: ")), "{words:?}");
        }
        let limits = with("events: {flush_threshold: 18000}", r#"{"profile": "minimal"}"#).expect_err("refused");
        assert!(
            limits[0].starts_with("events.flush_threshold: 18000: more than `buffer_size`, which is 2000"),
            "{limits:?}"
        );
    }

    #[test]
    fn what_only_the_files_can_set_and_what_is_no_update_is_refused() {
        let refused = with("", r#"{"max_disk": "2GiB", "levels": ["error"]}"#).expect_err("refused");
        assert_eq!(
            refused,
            ["events.max_disk: not for a controller to set; set it in the configuration file, and reload"]
        );
        for rubbish in ["", "[]", "levels: [error]", "{\"levels\": [\"error\"]", "\u{0}"] {
            let refused = with("", rubbish).expect_err("refused");
            assert!(refused[0].starts_with("expected a JSON object"), "{refused:?}");
        }
    }
}
