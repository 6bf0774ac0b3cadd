//! The JSON schema of the configuration, by a validator as editors have it: takes what the agent takes, and refuses what is
//! wrong by its structure.

use jsonschema::Validator;
use rodent::agent::config::{Config, schema};
use serde_json::Value;

use super::{SAMPLE, uncommented};

/// Demands that agent and schema take it.
fn valid(text: &str) {
    Config::parse("f", text).unwrap_or_else(|faults| panic!("{faults}\n---\n{text}"));
    let errors: Vec<_> = validator().iter_errors(&document(text)).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n---\n{text}");
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).expect("a schema")
}

/// As an editor reads it.
fn document(text: &str) -> Value {
    serde_saphyr::from_str::<Option<Value>>(text).expect("YAML").unwrap_or_else(|| Value::Object(Default::default()))
}

#[test]
fn the_schema_is_one_by_its_own_standard() {
    assert!(jsonschema::meta::is_valid(&schema()));
}

#[test]
fn the_schema_takes_the_sample_with_and_without_every_setting() {
    valid(SAMPLE);
    valid(&uncommented(true));
    let first = SAMPLE.lines().next().expect("a line");
    assert_eq!(first, "# yaml-language-server: $schema=file:///usr/share/rodent/rodent.schema.json");
}

#[test]
fn the_schema_takes_whatever_the_agent_takes() {
    for text in [
        "",
        "# nothing",
        "events:\ncontroller: {address: 'a:1', token_file: /t}\ncollectors:\n",
        "toggle: {rpcaddr: 'toggle:5000', jwt: eyJ0, tls: off}",
        "controller: {address: 'a:1', jwt: 12345, tls: {enabled: true, server_name: 17}}",
        "controller: {address: 'a:1', token_file: /t, tls: on, call_timeout: 2, keepalive: 1m 30s, backoff_max: 45m}",
        "events: {profile: Minimal, levels: all, categories: [Storage, data_transfer]}",
        "events: {levels: [ERROR, warn], urgent_share: 40, history: off, max_age: OFF, max_disk: 134217728}",
        "events: {urgent_share: '90%', history: 'off', max_age: 30d, max_disk: 1.5 GiB, flush_interval: 500ms}",
        "events: {history: false, max_age: 2days 3h, max_disk: 500MB, batch_timeout: 30}",
        "collectors: {network: off, service: 'OFF', storage: on, system: false}",
        "collectors: {network: true, service: {enabled: false}, system: {heartbeat: off}}",
        "collectors: {network: {exclude: [lo, 'veth*', 17]}, storage: {capacity: {warn: 70, critical: 95}}}",
        "subscriptions: [{on: storage, to: [https://example.com/, 'consumer:x']}]",
        "sinks: {a: {type: webhook, url: 'http://b/'}}\nsubscriptions: [{on: [storage, system], to: a, timeout: 5s, retry: {attempts: 3, backoff: [1m]}}]",
        "subscriptions:",
        "log: {level: DEBUG}\nstate_directory: /srv/rodent\nsocket: /run/x",
    ] {
        valid(text);
    }
}

#[test]
fn the_schema_refuses_what_is_wrong_by_its_structure_as_the_agent_does() {
    let validator = validator();
    for text in [
        "evnets: {}",
        "events: {batch_sise: 3}",
        "controller: {adress: 'a:1'}",
        "controller: {address: 'a:1', token_file: token}",
        "controller: {address: 'a:1', token_file: /t}\ntoggle: {address: 'a:1', token_file: /t}",
        "controller: {address: 'a:1', rpcaddr: 'a:1', token_file: /t}",
        "events: [profile]",
        "events: loud",
        "events: {profile: huge}",
        "events: {levels: error}",
        "events: {levels: []}",
        "events: {levels: [loud]}",
        "events: {categories: [moon]}",
        "events: {batch_size: 0}",
        "events: {batch_size: 10001}",
        "events: {batch_size: '100'}",
        "events: {batch_size: 1.5}",
        "events: {batch_size: {a: b}}",
        "events: {urgent_share: 91}",
        "events: {urgent_share: half}",
        "events: {flush_interval: soon}",
        "events: {flush_interval: off}",
        "events: {flush_interval: 10000}",
        "events: {max_disk: 4M}",
        "events: {max_disk: 1}",
        "events: {max_disk: off}",
        "events: {max_age: yes}",
        "collectors: {moon: on}",
        "collectors: {network: maybe}",
        "collectors: {network: {enabled: perhaps}}",
        "collectors: {network: {exclude: lo}}",
        "collectors: {storage: {capacity: {wran: 3}}}",
        "state_directory: here",
        "subscriptions: {on: storage, to: a}",
        "subscriptions: [{on: storage, too: a}]",
        "subscriptions: [{on: {a: b}, to: 'consumer:x'}]",
        "log: {level: loud}",
        "log: {level: [info]}",
        "[events]",
    ] {
        assert!(Config::parse("f", text).is_err(), "the agent takes it: {text}");
        assert!(!validator.is_valid(&document(text)), "the schema takes it: {text}");
    }
}

#[test]
fn the_schema_refuses_every_misspelt_key_of_the_sample() {
    let (validator, text) = (validator(), uncommented(true));
    for (number, line) in text.lines().enumerate() {
        let key = line.trim_start().split(':').next().unwrap_or_default();
        if line.starts_with('#') || key.is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let wrong = |(own, other): (usize, &str)| match own == number {
            true => other.replacen(&format!("{key}:"), &format!("{key}x:"), 1),
            false => other.to_owned(),
        };
        let mutated: Vec<_> = text.lines().enumerate().map(wrong).collect();
        assert!(!validator.is_valid(&document(&mutated.join("\n"))), "{line}");
    }
}
