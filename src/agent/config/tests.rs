//! What a configuration is taken for, and what is refused.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use super::*;
use crate::{
    event::Level,
    settings::SettingOrigin,
    sinks::uplink::{Patience, Tls, TokenSource},
};

fn config(text: &str) -> Config {
    Config::parse("rodent.yml", text).unwrap_or_else(|faults| panic!("{faults}")).config
}

fn faults(text: &str) -> Vec<String> {
    let faults = Config::parse("rodent.yml", text).expect_err("a configuration that is refused");
    faults.iter().map(ToString::to_string).collect()
}

/// Writes files below a root of their own.
fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = root.path().join(name.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
        fs::write(&path, text).expect("a file");
    }
    root
}

#[test]
fn the_four_profiles_have_the_values_that_users_know() {
    for (name, buffer, threshold, batch, timeout, interval) in [
        ("default", 20_000, 18_000, 100, 30, 1_000),
        ("high-throughput", 50_000, 45_000, 500, 60, 1_000),
        ("low-latency", 5_000, 4_000, 50, 5, 200),
        ("minimal", 2_000, 1_800, 25, 30, 10_000),
    ] {
        let events = config(&format!("events: {{profile: {name}}}")).events;
        assert_eq!(
            (events.buffer_size, events.flush_threshold, events.batch_size),
            (buffer, threshold, batch),
            "{name}"
        );
        assert_eq!(events.batch_timeout, Duration::from_secs(timeout), "{name}");
        assert_eq!(events.flush_interval, Duration::from_millis(interval), "{name}");
        assert_eq!((events.max_disk, events.max_age, events.history), (1 << 30, None, Some(64 << 20)), "{name}");
        assert_eq!(events.levels.contains(&Level::Info), name != "minimal", "{name}");
        assert_eq!(events.categories.len(), 10, "{name}");
        assert_eq!(events, events.profile.settings(), "{name}");
    }
    let minimal = config("events: {profile: minimal}").events;
    assert_eq!(minimal.levels, [Level::Error, Level::Critical, Level::Essential]);
}

#[test]
fn a_knob_set_by_hand_beats_its_profile_and_says_so() {
    let loaded = Config::parse("rodent.yml", "events:\n  profile: minimal\n  batch_timeout: 5\n").expect("valid");
    assert_eq!(loaded.config.events.batch_timeout, Duration::from_secs(5));
    assert_eq!(loaded.config.events.batch_size, 25);
    let origin = |key| loaded.records.get(key).map(|record| record.origin.to_string());
    assert_eq!(origin("events.batch_timeout").as_deref(), Some("rodent.yml:3"));
    assert_eq!(origin("events.batch_size").as_deref(), Some("profile minimal"));
    assert_eq!(origin("events.max_disk").as_deref(), Some("default"));
}

#[test]
fn nothing_configured_means_the_defaults_and_no_controller() {
    let config = config("");
    assert!(config.controller.is_none());
    assert_eq!(config.events, Profile::Default.settings());
    assert_eq!(config.state_directory, Path::new(STATE_DIRECTORY));
    assert_eq!(config.socket, Path::new(SOCKET));
    assert_eq!(config.log_level, tracing::Level::INFO);
    assert_eq!(config.collectors.len(), collectors::ALL.len());
}

#[test]
fn a_controller_is_read_with_tls_on_by_default() {
    let config = config("controller:\n  address: c.example.com:443\n  token_file: /etc/rodent/token\n");
    let controller = config.controller.expect("a controller");
    assert_eq!(controller.address, "c.example.com:443");
    assert!(matches!(controller.token, TokenSource::File(path) if path == Path::new("/etc/rodent/token")));
    assert!(matches!(controller.tls, Tls::On { ca_file: None, cert_file: None, key_file: None, server_name: None }));
    assert_eq!(controller.patience, Patience::default());
}

