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
        let of_type = part.strip_prefix("sinks.").map(|of| format!("sinks.NAME` with `type: {of}"));
        let part = of_type.as_deref().unwrap_or(part);
        let section = page.split("\n### ").find(|text| text.trim_start_matches('`').starts_with(part));
        let has_key = |text: &str| text.contains(&format!("\n| `{key}` | "));
        assert!(page.split("\n### ").any(|text| text.contains(part) && has_key(text)), "{}: {section:?}", record.key);
    }
    let examples: Vec<_> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 3);
    for example in examples {
        Config::parse("f", example).unwrap_or_else(|faults| panic!("{faults}\n---\n{example}"));
    }
}
