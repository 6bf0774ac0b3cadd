//! What tables promise, on whole documents.

use std::time::Duration;

use serde_json::json;

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

/// The only fault of a text.
fn fault(text: &str) -> String {
    let [fault] = &faults(text)[..] else { panic!("{text}: {:?}", faults(text)) };
    fault.clone()
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

#[test]
fn a_syntax_error_is_told_alone_with_its_place() {
    for (text, place) in [
        ("events:\n\tbatch_size: 5\n", "rodent.yml:2:1: a tab stands here: indent with blanks, not with tabs"),
        ("nonsense_key: 1\nevents: [1, 2\n", "rodent.yml:"),
        ("events: {batch_size: 5", "rodent.yml:1:"),
        ("name: \"open", "rodent.yml:1:"),
        ("%YAML 1.1\n---\nname: x", "rodent.yml:1:1: not valid YAML: YAML directives are disallowed"),
        (
            "name: x\n---\nname: y\n",
            "rodent.yml:2:1: a second document begins here; keep everything in one, without `---`",
        ),
    ] {
        let found = faults(text);
        assert!(found.len() == 1 && found[0].starts_with(place), "{text:?}: {found:?}");
    }
}

#[test]
fn what_yaml_can_and_a_configuration_need_not_is_refused() {
    assert_eq!(
        faults("name: &a x\nevents: {spool: *a, tags: [!!str b, '*c']}\n? [d]\n: e\n"),
        [
            "rodent.yml:1:10: a value that begins with `&` must stand in quotes (anchors are not taken here)",
            "rodent.yml:2:17: a value that begins with `*` must stand in quotes (aliases are not taken here)",
            "rodent.yml:2:34: a value that begins with `!` must stand in quotes (tags are not taken here)",
            "rodent.yml:3:3: a key must be a word; quote a value that begins with `{`, `[` or `*`",
        ]
    );
}

#[test]
fn a_file_that_is_no_table_is_refused() {
    for text in ["just text", "- a\n- b\n", "5"] {
        let expected = "rodent.yml:1:1: expected keys with values, such as `events:` on a line of its own";
        assert_eq!(faults(text), [expected], "{text}");
    }
}

#[test]
fn nesting_and_the_number_of_keys_are_bounded() {
    let deep = format!("name: {}", "[".repeat(1000));
    let found = faults(&deep);
    assert!(
        found.len() == 1 && found[0].contains(&format!("nested more than {} deep", yaml::NESTING_MAX)),
        "{found:?}"
    );
    let block: String = (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(faults(&block).iter().any(|fault| fault.contains("nested more than")), "{:?}", faults(&block));
    let wide = format!("name: [{}]", "a, ".repeat(yaml::NODES_MAX));
    let found = faults(&wide);
    assert!(found.len() == 1 && found[0].contains("more than 20000 keys and values"), "{found:?}");
}

#[test]
fn a_value_of_another_type_is_told_by_what_it_is() {
    for (text, expected) in [
        ("name: [a]", "1:7: name: a list: expected text"),
        ("name: {a: b}", "1:7: name: a table: expected text"),
        ("name:", "1:1: name: nothing is set; expected text, or no such line"),
        ("events: 5", "1:9: events: 5: expected keys with values below it"),
        ("events: [a]", "1:9: events: a list: expected keys with values below it"),
        (
            "events: {batch_size: '5'}",
            "1:22: events.batch_size: 5: expected a whole number from 1 to 1000, without quotes",
        ),
        ("events: {batch_size: 0x5}", "1:22: events.batch_size: 0x5: expected a whole number from 1 to 1000"),
        ("events: {batch_size: -5}", "1:22: events.batch_size: -5: expected a whole number from 1 to 1000"),
        ("events: {fold: 'true'}", "1:16: events.fold: true: expected true or false, without quotes"),
        ("events: {tags: a}", "1:16: events.tags: a: expected a list of texts such as [a, b]"),
        ("events: {tags: [a, {b: c}]}", "1:20: events.tags: a table: expected text in a list"),
        (
            "events: {levels: []}",
            "1:18: events.levels: a list: empty; expected all, or a list such as [info, warn] of info, warn or error",
        ),
        ("events: {profile: ''}", "1:19: events.profile: \"\": expected default or minimal"),
        (
            "events: {other: 5}",
            "1:10: events.other: unknown key; known are profile, batch_size, batch_timeout, max_disk, fold, tags, levels, spool",
        ),
    ] {
        assert_eq!(fault(text), format!("rodent.yml:{expected}"));
    }
}

#[test]
fn bounds_are_told_in_the_words_in_which_they_are_written() {
    assert_eq!(
        fault("events: {batch_timeout: 2days}"),
        "rodent.yml:1:25: events.batch_timeout: 2days: out of bounds; expected a duration such as 30s, 5m, 1h30m or 500ms \
         (a bare number is seconds) from 1s to 1day"
    );
    assert_eq!(
        fault("events: {max_disk: 4096}"),
        "rodent.yml:1:20: events.max_disk: 4096: out of bounds; expected a size such as 64MiB, 1GiB or 500MB (a bare number \
         is bytes) from 1MiB to 1TiB"
    );
}

#[test]
fn values_are_read_as_what_they_are() {
    let document =
        Document::parse("f", "a: no\nb: 'x: y'\nc: [1, two]\nd: 1m30s\ne: 30\nf: 1.5GiB\ng: all\nh: |\n  l\n  m\n");
    let mut root = document.root();
    assert_eq!(root.string("a", "", ""), "no");
    assert_eq!(root.optional_string("b", "").as_deref(), Some("x: y"));
    assert_eq!(root.strings("c", &[], ""), ["1", "two"]);
    assert_eq!(root.duration("d", SECOND, SECOND..=DAY, ""), 90 * SECOND);
    assert_eq!(root.optional_duration("e", SECOND..=DAY, ""), Some(30 * SECOND));
    assert_eq!(root.size_or_off("f", None, 0..=u64::MAX, ""), Some(3 << 29));
    assert_eq!(root.several_of("g", &["u"], &["u", "v"], ""), ["u", "v"]);
    assert_eq!(root.string("h", "", ""), "l\nm\n");
    assert_eq!(root.optional_path("i", ""), None);
    drop(root);
    let records = document.finish().expect("no faults");
    let texts: Vec<_> = records.iter().map(SettingRecord::text).collect();
    assert_eq!(texts, ["no", "x: y", "[1, two]", "1m30s", "30s", "1536MiB", "all", "l\nm\n", ""]);
    assert_eq!((records.iter().count(), records.set()), (9, 8));
}

#[test]
fn names_of_the_files_own_choice_have_values_as_json_has_them() {
    let document = Document::parse("f", "a: {is.ok: true, n: 7, word: '7', text: seven, last: x}\nb: {c: [d], e:}\n");
    let mut root = document.root();
    let values = root.values("a", "");
    let expected = [("is.ok", json!(true)), ("n", json!(7)), ("word", json!("7")), ("text", json!("seven"))];
    assert_eq!(values[..4], expected.map(|(name, value)| (name.to_owned(), value)));
    assert!(root.values("b", "").is_empty());
    drop(root);
    let faults: Vec<_> = document.finish().expect_err("two").iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "f:2:8: b: a list: `c` has no value; expected names with a value each, such as {name: value}",
            "f:2:14: b: `e` has no value; expected names with a value each, such as {name: value}",
        ]
    );
}