#[test]
fn what_systemd_gives_the_service_stands_in_for_what_the_file_does_not_say() {
    let given = "/run/credentials/rodent.service";
    let credentials: Vec<_> =
        ["token", "ca", "cert", "key"].iter().map(|name| format!("{given}/rodent-{name}")).collect();
    let load = |text: &str| {
        let mut files: Vec<_> = credentials.iter().map(|path| (path.as_str(), "secret")).collect();
        files.push(("/etc/rodent/rodent.yml", text));
        let root = root(&files);
        let file = root.path().join("etc/rodent/rodent.yml");
        fs::set_permissions(file, fs::Permissions::from_mode(0o640)).expect("a mode");
        let loaded = Config::load(None, root.path()).unwrap_or_else(|faults| panic!("{faults}"));
        let text = |key: &str| {
            let record = loaded.records.get(key).expect("a record");
            format!("{} {}", record.text().replace(&root.path().display().to_string(), ""), record.origin)
        };
        ["token_file", "tls.ca_file", "tls.cert_file", "tls.key_file"].map(|key| text(&format!("controller.{key}")))
    };
    assert_eq!(
        load("controller: {address: 'a:1'}"),
        [0, 1, 2, 3].map(|number: usize| format!("{} systemd credential", credentials[number]))
    );
    let set = load("controller: {address: 'a:1', jwt: x, tls: {ca_file: /ca, cert_file: /c, key_file: /k}}");
    assert!(set[0].ends_with(" default") && set[1].starts_with("/ca ") && set[2].starts_with("/c "), "{set:?}");
    assert!(set[3].starts_with("/k "), "{set:?}");
    let off = load("controller: {address: 'a:1', tls: off}");
    assert!(off[0].starts_with(given) && off[1..].iter().all(|text| text == " default"), "{off:?}");
}

#[test]
fn what_is_written_for_toggle_is_understood() {
    let config = config("toggle: {rpcaddr: 'toggle:5000', jwt: eyJ0, tls: off}");
    let controller = config.controller.expect("a controller");
    assert_eq!(controller.address, "toggle:5000");
    assert!(matches!(controller.token, TokenSource::Inline(token) if token.reveal() == "eyJ0"));
    assert!(matches!(controller.tls, Tls::Off));
}

#[test]
fn tls_off_is_understood_as_older_tools_write_it() {
    for off in ["off", "Off", "false", "{enabled: false}"] {
        let text = format!("controller: {{address: 'a:1', token_file: /t, tls: {off}}}");
        assert!(matches!(config(&text).controller.expect("a controller").tls, Tls::Off), "{off}");
    }
}

#[test]
fn both_names_at_once_are_refused() {
    let both = "controller:\n  address: a:1\n  rpcaddr: b:1\n  token_file: /t\ntoggle:\n  rpcaddr: c:1\n";
    assert_eq!(
        faults(both),
        [
            "rodent.yml:3:3: controller.rpcaddr: another name of `address`, which is set in line 2; keep one of them",
            "rodent.yml:5:1: toggle: another name of `controller`, which is set in line 1; keep one of them",
        ]
    );
}

#[test]
fn a_controller_without_address_or_token_is_refused() {
    assert_eq!(
        faults("toggle:\n"),
        [
            "rodent.yml:1:1: toggle.address: missing; expected host:port, such as controller.example.com:443",
            "rodent.yml:1:1: toggle.token_file: missing; expected the path of the file that holds this node's token, or the \
             credential `rodent-token` of the service",
        ]
    );
    assert_eq!(
        faults("controller: {address: 'https://c:443', token_file: token}"),
        [
            "rodent.yml:1:23: controller.address: https://c:443: expected host:port, such as controller.example.com:443",
            "rodent.yml:1:52: controller.token_file: expected an absolute path",
        ]
    );
}

#[test]
fn two_tokens_are_one_fault() {
    for text in [
        "controller:\n  address: a:1\n  token_file: /t\n  jwt: x\n",
        "controller:\n  address: a:1\n  jwt: x\n  token_file: /t\n",
    ] {
        let [fault] = &faults(text)[..] else { panic!("{:?}", faults(text)) };
        assert!(fault.contains("controller.jwt: a second token beside `token_file`, which is /t (line "), "{fault}");
    }
}

#[test]
fn impossible_combinations_name_both_keys_and_both_places() {
    assert_eq!(
        faults("events:\n  buffer_size: 5000\n  flush_threshold: 6000\n"),
        ["rodent.yml:3:20: events.flush_threshold: 6000: more than `buffer_size`, which is 5000 (line 2); change one \
             of them"]
    );
    assert_eq!(
        faults("events: {profile: minimal, flush_threshold: 5000}"),
        ["rodent.yml:1:45: events.flush_threshold: 5000: more than `buffer_size`, which is 2000 (profile minimal); \
             change one of them"]
    );
    assert_eq!(
        faults("events: {buffer_size: 5000}"),
        ["rodent.yml:1:23: events.buffer_size: 5000: less than `flush_threshold`, which is 18000 (default); change \
             one of them"]
    );
    assert_eq!(
        faults("events: {history: 2GiB}"),
        ["rodent.yml:1:19: events.history: 2GiB: more than `max_disk`, which is 1GiB (default); change one of them"]
    );
    assert_eq!(
        faults("controller: {address: 'a:1', token_file: /t, tls: {cert_file: /c}}"),
        ["rodent.yml:1:63: controller.tls.cert_file: /c: useless without `key_file`; set both or neither"]
    );
}

