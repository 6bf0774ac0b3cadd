//! What has changed in a configuration; tells as an event that the agent runs with another one than when it last ran.

use std::collections::BTreeMap;

use crate::{
    event::{Level, Metadata},
    pipeline::{Emitter, Memory},
    schema::events::{SystemConfigChangePayload, system_config_change_payload::SystemConfigOperation},
    settings::Records,
};

/// Key in full to effective value. Secrets are masked in the records and so never remembered.
pub(super) type Known = BTreeMap<String, String>;

/// Emits `system.config_changed.updated` for each section whose keys have other values than remembered.
pub(super) async fn report(records: Records, emitter: Emitter, memory: Memory) {
    let now = known(&records);
    let recalling = memory.clone();
    let before: Option<Known> = tokio::task::spawn_blocking(move || recalling.recall()).await.ok().flatten();
    if before.as_ref() == Some(&now) {
        return;
    }
    // At first sight there is nothing to compare with.
    for (section, keys) in before.map(|before| changed(&before, &now)).unwrap_or_default() {
        let payload = SystemConfigChangePayload {
            config_section: section,
            changed_keys: keys,
            operation: SystemConfigOperation::Updated.into(),
        };
        let metadata: Metadata = [("component", "config"), ("action", "start")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        if emitter.emit(Level::Info, payload, metadata).await.is_err() {
            return;
        }
    }
    memory.remember(&now);
}

/// What is remembered of these values.
pub(super) fn known(records: &Records) -> Known {
    records.iter().map(|record| (record.key.clone(), record.text())).collect()
}

/// Keys whose values differ, by section: the part before the first dot.
pub(super) fn changed(before: &Known, now: &Known) -> BTreeMap<String, Vec<String>> {
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let differs = |key: &&String| before.get(*key) != now.get(*key);
    let keys: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).filter(differs).collect();
    for key in keys {
        let section = key.split('.').next().unwrap_or_default();
        sections.entry(section.to_owned()).or_default().push(key.clone());
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Known {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn changed_added_and_removed_keys_are_named_by_section() {
        let before = pairs(&[("events.profile", "default"), ("socket", "/a"), ("log.level", "info")]);
        let now = pairs(&[("events.profile", "minimal"), ("socket", "/a"), ("events.max_age", "30d")]);
        let sections = changed(&before, &now);
        assert_eq!(sections["events"], ["events.max_age", "events.profile"]);
        assert_eq!(sections["log"], ["log.level"]);
        assert_eq!(sections.len(), 2);
        assert!(changed(&now, &now).is_empty());
    }
}