#[test]
fn a_fault_in_a_value_gives_the_default() {
    let document = Document::parse("f", "a: five\nb: maybe\n");
    let mut root = document.root();
    assert_eq!(root.integer("a", 7, 1..=9, ""), 7);
    assert!(root.switch("b", true, "").on);
    assert_eq!(document.finish().expect_err("faults").iter().count(), 2);
}

#[test]
fn an_empty_table_gives_its_defaults() {
    let mut table = Table::empty();
    assert_eq!(table.table("a", "").integer("b", 3, 1..=5, ""), 3);
    assert!(!table.has("a"));
}

#[test]
fn a_kept_part_is_read_again_as_often_as_needed() {
    let document = Document::parse("f", "a: {b: {c: 5}}");
    let part = document.root().table("a", "").part();
    for _ in 0..2 {
        assert_eq!(part.open().table("b", "").integer("c", 1, 1..=9, ""), 5);
    }
}

#[test]
fn a_table_can_go_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Table>();
    is_send::<Part>();
}

#[test]
fn a_fault_of_a_room_stands_where_the_key_or_its_table_stands() {
    let document = Document::parse("f", "a:\n  b: 5\n");
    let mut table = document.root().table("a", "");
    table.integer("b", 1, 1..=9, "");
    table.fault("b", "is odd".into());
    table.fault("c", "is missing".into());
    let faults: Vec<_> = document.finish().expect_err("faults").iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["f:1:1: a.c: is missing", "f:2:6: a.b: 5: is odd"]);
}

mod files {
    use std::{fs, path::PathBuf};

    use super::*;

    fn written(files: &[&[u8]]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let directory = tempfile::tempdir().expect("a directory");
        let paths: Vec<_> = (0..files.len()).map(|number| directory.path().join(format!("{number}.yml"))).collect();
        for (path, bytes) in paths.iter().zip(files) {
            fs::write(path, bytes).expect("a file");
        }
        (directory, paths)
    }

    fn told(paths: &[PathBuf]) -> Vec<String> {
        let document = Document::open(paths, &[]);
        document.root().table("a", "").integer("b", 1, 1..=9, "");
        let faults = document.finish().expect_err("faults");
        let name = |file: &str| file.rsplit('/').next().unwrap_or_default().to_owned();
        faults
            .iter()
            .map(|fault| SettingFault { file: fault.file.as_deref().map(name), ..fault.clone() }.to_string())
            .collect()
    }

