//! The agent against a controller that is not ours: Google's gRPC for Python, generated from the published contract
//! alone, so nothing that both of our ends have wrong can hide.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    agent::Agent,
    container::{source, workshop},
    process::Process,
};

const EVENTS: usize = 250;
/// Calls of the server that are waited to be read; more than a test makes.
const CALLS_MAX: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(60);
/// What the agent promises.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Header `{"alg":"none"}`, claims `{"rid":"node-7","sub":"acme"}`: the foreign server asks for no signature.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJyaWQiOiJub2RlLTciLCJzdWIiOiJhY21lIn0.";

#[test]
fn a_controller_built_from_the_published_contract_receives_valid_batches_in_order() {
    let directory = tempfile::tempdir().expect("make a directory");
    let server = Server::start(directory.path(), 2);
    fs::write(directory.path().join("token"), TOKEN).expect("write the token");
    let token = directory.path().join("token");
    let settings = json!({
        "controller": { "address": format!("127.0.0.1:{}", server.port), "token_file": token, "tls": "off" },
        "events": { "batch_timeout": "1s", "flush_interval": "200ms" },
    });
    let mut agent = Agent::start(directory.path(), settings);
    agent.emit((0..EVENTS).map(numbered_event));
    let calls = server.calls_until_all_events_are_there();
    assert!(agent.terminate(STOP_MAX), "the agent stops within {STOP_MAX:?}");

    let register = calls.iter().find(|call| call["call"] == "Register").expect("the node registers");
    assert_eq!(register["metadata"]["authorization"], format!("Bearer {TOKEN}"));
    let batches: Vec<&Value> = calls.iter().filter(|call| call["call"] == "SendEvents").collect();
    for batch in &batches {
        assert_eq!(batch["metadata"]["authorization"], format!("Bearer {TOKEN}"));
        assert!(events_of(batch).iter().all(is_valid), "an event that does not decode: {batch:#}");
    }

    // The two refused attempts and the third that was taken are the same batch, to the event.
    for attempt in &batches[1..3] {
        assert_eq!(attempt["batch"], batches[0]["batch"]);
        assert_eq!(attempt["events"], batches[0]["events"]);
    }
    let taken: Vec<&Value> = batches.into_iter().filter(|batch| batch["refused"] == false).collect();
    let identifiers: HashSet<_> = taken.iter().map(|batch| batch["batch"].as_str()).collect();
    assert_eq!(identifiers.len(), taken.len(), "no two batches share an identifier");

    let events: Vec<&Value> = taken.iter().flat_map(|batch| events_of(batch)).collect();
    let identifiers: HashSet<_> = events.iter().map(|event| event["id"].as_str()).collect();
    assert_eq!(identifiers.len(), events.len(), "no two events share an identifier");
    let numbers: Vec<usize> = events.iter().filter_map(|event| number(event)).collect();
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>());
    let last = events.iter().find(|event| number(event) == Some(EVENTS - 1)).expect("just seen");
    assert_eq!(last["payload"], json!(["storage_event", "pool_event"]));
    assert_eq!(last["fields"]["pool_name"], "tank");
    assert_eq!(last["level"], "EVENT_LEVEL_WARN");
}

fn numbered_event(number: usize) -> Value {
    json!({ "kind": "storage.pool.created", "level": "warn", "payload": { "pool_name": "tank" },
            "metadata": { "number": number.to_string() } })
}

fn number(event: &Value) -> Option<usize> {
    event["metadata"]["number"].as_str()?.parse().ok()
}

fn events_of(batch: &Value) -> &Vec<Value> {
    batch["events"].as_array().expect("a batch lists its events")
}

/// An identifier, a time, and a payload that belongs to the category. Subjects that are additions of ours look empty here.
fn is_valid(event: &Value) -> bool {
    let category = event["category"].as_str().and_then(|name| name.strip_prefix("EVENT_CATEGORY_")).unwrap_or_default();
    !event["id"].as_str().unwrap_or_default().is_empty()
        && event["timestamp"].as_i64().unwrap_or_default() > 0
        && event["payload"][0] == format!("{}_event", category.to_lowercase())
}

/// The foreign controller, and what it says of the calls it gets.
struct Server {
    port: u64,
    calls: Receiver<Value>,
    _process: Process,
}

impl Server {
    /// Starts one that refuses the first `failures` batches.
    fn start(directory: &Path, failures: usize) -> Server {
        let generated = directory.join("generated");
        fs::create_dir(&generated).expect("make the directory for generated code");
        let mut command = Command::new(python());
        command.arg(source("tests/e2e/foreign/server.py")).arg(source("tests/fixtures/wire")).arg(generated);
        command.arg(failures.to_string()).stdout(Stdio::piped());
        // Nothing of a developer's own Python, and no compiled files beside the sources.
        command.env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start(&mut command, &directory.join("server.log"));
        let output = process.child.stdout.take().expect("standard output is piped");
        let (sender, calls) = sync_channel(CALLS_MAX);
        // Ends with the server's standard output.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let call = serde_json::from_str(&line).expect("the server prints JSON");
                if sender.send(call).is_err() {
                    return;
                }
            }
        });
        let first: Value = calls.recv_timeout(PATIENCE).expect("the foreign server starts");
        let port = first["listening"].as_u64().expect("the server says its port first");
        Server { port, calls, _process: process }
    }

    fn calls_until_all_events_are_there(&self) -> Vec<Value> {
        let (mut calls, mut seen) = (Vec::new(), HashMap::new());
        while seen.len() < EVENTS {
            let call = match self.calls.recv_timeout(PATIENCE) {
                Ok(call) => call,
                Err(RecvTimeoutError::Timeout) => panic!("{} of {EVENTS} events after {PATIENCE:?}", seen.len()),
                Err(RecvTimeoutError::Disconnected) => panic!("the foreign server ended"),
            };
            if call["refused"] == false {
                seen.extend(events_of(&call).iter().filter_map(|event| Some((number(event)?, ()))));
            }
            calls.push(call);
        }
        calls
    }
}

/// A Python with gRPC from its package index.
pub(crate) fn python() -> &'static PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("venv", &["grpcio-tools>=1.60"]))
}

/// A Python with packages from their index, in an environment of this name under `target` that is made once.
pub(crate) fn environment(name: &str, packages: &[&str]) -> PathBuf {
    let environment = workshop().join(name);
    let (python, made) = (environment.join("bin/python"), environment.join("made"));
    if !made.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        run(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(packages));
        fs::write(made, "").expect("note that the environment is made");
    }
    python
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