#[test]
fn the_share_of_urgent_events_is_a_percentage_with_or_without_its_sign() {
    let share = |text: &str| config(&format!("events: {{urgent_share: {text}}}")).events.urgent_share;
    assert_eq!((share("0"), share("40%"), share("'90%'"), config("").events.urgent_share), (0, 40, 90, 25));
    for wrong in ["91%", "-1", "+5%", "5.5%", "half", "'%'"] {
        let told = faults(&format!("events: {{urgent_share: {wrong}}}"));
        let wrong = wrong.trim_matches('\'');
        let expected = "expected a whole number of percent from 0% to 90%";
        assert_eq!(told, [format!("rodent.yml:1:24: events.urgent_share: {wrong}: {expected}")]);
    }
    let loaded = Config::parse("rodent.yml", "events: {urgent_share: 30}").expect("valid");
    assert_eq!(loaded.records.get("events.urgent_share").map(|record| record.text()).as_deref(), Some("30%"));
}

#[test]
fn a_value_that_was_refused_is_not_refused_again_by_a_rule() {
    assert_eq!(
        faults("events: {buffer_size: few, flush_threshold: 30000}"),
        ["rodent.yml:1:23: events.buffer_size: few: expected a whole number from 10 to 1000000"]
    );
}

#[test]
fn no_message_shows_a_token() {
    let texts = [
        "controller: {address: 'a:1', jwt: hunter2, token_file: /t}",
        "controller: {address: 'a:1', token_file: /t, jwt: hunter2}",
        "controller: {address: a, jwt: hunter2}",
        "controller: {address: 'a:1', jwt: [hunter2]}",
        "controller: {address: 'a:1', jwt: \"hunter2\\n\"}",
        "controller: {address: 'a:1', jwt: hunter2, jwt: hunter2}",
        "controller: {address: 'a:1', token_file: /t, jtw: hunter2}",
        "controller: {address: 'a:1', jwt: hunter2}\ntoggle: {jwt: hunter2}",
        "controller:\n  jwt: hunter2\n bad",
        "toggle:\n  jwt: \"hunter2\n",
    ];
    for text in texts {
        let shown = faults(text).join("\n");
        assert!(!shown.is_empty() && !shown.contains("hunter2"), "{shown}");
    }
    let loaded = Config::parse("f", "controller: {address: 'a:1', jwt: hunter2}").expect("valid");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert_eq!(loaded.records.get("controller.jwt").expect("a record").text(), "(secret)");
}

#[test]
fn no_picture_of_a_mistake_shows_a_token() {
    for text in [
        "controller:\n  jwt hunter2\n  address: a:1\n",
        "controller:\n  jwt:hunter2\n  address: a:1\n",
        "controller:\n  jwt=hunter2\n  address: a:1\n",
        "controller:\n  jwt: 'hunter2\n  address: a:1\n",
        "controller:\n  jwt: hunter2: x\n  address: a:1\n",
        "controller:\n  address: a:1\n   jwt: hunter2\n",
        "controller:\n  address: a:1\njwt: hunter2\n  tls: off\n",
        "controller: {jwt: hunter2, address: [a\n",
        "controller: {jwt: hunter2, address: a]\n",
        "controller:\n  jwt:\n    hunter2\n    @\n  address a\n",
        "controller:\n\tjwt: hunter2\n",
    ] {
        let shown = Config::parse("f", text).expect_err("refused").pictured();
        assert!(!shown.contains("hunter2"), "{text}: {shown}");
    }
}

#[test]
fn a_token_in_a_file_that_everyone_may_read_is_refused() {
    let root = root(&[("/rodent.yml", "toggle: {rpcaddr: 'a:1', jwt: hunter2}")]);
    let file = root.path().join("rodent.yml");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
    mode(0o644);
    let refused = Config::load(Some(&file), Path::new("/")).expect_err("refused").to_string();
    assert!(
        refused.contains(":1:26: toggle.jwt: holds a secret, but everyone may read the file; `chmod o= "),
        "{refused}"
    );
    mode(0o640);
    assert!(Config::load(Some(&file), Path::new("/")).is_ok());
}

#[test]
fn a_missing_standard_file_means_defaults_and_a_missing_named_one_is_a_fault() {
    let root = root(&[]);
    assert!(Config::load(None, root.path()).expect("the defaults").config.controller.is_none());
    let named = root.path().join("other.yml");
    let faults = Config::load(Some(&named), root.path()).expect_err("a fault").to_string();
    assert_eq!(faults, format!("{}: cannot be read: no such file or directory", named.display()));
}