    #[test]
    fn variables_win_over_files_and_their_names_are_the_place_of_what_is_wrong() {
        let (_directory, paths) = written(&[b"a: {b: 2, c: {d: x}, l: [1, 2]}"]);
        let variable = |name: &str, key: &[&str], value: &str| Variable {
            name: name.to_owned(),
            key: key.iter().map(|part| (*part).to_owned()).collect(),
            value: value.to_owned(),
        };
        let read = |variables: &[Variable]| {
            let document = Document::open(&paths, variables);
            let mut table = document.root().table("a", "");
            let (b, l) = (table.integer("b", 1, 1..=9, ""), table.strings("l", &[], ""));
            let d = table.table("c", "").string("d", "", "");
            drop(table);
            ((b, d, l), document.finish())
        };
        let set = [variable("A__B", &["a", "b"], "3"), variable("A__C__D", &["a", "c", "d"], "\"y, {z}\"")];
        let ((b, d, l), records) = read(&set);
        assert_eq!((b, d.as_str(), l), (3, "y, {z}", vec!["1".to_owned(), "2".to_owned()]));
        let records = records.expect("no faults");
        assert_eq!(records.get("a.b").expect("a record").origin.to_string(), "A__B");
        assert!(records.get("a.c.d").expect("a record").origin.is_written());
        let wrong = [
            variable("A__B", &["a", "b"], "12"),
            variable("A__BB", &["a", "bb"], "[1"),
            variable("A__M", &["a", "m"], "1"),
        ];
        let told = |variables: &[Variable]| read(variables).1.expect_err("faults").to_string();
        assert_eq!(told(&wrong[..1]), "A__B: a.b: 12: expected a whole number from 1 to 9");
        assert!(told(&wrong[1..2]).starts_with("A__BB: "), "{}", told(&wrong[1..2]));
        assert!(told(&wrong[2..]).starts_with("A__M: a.m: unknown key"), "{}", told(&wrong[2..]));
    }

    #[test]
    fn later_files_win_key_by_key_and_empty_ones_change_nothing() {
        let (_directory, paths) = written(&[b"a: {b: 2, c: x, l: [1, 2]}", b"a:\n", b"", b"a: {b: 3, l: [9]}"]);
        let document = Document::open(&paths, &[]);
        let mut table = document.root().table("a", "");
        assert_eq!(table.integer("b", 1, 1..=9, ""), 3);
        assert_eq!(table.string("c", "", ""), "x");
        assert_eq!(table.strings("l", &[], ""), ["9"]);
        drop(table);
        let records = document.finish().expect("no faults");
        assert!(records.get("a.b").expect("a record").origin.to_string().ends_with("3.yml:1"));
        assert!(records.get("a.c").expect("a record").origin.to_string().ends_with("0.yml:1"));
    }

    #[test]
    fn a_key_that_a_later_file_replaces_is_still_known_to_be_one() {
        let (_directory, paths) = written(&[b"x: 1", b"a: {b: ten}\nx: 2"]);
        assert_eq!(
            told(&paths),
            [
                "1.yml:1:8: a.b: ten: expected a whole number from 1 to 9",
                "1.yml:2:1: x: unknown key; did you mean `a`?"
            ]
        );
    }

    #[test]
    fn files_that_are_no_text_or_too_long_are_told_by_name() {
        let long = vec![b'#'; usize::try_from(FILE_BYTES_MAX).expect("a size") + 1];
        let (directory, mut paths) = written(&[b"a: {b: 2}\nx: \xff", &long, b"a: ["]);
        paths.push(directory.path().join("missing.yml"));
        paths.push(directory.path().to_path_buf());
        let told = told(&paths);
        assert_eq!(told.len(), 5, "{told:?}");
        assert_eq!(told[0], "0.yml:2:4: not UTF-8 text; save the file in that encoding");
        assert_eq!(told[1], "1.yml: longer than 1048576 bytes; this is no configuration");
        assert!(told[2].starts_with("2.yml:"), "{}", told[2]);
        assert_eq!(told[3], "missing.yml: cannot be read: no such file or directory");
        assert!(told[4].ends_with(": cannot be read: is a directory"), "{}", told[4]);
    }

    #[test]
    fn a_file_as_long_as_may_be_is_read() {
        let mut text = b"a: {b: 2}\n".to_vec();
        text.resize(usize::try_from(FILE_BYTES_MAX).expect("a size"), b'#');
        let (_directory, paths) = written(&[&text]);
        let document = Document::open(&paths, &[]);
        assert_eq!(document.root().table("a", "").integer("b", 1, 1..=9, ""), 2);
        assert!(document.finish().is_ok());
    }

    #[test]
    fn too_many_files_are_refused() {
        let (_directory, paths) = written(&[b""]);
        let many = vec![paths[0].clone(); FILES_MAX + 1];
        assert_eq!(told(&many), ["257 configuration files; 256 are the most"]);
    }
}
