//! The annotated sample of the configuration: it is right, it says what is true, and no mistake in it goes unseen.

mod documents;
mod mistakes;
mod schema;

use std::collections::BTreeSet;

use proptest::prelude::*;
use rodent::{
    agent::config::{Config, Loaded},
    settings::SettingOrigin,
};

const SAMPLE: &str = include_str!("../../packaging/config/rodent.yml");

/// Parts that have no defaults, and whose lines are therefore examples.
const WITHOUT_DEFAULT: [&str; 2] = ["controller", "beat"];
/// A key that excludes another one of the sample.
const ONLY_IN_PROSE: &str = "controller.jwt";

fn load(text: &str) -> Loaded {
    Config::parse("sample.yml", text).unwrap_or_else(|faults| panic!("{faults}\n---\n{text}"))
}

fn faults(text: &str) -> Vec<String> {
    match Config::parse("sample.yml", text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

/// The sample with every setting in force, line by line the same; with or without the parts that have no defaults.
fn uncommented(with_examples: bool) -> String {
    let mut in_examples = false;
    let mut text = String::new();
    for line in SAMPLE.lines() {
        let bare = line.strip_prefix('#').filter(|rest| is_setting(rest));
        if let Some(setting) = bare.or(Some(line).filter(|line| is_setting(line))) {
            if !setting.starts_with(' ') {
                in_examples = WITHOUT_DEFAULT.iter().any(|part| setting.starts_with(part));
            }
            text.push_str(if in_examples && !with_examples { line } else { setting });
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// `key:` or `key: value` after an even number of blanks: prose stands one blank after its `#`.
fn is_setting(line: &str) -> bool {
    let setting = line.trim_start();
    let indent = line.len() - setting.len();
    let key = setting.split(':').next().unwrap_or_default();
    let follows = setting.get(key.len()..).unwrap_or_default();
    indent.is_multiple_of(2)
        && !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && (follows == ":" || follows.starts_with(": "))
}

/// What is in force, without where it came from.
fn effective(text: &str) -> Vec<(String, String)> {
    load(text).records.iter().map(|record| (record.key.clone(), record.text())).collect()
}

/// Lines of the full sample that set a value, by number from 1.
fn settings(text: &str) -> Vec<(usize, &str)> {
    let lines = (1..).zip(text.lines());
    lines.filter(|(_, line)| is_setting(line) && !line.trim_end().ends_with(':')).collect()
}

#[test]
fn the_sample_equals_the_defaults_as_it_is_and_with_every_default_in_force() {
    let defaults = effective("");
    assert_eq!(effective(SAMPLE), defaults);
    assert_eq!(effective(&uncommented(false)), defaults);
}

#[test]
fn the_sample_has_every_key() {
    let loaded = load(&uncommented(true));
    let absent: Vec<_> =
        loaded.records.iter().filter(|record| !matches!(record.origin, SettingOrigin::File { .. })).collect();
    let absent: Vec<_> = absent.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(absent, [ONLY_IN_PROSE]);
    let key = ONLY_IN_PROSE.rsplit('.').next().expect("a key");
    assert!(SAMPLE.contains(&format!("`{key}:`")));
}

#[test]
fn the_sample_fits_a_small_terminal_but_for_one_list() {
    let long: Vec<_> = SAMPLE.lines().filter(|line| line.chars().count() > 80 && !line.contains('[')).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn a_misspelt_key_is_found_in_its_line() {
    let text = uncommented(true);
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| is_setting(line)) {
        let key = line.trim_start().split(':').next().expect("a key");
        let column = line.len() - line.trim_start().len() + 1;
        let mutated = replace_line(&text, number, &line.replacen(&format!("{key}:"), &format!("{key}x:"), 1));
        let found = faults(&mutated);
        let place = format!("sample.yml:{number}:{column}: ");
        let fault = found.iter().find(|fault| fault.starts_with(&place)).unwrap_or_else(|| panic!("{line}: {found:?}"));
        assert!(fault.contains(&format!("{key}x: unknown key; did you mean `{key}`?")), "{fault}");
    }
}

#[test]
fn a_key_set_twice_is_found_in_its_line() {
    let text = uncommented(true);
    for (number, line) in settings(&text) {
        let found = faults(&replace_line(&text, number, &format!("{line}\n{line}")));
        let place = format!("sample.yml:{}:", number + 1);
        assert!(
            found.len() == 1 && found[0].starts_with(&place) && found[0].ends_with(&format!("line {number}")),
            "{found:?}"
        );
    }
}

#[test]
fn a_value_of_another_kind_is_found_in_its_line() {
    let text = uncommented(true);
    for (number, line) in settings(&text) {
        let key = line.split(": ").next().expect("a key");
        for wrong in ["{a: b}", "", "~", "[[a]]"] {
            let found = faults(&replace_line(&text, number, &format!("{key}: {wrong}")));
            let place = format!("sample.yml:{number}:");
            assert!(found.iter().any(|fault| fault.starts_with(&place)), "{key}: {wrong}: {found:?}");
        }
    }
}

#[test]
fn all_mistakes_in_a_file_are_told_at_once_and_in_order() {
    let text = uncommented(true);
    let wrong: BTreeSet<usize> = settings(&text).iter().map(|(number, _)| *number).collect();
    let mutated: Vec<_> = (1..)
        .zip(text.lines())
        .map(|(number, line)| match wrong.contains(&number) {
            true => format!("{}: {{a: b}}", line.split(": ").next().expect("a key")),
            false => line.to_owned(),
        })
        .collect();
    let found = Config::parse("sample.yml", &mutated.join("\n")).expect_err("faults");
    let lines: Vec<usize> = found.iter().filter_map(|fault| Some(fault.position?.0 as usize)).collect();
    assert!(lines.is_sorted());
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), wrong);
}

fn replace_line(text: &str, number: usize, by: &str) -> String {
    let lines = (1..).zip(text.lines()).map(|(own, line)| if own == number { by } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// Text that looks like a configuration more often than not.
fn yamlish() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "events",
        "controller",
        "toggle",
        "collectors",
        "profile",
        "jwt",
        "tls",
        "storage",
        "off",
        "on",
        "~",
        "30s",
        "1GiB",
        "100",
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        "\"",
        "|",
        ">",
        "&a",
        "*a",
        "!!str",
        "#",
        "---",
        "...",
        "<<",
        "%YAML 1.2",
        "\t",
        "?",
        "\\",
        "\u{feff}",
        "\0",
        "é",
        "🦫",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in yamlish()) {
        let found = faults(&text);
        prop_assert!(found.iter().all(|fault| fault.starts_with("sample.yml")), "{found:?}");
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("rodent.yml");
        std::fs::write(&file, &bytes).expect("a file");
        if let Err(faults) = Config::load(Some(&file), std::path::Path::new("/")) {
            prop_assert!(!faults.to_string().is_empty());
        }
    }

    #[test]
    fn a_sample_that_is_cut_off_or_damaged_never_makes_reading_panic(at in 0..SAMPLE.len(), byte in any::<u8>()) {
        let full = uncommented(true);
        faults(full.get(..at.min(full.len())).unwrap_or_default());
        let mut bytes = full.into_bytes();
        let at = at.min(bytes.len() - 1);
        bytes[at] = byte;
        faults(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn the_environment_beats_the_files_and_config_show_names_the_variable() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rodent.yml");
    std::fs::write(&file, "events: {batch_size: 100}\ncollectors: {network: off}\n").expect("written");
    let shown = |variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rodent"));
        let done = command.args(["config", "show"]).arg(&file).envs(variables.iter().copied()).output().expect("run");
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr),
        )
    };
    let (code, text) = shown(&[("RODENT_EVENTS__BATCH_SIZE", "200"), ("RODENT_COLLECTORS__NETWORK__ENABLED", "true")]);
    assert_eq!(code, Some(0), "{text}");
    let line = |key: &str| text.lines().find(|line| line.contains(key)).unwrap_or_default().to_owned();
    assert!(line("batch_size").contains("200") && line("batch_size").ends_with("RODENT_EVENTS__BATCH_SIZE"), "{text}");
    let (code, text) = shown(&[("RODENT_EVENTS__BATCH_SIZ", "200")]);
    assert_eq!(code, Some(78), "{text}");
    assert!(
        text.contains("RODENT_EVENTS__BATCH_SIZ: events.batch_siz: unknown key; did you mean `batch_size`?"),
        "{text}"
    );
}
