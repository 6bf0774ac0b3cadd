//! What describes the configuration is made of the code, and says what the code does: `docs/configuration.md` and
//! `packaging/schema/rodent.schema.json`. Written anew by
//!
//! ```text
//! RODENT_WRITE_DOCUMENTS=1 cargo test --test it config::documents
//! ```

use std::{fs, path::Path};

use rodent::agent::config::{Config, reference, schema};

/// Says that committed files are to be written and not compared.
const WRITE: &str = "RODENT_WRITE_DOCUMENTS";

fn hold(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, text).expect("written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let path = path.display();
    assert!(
        committed == text,
        "{path} is not what the code says: run `{WRITE}=1 cargo test --test it config::documents`"
    );
}

#[test]
fn the_reference_is_what_the_code_says() {
    hold("docs/configuration.md", &reference::markdown());
}

#[test]
fn the_schema_is_what_the_code_says() {
    hold("packaging/schema/rodent.schema.json", &(serde_json::to_string_pretty(&schema()).expect("JSON") + "\n"));
}

#[test]
fn the_reference_has_every_key_and_its_examples_are_valid() {
    let page = reference::markdown();
    for record in reference::keys().iter() {
        let (part, key) = record.key.rsplit_once('.').unwrap_or(("At the top", &record.key));
        // Each type of a sink has its own table of keys.
        let of_type = part.strip_prefix("sinks.").map(|of| match of.split_once('.') {
            None => format!("sinks.NAME` with `type: {of}"),
            Some((_, below)) => format!("sinks.NAME.{below}"),
        });
        // Of a list the first is like all others.
        let part = of_type.unwrap_or_else(|| part.replace("[0]", "[]"));
        let section = page.split("\n### ").find(|text| text.trim_start_matches('`').starts_with(&part));
        let has_key = |text: &str| text.contains(&format!("\n| `{key}` | "));
        assert!(page.split("\n### ").any(|text| text.contains(&part) && has_key(text)), "{}: {section:?}", record.key);
    }
}

/// Every page that people read, by its name.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).expect("the documents").map(|entry| entry.expect("a page").path());
    let pages = docs.chain([root.join("README.md")]).filter(|path| path.extension().is_some_and(|it| it == "md"));
    pages.map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("a text"))).collect()
}

/// Configurations that a page shows: fenced as YAML, or set in by four blanks.
fn examples(page: &str) -> Vec<String> {
    let fenced = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned);
    let set_in = page.split("\n\n").filter_map(|block| {
        let lines: Option<Vec<_>> = block.lines().map(|line| line.strip_prefix("    ")).collect();
        let text = lines?.join("\n");
        // What a shell is to write into a file stands in between.
        let text = text
            .split_once("<<END\n")
            .and_then(|(_, rest)| Some(rest.split_once("\nEND")?.0.to_owned()))
            .unwrap_or(text);
        let is_part = |part: &str| text.strip_prefix(part).is_some_and(|rest| rest.starts_with(':'));
        ["controller", "events", "collectors", "sinks", "subscriptions", "metrics", "log"]
            .iter()
            .any(|part| is_part(part))
            .then_some(text)
    });
    fenced.chain(set_in).collect()
}

#[test]
fn every_configuration_that_a_page_shows_is_valid() {
    let mut count = 0;
    for (name, page) in pages() {
        for example in examples(&page) {
            // A shell puts its directory there.
            let example = example.replace("$PWD", "/tmp/rodent");
            Config::parse("f", &example).unwrap_or_else(|faults| panic!("{name}: {faults}\n---\n{example}"));
            count += 1;
        }
    }
    assert!(count > 8, "of {count} examples");
}

#[test]
fn the_example_about_storage_keeps_whatever_the_collector_tells_of_storage() {
    let page = reference::markdown();
    let example = examples(&page).into_iter().find(|text| text.contains("categories: [storage")).expect("an example");
    let config = Config::parse("f", &example).expect("valid").config;
    let storage = config.collectors.iter().find(|own| own.spec.name == "storage").expect("the collector");
    assert!(storage.enabled);
    // What the collector says of itself is of the category `system`.
    for kind in storage.spec.emits.iter().filter(|kind| !kind.starts_with("system.")) {
        let category = kind.split('.').next().unwrap_or_default();
        assert!(config.events.categories.iter().any(|kept| kept == category), "{kind} is dropped");
    }
}
