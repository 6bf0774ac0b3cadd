//! A program that is not ours on the agent's socket: Google's gRPC for Python over its C core, which names the path of the
//! socket, percent-encoded, as the authority of each call.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    container::source,
    foreign::python,
    process::{Process, wait},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// What client.py emits, half of it in a stream.
const EVENTS: usize = 200;

#[test]
fn a_client_of_others_needs_no_option_to_use_the_socket() {
    let directory = tempfile::tempdir().expect("make a directory");
    // Characters that an authority may hold once or only encoded.
    let (here, odd) = (directory.path(), directory.path().join("räume & 100%"));
    let (socket, config, generated) = (odd.join("a:b[c].sock"), here.join("rodent.yml"), here.join("generated"));
    fs::create_dir(&generated).expect("make the directory for generated code");
    let settings = json!({ "state_directory": here.join("state"), "socket": socket });
    // JSON is YAML.
    fs::write(&config, settings.to_string()).expect("write the configuration");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_rodent"));
    agent.arg("agent").arg("--config").arg(config).env_remove("NOTIFY_SOCKET");
    let _agent = Process::start(&mut agent, &here.join("agent.log"));
    wait("the agent listens", PATIENCE, || socket.exists().then_some(()));

    let mut client = Command::new(python());
    client.arg(source("tests/e2e/foreign/client.py")).arg(source("")).arg(generated);
    client.arg(format!("unix:{}", percent_encoded(&socket.to_string_lossy()))).stdin(Stdio::null());
    client.env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = client.output().expect("start Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("the client prints JSON");
    let numbers: Vec<usize> = (0..EVENTS).collect();
    for (what, expected) in [
        ("accepted", json!(EVENTS)),
        ("queried", json!(numbers)),
        ("followed", json!(numbers)),
        ("connections", json!(1)),
        (
            "services",
            json!(["rodent.local.LocalService", "grpc.reflection.v1.ServerReflection", "grpc.health.v1.Health"]),
        ),
    ] {
        assert_eq!(told[what], expected, "{what}");
    }
    let methods = told["methods"].as_array().expect("methods");
    assert!(["Emit", "Consume", "Acknowledge"].iter().all(|name| methods.contains(&json!(name))), "{methods:?}");
}

/// As a target of gRPC spells a path.
fn percent_encoded(path: &str) -> String {
    let encode = |byte: u8| match byte {
        b'/' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}
