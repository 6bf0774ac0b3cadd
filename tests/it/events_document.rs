//! docs/events.md is what the schema says of every kind, and who emits it.
//!
//! `RODENT_EVENTS=write` writes it anew.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use rodent::{
    agent,
    event::{Catalogue, Description, Filter, Kind},
    hooks::Daemon,
};

const HEAD: &str = "\
# Events

Every kind of event, made from the schema: its level when its emitter gives none, its sentence, what it says about how a
thing is, what to do about it, and who emits it. `rodent kinds` lists the same, `rodent describe KIND` tells more of one.

In a sentence, `{field}` stands for what the event has in that field, `{one|another}` for the first of them that is set, and what
stands in `[…]` is left out when the field is not set. Counts are grouped, sizes and spans have their units. `rodent events`,
`show` and `top` and `rodent-controller events` write times in sentences as in their own column, by this machine's time zone, or with
`--utc` in UTC; in the journal, in JSON and for `text~…` they are always in UTC.

*State*: **tells** of a state of its subject, as bad as the event's level from `warn` on, and well below that; **ends** states
that are over with it. Nothing there: it happened, and says nothing about how anything is now.

Who emits: a collector, the agent itself (`agent`, `event_log`) or a daemon's hook (`zed`, `smartd`, `mdadm`). *Others* are
programs that give it to the agent, by `rodent emit`, `rodent transfer` and the socket: nothing in the agent sees it by itself.
";

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md")
}

fn all_emitters() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    agent::emitters().chain(Daemon::ALL.into_iter().map(|daemon| (daemon.name(), daemon.emits())))
}

/// Who emits a kind.
fn emitters(kind: &Kind) -> String {
    let emits = |patterns: &[&str]| Filter::parse(patterns).expect("patterns of kinds").takes_kind(kind.as_str());
    let names = all_emitters().filter(|(_, patterns)| emits(patterns)).map(|(name, _)| name);
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "others".to_owned() } else { names }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn state(its: &Description) -> String {
    let tells = (!its.meaning().tells.is_empty()).then(|| format!("tells {}", its.meaning().tells));
    let ends = (!its.meaning().ends.is_empty()).then(|| format!("ends {}", its.meaning().ends.join(", ")));
    tells.into_iter().chain(ends).collect::<Vec<_>>().join("; ")
}

fn document() -> String {
    let mut by_category: BTreeMap<usize, Vec<Description>> = BTreeMap::new();
    for its in Catalogue::compiled().descriptions() {
        let place =
            Catalogue::compiled().categories().iter().position(|name| name == its.kind.category()).expect("a category");
        by_category.entry(place).or_default().push(its);
    }
    let mut text = HEAD.to_owned();
    for (place, kinds) in by_category {
        let category = &Catalogue::compiled().categories()[place];
        writeln!(
            text,
            "\n## {category}\n\n| kind | level | event | state | what to do | who |\n|---|---|---|---|---|---|"
        )
        .expect("memory");
        for its in kinds {
            let (kind, level) = (&its.kind, its.meaning().level.name());
            let (sentence, advice) = (cell(&its.meaning().text), cell(&its.meaning().advice));
            let (state, who) = (state(&its), emitters(kind));
            writeln!(text, "| `{kind}` | {level} | {sentence} | {state} | {advice} | {who} |").expect("memory");
        }
    }
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn the_document_of_events_is_what_the_schema_says() {
    let text = document();
    if std::env::var("RODENT_EVENTS").is_ok_and(|value| value == "write") {
        fs::write(path(), &text).expect("written");
    }
    let there = fs::read_to_string(path()).unwrap_or_default();
    let differs = there.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(there == text, "docs/events.md is not of this schema: {differs:#?}; RODENT_EVENTS=write writes it anew");
}

#[test]
fn every_example_of_a_filter_in_the_documentation_is_one() {
    let text = include_str!("../../docs/filters.md");
    let fenced = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("filter\n"));
    let examples: Vec<_> = fenced.flat_map(str::lines).collect();
    assert!(examples.len() > 10, "the examples are found");
    for example in examples {
        Filter::parse(&[example]).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}

#[test]
fn every_pattern_of_who_emits_takes_a_kind_and_every_collector_has_some() {
    for (name, patterns) in all_emitters() {
        assert!(!patterns.is_empty(), "{name}");
        for pattern in patterns {
            let filter = Filter::parse(&[pattern]).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(
                Catalogue::compiled().kinds().iter().any(|kind| filter.takes_kind(kind.as_str())),
                "{name}: {pattern}"
            );
        }
    }
}