#[test]
fn drop_ins_are_laid_over_by_name_and_the_administrators_beats_its_namesakes() {
    let root = root(&[
        ("/etc/rodent/rodent.yml", "events: {profile: minimal, batch_size: 1, batch_timeout: 1s}"),
        ("/usr/lib/rodent/rodent.d/10-vendor.yml", "events: {batch_size: 2, max_disk: 2GiB}"),
        ("/usr/lib/rodent/rodent.d/30-same.yml", "log: {level: trace}"),
        ("/run/rodent.d/30-same.yml", "log: {level: debug}"),
        ("/etc/rodent/rodent.d/30-same.yml", "log: {level: warn}"),
        ("/run/rodent.d/20-run.yml", "events: {batch_size: 3}\nlog: {level: error}"),
        ("/etc/rodent/rodent.d/README", "not: [yaml"),
        ("/etc/rodent/rodent.d/40-late.yaml", "log: {level: trace}"),
        ("/etc/rodent/rodent.d/.50-editor.yml", "not: [yaml"),
    ]);
    let loaded = Config::load(None, root.path()).unwrap_or_else(|faults| panic!("{faults}"));
    let named = Config::load(Some(&root.path().join("etc/rodent/rodent.yml")), root.path()).expect("the same");
    assert_eq!((named.files, named.config.events), (loaded.files.clone(), loaded.config.events.clone()));
    assert_eq!(loaded.ignored, [root.path().join("etc/rodent/rodent.d/40-late.yaml")], "not read, and said so");
    let config = loaded.config;
    assert_eq!((config.events.profile, config.events.batch_size), (Profile::Minimal, 3));
    assert_eq!((config.events.batch_timeout, config.events.max_disk), (Duration::from_secs(1), 2 << 30));
    assert_eq!(config.log_level, tracing::Level::WARN);
    let origin = &loaded.records.get("events.batch_size").expect("a record").origin;
    assert!(matches!(origin, SettingOrigin::File { file, line: 1, .. } if file.ends_with("20-run.yml")), "{origin}");
}

#[test]
fn faults_of_several_files_are_told_together_with_their_files() {
    let root = root(&[
        ("/etc/rodent/rodent.yml", "events: {batch_size: none}"),
        ("/etc/rodent/rodent.d/10.yml", "event: {}\nevents:\n  flush_threshold: 30000"),
    ]);
    let text = Config::load(None, root.path()).expect_err("faults").to_string();
    let lines: Vec<_> = text.lines().filter_map(|line| line.split("/etc/rodent/").nth(1)).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("rodent.yml:1:22: events.batch_size: none: expected"), "{text}");
    assert_eq!(lines[1], "rodent.d/10.yml:1:1: event: unknown key; did you mean `events`?");
    assert!(lines[2].starts_with("rodent.d/10.yml:3:20: events.flush_threshold: 30000: more than"), "{text}");
}

#[test]
fn each_collector_can_be_turned_off_and_is_made_anew_with_each_call() {
    for spec in collectors::ALL {
        for off in ["off", "false", "{enabled: false}"] {
            let config = config(&format!("collectors: {{{}: {off}}}", spec.name));
            let own = config.collectors.iter().find(|own| own.spec.name == spec.name).expect("its settings");
            assert!(!own.enabled, "{}: {off}", spec.name);
            drop((own.build(), own.build()));
        }
        let unknown = faults(&format!("collectors:\n  {}:\n    no_such_key: 1\n", spec.name));
        assert!(unknown[0].starts_with("rodent.yml:3:5: collectors."), "{unknown:?}");
    }
    let unknown = faults("collectors: {moon: on}");
    assert!(unknown[0].starts_with("rodent.yml:1:14: collectors.moon: unknown key; "), "{unknown:?}");
}

#[test]
fn an_agent_that_no_file_configures_has_its_own_places() {
    let config = Config::default_for("/tmp/a".into(), "/tmp/a/socket".into(), None).config;
    assert_eq!(
        (config.state_directory.as_path(), config.socket.as_path()),
        (Path::new("/tmp/a"), Path::new("/tmp/a/socket"))
    );
}

#[test]
fn how_long_the_uplink_waits_is_for_the_operator_to_say_within_reason() {
    let text = "controller: {address: 'a:1', token_file: /t, call_timeout: 2s, keepalive: 5m, backoff_max: 1h}";
    let patience = config(text).controller.expect("a controller").patience;
    let seconds = [patience.call_timeout, patience.keepalive, patience.backoff_max].map(|wait| wait.as_secs());
    assert_eq!(seconds, [2, 300, 3600]);
    let wrong = "controller: {address: 'a:1', token_file: /t, call_timeout: 1h, keepalive: 0, backoff_max: 100ms}";
    assert_eq!(faults(wrong).len(), 3);
}
