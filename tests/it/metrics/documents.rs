//! What documentation, alert rules and dashboard say of metrics is what the code has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rodent::{
    agent, controller,
    metrics::{Family, FamilyKind},
};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");
const ALERTS: &str = include_str!("../../../packaging/alerts/rodent.yml");
const ALERT_TESTS: &str = include_str!("../../../packaging/alerts/tests.yml");
const DASHBOARD: &str = include_str!("../../../packaging/grafana/rodent.json");

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

/// Both programs' metrics.
fn all() -> Vec<&'static Family> {
    agent::families().chain(controller::families()).collect()
}

/// The table as it stands in the documentation.
fn table(families: impl Iterator<Item = &'static Family>) -> String {
    let row = |family: &Family| {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = if family.kind == FamilyKind::Info { "info" } else { family.kind.name() };
        format!("| `{}` | {kind} | {} | {} |\n", family.name, labels.join(" "), family.help)
    };
    let head = "| metric | type | labels | what it says |\n|---|---|---|---|\n".to_owned();
    families.fold(head, |table, family| table + &row(family))
}

/// Every name of a metric in a text, less the endings of a histogram's samples.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = words.filter(|word| word.starts_with("rodent_") || word.starts_with("process_"));
    let base = |word: &str| {
        let endings = ["_bucket", "_sum", "_count"];
        let base = endings.iter().find_map(|end| word.strip_suffix(end)).filter(|base| is_histogram(base));
        base.unwrap_or(word).to_owned()
    };
    named.map(base).collect()
}

fn is_histogram(name: &str) -> bool {
    all().iter().any(|family| family.name == name && family.kind == FamilyKind::Histogram)
}

fn unknown(text: &str) -> Vec<String> {
    let known: BTreeSet<_> = all().iter().map(|family| family.name).collect();
    names(text).into_iter().filter(|name| !known.contains(name.as_str())).collect()
}

fn promtool(arguments: &[&str]) {
    let command = Command::new("promtool").args(arguments).stdin(Stdio::null()).output();
    let output = command.expect("promtool is there (tests/e2e/install.sh installs it)");
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}\n{}", String::from_utf8_lossy(&told));
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("JSON")
}

#[test]
fn the_tables_of_the_documentation_are_those_of_the_code() {
    for (whose, table) in [("agent", table(agent::families())), ("controller", table(controller::families()))] {
        assert!(DOCUMENT.contains(&table), "docs/metrics.md must have this table of the {whose}:\n{table}");
    }
}

#[test]
fn names_follow_the_conventions_and_are_not_given_twice() {
    for families in [agent::families().collect::<Vec<_>>(), controller::families().collect()] {
        let mut seen = BTreeSet::new();
        for family in families {
            assert!(seen.insert(family.name), "{} stands there twice", family.name);
            assert_eq!(family.kind == FamilyKind::Counter, family.name.ends_with("_total"), "{}", family.name);
            assert_eq!(family.kind == FamilyKind::Info, family.name.ends_with("_info"), "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains(['\n', '|']), "{}", family.help);
        }
    }
}

#[test]
fn rules_dashboard_and_documentation_name_only_metrics_that_there_are() {
    assert_eq!(unknown(ALERTS), [""; 0]);
    assert_eq!(unknown(ALERT_TESTS), [""; 0]);
    assert_eq!(unknown(DASHBOARD), [""; 0]);
    assert_eq!(unknown(DOCUMENT), [""; 0]);
    assert_eq!(unknown("rodent_ready rodent_moon"), ["rodent_moon"], "it would be found");
}

#[test]
fn the_alert_rules_are_sound_and_each_fires_in_its_test_and_is_explained() {
    let (rules, tests) = (packaged("alerts/rodent.yml"), packaged("alerts/tests.yml"));
    promtool(&["check", "rules", &rules.display().to_string()]);
    promtool(&["test", "rules", &tests.display().to_string()]);
    let (rules, tests) = (yaml(ALERTS), yaml(ALERT_TESTS));
    let groups = rules["groups"].as_array().expect("groups").iter();
    let rules: Vec<_> = groups.flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    assert!(rules.len() > 25, "the rules are found");
    let tests = tests["tests"].as_array().expect("tests");
    let named: BTreeMap<_, _> = tests.iter().map(|test| (test["name"].as_str().expect("a name"), test)).collect();
    for rule in rules {
        let alert = rule["alert"].as_str().expect("a name");
        let fires = named.get(format!("{alert} fires").as_str()).unwrap_or_else(|| panic!("{alert} has no test"));
        let samples = &fires["promql_expr_test"][0]["exp_samples"];
        assert!(samples.as_array().is_some_and(|samples| !samples.is_empty()), "{alert}");
        assert!(named.contains_key(format!("{alert} is silent").as_str()), "{alert} has no test of its silence");
        assert!(DOCUMENT.contains(&format!("| `{alert}` |")), "docs/metrics.md does not explain {alert}");
        assert!(rule["annotations"]["summary"].is_string() && rule["labels"]["severity"].is_string(), "{alert}");
    }
}

#[test]
fn the_dashboard_asks_only_what_prometheus_understands_of_the_data_source_that_is_chosen() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&"datasource".into(), &"datasource".into()));
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    let mut count = 0;
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
            let expression = target["expr"].as_str().expect("a query").replace("$__rate_interval", "5m");
            let expression = expression.replace("$instance", ".*").replace("$controller", ".*");
            assert!(!expression.contains('$'), "{expression}");
            count += 1;
            rules += &format!("  - record: query:{count}\n    expr: {}\n", Value::from(expression));
        }
    }
    assert!(count > 60, "the queries are found");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("queries.yml");
    fs::write(&file, rules).expect("written");
    promtool(&["check", "rules", &file.display().to_string()]);
}

#[test]
fn the_panels_of_the_dashboard_have_numbers_of_their_own_and_do_not_lie_over_each_other() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{}", panel["title"]);
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{}", panel["title"]);
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
    }
    for key in ["title", "uid", "schemaVersion", "time", "refresh"] {
        assert!(!dashboard[key].is_null(), "{key}");
    }
}
