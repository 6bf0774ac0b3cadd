//! What tables promise, on whole documents.

use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads a small schema of every kind of value and gives what is wrong.
fn faults(text: &str) -> Vec<String> {
    let document = Document::parse("rodent.yml", text);
    let mut root = document.root();
    root.string("name", "none", "a text");
    let mut events = root.table("events", "a table");
    events.one_of("profile", "default", &["default", "minimal"], "a word");
    events.integer("batch_size", 100, 1..=1000, "a number");
    events.duration("batch_timeout", SECOND, SECOND..=DAY, "a duration");
    events.size("max_disk", 1 << 30, 1 << 20..=1 << 40, "a size");
    events.boolean("fold", false, "a boolean");
    events.strings("tags", &[], "a list");
    events.several_of("levels", &["info"], &["info", "warn", "error"], "words");
    events.path("spool", "/var/spool", "a path");
    document.finish().err().map(|faults| faults.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn an_empty_file_has_no_faults() {
    for text in ["", "\n# only a comment\n", "---\n", "events:\n", "events:\n  # batch_size: 5\n", "\u{feff}name: x\n"]
    {
        assert_eq!(faults(text), Vec::<String>::new(), "{text:?}");
    }
}

#[test]
fn every_fault_is_told_at_once_in_the_order_of_the_file() {
    let text = "nmae: x\nevents:\n  batch_size: 60000\n  batch_timeout: soon\n  max_disk: 1G\n  fold: yes\n  levels: \
                [info, loud, wran]\n  spool: tmp\n  profile: fast\n  batch_size: 3\n";
    assert_eq!(
        faults(text),
        [
            "rodent.yml:1:1: nmae: unknown key; did you mean `name`?",
            "rodent.yml:3:15: events.batch_size: 60000: expected a whole number from 1 to 1000",
            "rodent.yml:4:18: events.batch_timeout: soon: expected a duration such as 30s, 5m, 1h30m or 500ms (a bare \
             number is seconds) from 1s to 1day",
            "rodent.yml:5:13: events.max_disk: 1G: unclear unit: write 1GiB (binary) or 1GB (decimal)",
            "rodent.yml:6:9: events.fold: yes: expected true or false",
            "rodent.yml:7:18: events.levels: loud: expected info, warn or error",
            "rodent.yml:7:24: events.levels: wran: expected info, warn or error",
            "rodent.yml:8:10: events.spool: tmp: expected an absolute path",
            "rodent.yml:9:12: events.profile: fast: expected default or minimal",
            "rodent.yml:10:3: events.batch_size: set twice; first in line 3",
        ]
    );
}
