//! The configuration described: every key with what it takes, its default, and whether a reload applies it. As a page for
//! people (`docs/configuration.md`) and as a JSON schema for editors ([`super::schema`]).
//!
//! Made of what the code itself asks for, so that it cannot say anything else than the code does; tests hold the committed
//! files to it.

use std::fmt::Write as _;

use super::{Config, NEEDS_RESTART, Profile};
use crate::{
    settings::{Records, Section, SettingOrigin, SettingRecord, Shape},
    sinks::{self, SinkSpec},
};

/// What stands before the keys.
const HEAD: &str = include_str!("reference/head.md");
/// What stands behind them.
const TAIL: &str = include_str!("reference/tail.md");

/// The longest list of words that stands in a table; a longer one is told in words.
const DEFAULT_CHARACTERS_MAX: usize = 60;

/// What of the parts in lists cannot be done without: one of each list stands here.
const LISTED: &str = "subscriptions: [{on: '*', to: 'consumer:program'}]\n\
                      metrics: {enabled: false, counters: [{name: events_total, on: '*'}]}\n";

/// Every key as it is where nothing is set, and where a sink of each type, and a part of each list, has no more than it cannot do
/// without: the name of the sink is that of the type.
///
/// # Panics
/// Never: the defaults are valid.
pub fn keys() -> Records {
    let sink = |spec: &SinkSpec| format!("  {0}: {{type: {0}, {1}}}\n", spec.name, spec.sample);
    let text = format!("{LISTED}sinks:\n{}", sinks::ALL.iter().map(sink).collect::<String>());
    let mut records = Config::parse("", &text).expect("the defaults are valid").records;
    // A switch that stands here only for what is beside it.
    let defaults = Config::parse("", "").expect("the defaults are valid").records;
    defaults.iter().filter(|record| record.shape == Shape::Switch).for_each(|record| records.put(record.clone()));
    records
}

/// The type of the sinks that a part is about.
pub(super) fn sink_type(section: &str) -> Option<&str> {
    section.strip_prefix("sinks.").filter(|name| !name.contains('.'))
}

/// The key of the list that a part is the first of: `subscriptions` of `subscriptions[0]`.
pub(super) fn list_of(section: &str) -> Option<&str> {
    section.strip_suffix(FIRST)
}

/// Behind the key of a list: its first part.
const FIRST: &str = "[0]";

/// Whether a reload puts another value of this key in force.
pub fn is_live(key: &str) -> bool {
    !NEEDS_RESTART.contains(&key)
}

/// The page, in Markdown.
pub fn markdown() -> String {
    let records = keys();
    let mut page = HEAD.to_owned();
    let top = Section { name: String::new(), about: "what stands at the top" };
    for section in records.sections().iter().chain([&top]) {
        write_section(&mut page, section, &records);
    }
    write_profiles(&mut page);
    page.push_str(TAIL);
    page
}

fn write_section(page: &mut String, section: &Section, records: &Records) {
    let own: Vec<_> = records.iter().filter(|record| parent(&record.key) == section.name).collect();
    if own.is_empty() {
        return;
    }
    let title = match section.name.as_str() {
        "" => "At the top".to_owned(),
        name if sink_type(name).is_some() => format!("`sinks.NAME` with `type: {}`", last(name)),
        name if name.starts_with("sinks.") => format!("`sinks.NAME.{}`", last(name)),
        name => format!("`{}`", name.replace(FIRST, "[]")),
    };
    let _ = write!(page, "\n### {title}\n\n");
    let is_switch = own.iter().any(|record| record.shape == Shape::Switch);
    if !section.name.is_empty() {
        let switched = match is_switch {
            true => format!(" `{}: off` turns all of it off.", last(&section.name)),
            false => String::new(),
        };
        let also = named_also(&section.name, records);
        let _ = write!(page, "{}{also}.{switched}\n\n", sentence(section.about));
    }
    page.push_str("| key | takes | default | another value needs | what it is |\n|---|---|---|---|---|\n");
    for record in own {
        let (key, takes) = (last(&record.key), record.shape.words());
        let needs = if is_live(&record.key) { "reload" } else { "**restart**" };
        let about = match record.shape {
            Shape::Switch => "whether it is on",
            _ => record.about,
        };
        let also = named_also(&record.key, records);
        let _ = writeln!(page, "| `{key}` | {takes} | {} | {needs} | {about}{also} |", default(record));
    }
}

fn write_profiles(page: &mut String) {
    let of = |profile: Profile| {
        let text = format!("events: {{profile: {}}}", profile.name());
        Config::parse("", &text).expect("a profile by itself is valid").records
    };
    let all = Profile::ALL.map(of);
    let names = Profile::ALL.map(|profile| format!("`{}`", profile.name()));
    let _ = write!(
        page,
        "\n## The profiles compared\n\n| key of `events` | {} |\n|---|---|---|---|---|\n",
        names.join(" | ")
    );
    for record in all[0].iter().filter(|record| record.key != "events.profile") {
        let values = all.each_ref().map(|records| records.get(&record.key).map(default).unwrap_or_default());
        if values.iter().any(|value| *value != values[0]) {
            let _ = writeln!(page, "| `{}` | {} |", last(&record.key), values.join(" | "));
        }
    }
    page.push_str("\nEvery other key has the same default in each of them. A key that is set beats its profile.\n");
}

fn default(record: &SettingRecord) -> String {
    let is_of_sample = sink_type(parent(&record.key)).is_some() || list_of(parent(&record.key)).is_some();
    match record.text() {
        _ if record.origin != SettingOrigin::Default && is_of_sample => "none".to_owned(),
        empty if empty.is_empty() => "none".to_owned(),
        long if long.chars().count() > DEFAULT_CHARACTERS_MAX => {
            let items = record.value.as_array().map_or(0, Vec::len);
            format!("{items} patterns, see [the sample](../packaging/config/rodent.yml)")
        }
        text => format!("`{text}`"),
    }
}

fn named_also(key: &str, records: &Records) -> String {
    let other = records.aliases().iter().find(|(own, _)| own == key);
    other.map(|(_, other)| format!("; another name of it is `{other}`")).unwrap_or_default()
}

fn sentence(about: &str) -> String {
    let mut characters = about.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// The part that a key stands in.
fn parent(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn last(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, last)| last)
}
