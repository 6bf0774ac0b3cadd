//! What a configuration that was read again changes. Pure.

use crate::{
    agent::config::{Loaded, Source},
    schema::local::{ChangedSetting, ReloadResponse},
    settings::{Records, SettingOrigin, SettingRecord},
};

/// Keys with other values than those in force.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// That can be put in force while the agent runs.
    pub(super) applied: Vec<ChangedSetting>,
    /// That cannot.
    pub(super) needs_restart: Vec<ChangedSetting>,
}

impl Difference {
    pub(super) fn between(in_force: &Records, read: &Records, source: &Source) -> Difference {
        let mut difference = Difference::default();
        for record in read.iter() {
            let before = in_force.get(&record.key);
            if before.map_or_else(|| is_default(record), |before| before.is_as(record)) {
                continue;
            }
            let list = match source.needs_restart(&record.key) {
                true => &mut difference.needs_restart,
                false => &mut difference.applied,
            };
            let before = before.map(SettingRecord::text).unwrap_or_default();
            list.push(ChangedSetting { key: record.key.clone(), before, after: record.text() });
        }
        // Of a part that is not there any more, such as a sink.
        for record in in_force.iter().filter(|record| read.get(&record.key).is_none() && !is_default(record)) {
            let (key, before, after) = (record.key.clone(), record.text(), String::new());
            difference.applied.push(ChangedSetting { key, before, after });
        }
        difference
    }

    /// Whether any key of a part of the configuration is to be put in force.
    pub(super) fn touches(&self, part: &str) -> bool {
        let is_below = |key: &str| key.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.applied.iter().any(|changed| is_below(&changed.key))
    }

    pub(super) fn answer(&self, loaded: &Loaded) -> ReloadResponse {
        let variable = |record: &SettingRecord| match &record.origin {
            SettingOrigin::Environment(name) => Some(name.clone()),
            _ => None,
        };
        ReloadResponse {
            faults: Vec::new(),
            applied: self.applied.clone(),
            needs_restart: self.needs_restart.clone(),
            files: loaded.files.iter().map(|file| file.display().to_string()).collect(),
            variables: loaded.records.iter().filter_map(variable).collect(),
        }
    }
}

/// Whether nobody has said it: of a part that comes or goes, such as a sink, that is told which was said.
fn is_default(record: &SettingRecord) -> bool {
    matches!(record.origin, SettingOrigin::Default)
}

/// Their keys.
pub(super) fn keys(changed: &[ChangedSetting]) -> Vec<String> {
    changed.iter().map(|changed| changed.key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::Config;

    fn difference(before: &str, after: &str, socket: Option<&str>) -> Difference {
        let records = |text| Config::parse("f", text).unwrap_or_else(|faults| panic!("{faults}")).records;
        let source = Source { file: None, root: "/".into(), socket: socket.map(Into::into) };
        Difference::between(&records(before), &records(after), &source)
    }

    fn shown(changed: &[ChangedSetting]) -> Vec<String> {
        changed.iter().map(|it| format!("{}: {} -> {}", it.key, it.before, it.after)).collect()
    }

    #[test]
    fn keys_are_told_with_both_values_and_those_that_need_a_restart_apart() {
        let after = "events: {profile: minimal, batch_size: 100}\nsocket: /b\nstate_directory: /c";
        let told = difference("events: {batch_size: 100}", after, None);
        let applied = shown(&told.applied);
        assert!(applied.contains(&"events.profile: default -> minimal".to_owned()), "{applied:?}");
        assert!(!applied.iter().any(|line| line.starts_with("events.batch_size")), "{applied:?}");
        assert_eq!(
            shown(&told.needs_restart),
            ["state_directory: /var/lib/rodent -> /c", "socket: /run/rodent/rodent.sock -> /b"]
        );
        assert!(told.touches("events") && !told.touches("collectors") && !told.touches("event"));
        assert_eq!(difference(after, after, None), Difference::default());
    }

    #[test]
    fn a_value_that_only_stands_elsewhere_is_no_change() {
        assert_eq!(difference("", "log: {level: info}\nevents: {profile: default}", None), Difference::default());
    }

    #[test]
    fn of_a_part_that_comes_or_goes_is_told_what_somebody_has_set() {
        let sink = "sinks: {phone: {type: webhook, url: 'http://ntfy.lan/x', format: ntfy}}";
        let keys = |changed: &[ChangedSetting]| keys(changed).join(" ");
        let [came, went] = [difference("", sink, None), difference(sink, "", None)];
        assert_eq!(keys(&came.applied), "sinks.phone.type sinks.phone.url sinks.phone.format");
        assert_eq!(keys(&went.applied), keys(&came.applied));
        assert!(came.touches("sinks") && went.touches("sinks"));
    }

    #[test]
    fn another_token_is_a_change_and_is_not_shown() {
        let with = |token: &str| format!("controller: {{address: 'a:1', jwt: {token}}}");
        let told = difference(&with("hunter2"), &with("hunter3"), None);
        assert_eq!(shown(&told.applied), ["controller.jwt: (secret) -> (secret)"]);
    }

    #[test]
    fn a_socket_that_the_command_line_names_does_not_wait_for_a_restart() {
        let told = difference("", "socket: /b", Some("/a"));
        assert!(told.needs_restart.is_empty() && told.applied.len() == 1);
    }
}
