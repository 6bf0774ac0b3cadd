//! What has changed in a configuration; tells as events that the agent runs with another one than when it last ran, or
//! than a moment ago.

use crate::order::Gather as _;
use std::{collections::BTreeMap, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{
    event::{Level, Metadata},
    pipeline::{Emitter, Memory},
    schema::events::{SystemConfigChangePayload, system_config_change_payload::SystemConfigOperation},
    settings::Records,
};

/// Key in full to effective value. Secrets are masked in the records and so never remembered.
type Known = BTreeMap<String, String>;

/// Changes that are not told yet; there is more than one only while the log takes no events.
const UNTOLD_MAX: usize = 16;

/// How long whoever changes something waits until it is told: the log may take no events at the moment.
const TELL_MAX: Duration = Duration::from_secs(1);

/// How settings came to change.
pub(super) enum Act<'a> {
    /// The files were read again.
    Reload { in_force: &'a Records },
    /// A person did it beside the files: the files say the same as before.
    Hand { trigger: &'static str },
    /// A controller has sent them; not remembered, for the next start forgets it.
    Update { controller: &'a str },
}

/// Tells changes. Cheap to copy.
#[derive(Clone)]
pub(super) struct Tidings(mpsc::Sender<Change>);

/// A change that is to be told.
pub(super) struct Change {
    keys: Vec<String>,
    trigger: &'static str,
    /// Who has sent it; empty when nobody did.
    controller: String,
    /// To be remembered until the next start.
    known: Option<Known>,
    told: oneshot::Sender<()>,
}

impl Tidings {
    /// What [`report`] is to be given, too.
    pub(super) fn new() -> (Tidings, mpsc::Receiver<Change>) {
        let (changes, told) = mpsc::channel(UNTOLD_MAX);
        (Tidings(changes), told)
    }

    /// Tells that these keys have other values now. Comes back when that is in the log, or cannot be for now.
    pub(super) async fn tell(&self, keys: Vec<String>, act: Act<'_>) {
        let (trigger, controller, known) = match act {
            Act::Reload { in_force } => ("reload", String::new(), Some(known(in_force))),
            Act::Hand { trigger } => (trigger, String::new(), None),
            Act::Update { controller } => ("update", controller.to_owned(), None),
        };
        let (told, done) = oneshot::channel();
        match self.0.try_send(Change { keys, trigger, controller, known, told }) {
            Ok(()) => drop(tokio::time::timeout(TELL_MAX, done).await),
            Err(_) => tracing::warn!("that settings have changed is not in the log, which takes no events"),
        }
    }
}

/// Emits `system.config_changed.updated` for each section whose keys have other values than remembered, and for each change
/// that comes, until nobody brings any more.
pub(super) async fn report(records: Records, mut changes: mpsc::Receiver<Change>, emitter: Emitter, memory: Memory) {
    let now = known(&records);
    let recalling = memory.clone();
    let before: Option<Known> = tokio::task::spawn_blocking(move || recalling.recall()).await.ok().flatten();
    if before.as_ref() != Some(&now) {
        // At first sight there is nothing to compare with.
        let sections = before.map(|before| changed(&before, &now)).unwrap_or_default();
        if emit(&emitter, Level::Info, sections, "start", "").await {
            memory.remember(&now);
        }
    }
    while let Some(Change { keys, trigger, controller, known, told }) = changes.recv().await {
        // Who leaves events out cannot leave out that it was done.
        let emitted = emit(&emitter, Level::Essential, by_section(keys), trigger, &controller).await;
        if let Some(known) = known.filter(|_| emitted) {
            memory.remember(&known);
        }
        // Whoever waited may have gone on.
        let _ = told.send(());
    }
}

/// Gives whether all of it is in the log.
async fn emit(
    emitter: &Emitter,
    level: Level,
    sections: BTreeMap<String, Vec<String>>,
    trigger: &str,
    controller: &str,
) -> bool {
    for (config_section, changed_keys) in sections {
        let payload = SystemConfigChangePayload {
            config_section,
            changed_keys,
            operation: SystemConfigOperation::Updated.into(),
            trigger: trigger.to_owned(),
            controller: controller.to_owned(),
        };
        let metadata: Metadata =
            [("component", "config"), ("action", trigger)].map(|(key, word)| (key.to_owned(), word.to_owned())).into();
        if let Err(error) = emitter.emit(level, payload, metadata).await {
            tracing::warn!(%error, "that settings have changed is not in the log");
            return false;
        }
    }
    true
}

/// What is remembered of these values.
fn known(records: &Records) -> Known {
    records.iter().map(|record| (record.key.clone(), record.text())).gather()
}

/// Keys whose values differ, by section.
fn changed(before: &Known, now: &Known) -> BTreeMap<String, Vec<String>> {
    let differs = |key: &&String| before.get(*key) != now.get(*key);
    let keys: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).filter(differs).gather();
    by_section(keys.into_iter().cloned())
}

/// Keys by their section: the part before the first dot.
fn by_section(keys: impl IntoIterator<Item = String>) -> BTreeMap<String, Vec<String>> {
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in keys {
        let section = key.split('.').next().unwrap_or_default();
        sections.entry(section.to_owned()).or_default().push(key);
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
