//! The receivers that the documentation shows (docs/receivers): they know who signs, keep each event once, and get all of them over
//! kills of both sides.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    agent::Agent,
    container::source,
    process::{Process, wait},
};

const PATIENCE: Duration = Duration::from_secs(120);
const EVENTS: usize = 200;
/// Lines of a receiver that wait to be read; more than a test makes.
const LINES_MAX: usize = 1000;
const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that runs: where, and what it prints.
struct Running {
    port: u16,
    lines: Receiver<String>,
    process: Process,
}

impl Running {
    fn start(mut command: Command, directory: &Path) -> Running {
        command.current_dir(directory).stdout(Stdio::piped()).stdin(Stdio::null());
        command.env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start(&mut command, &directory.join("receiver.log"));
        let output = process.child.stdout.take().expect("standard output is piped");
        let (sender, lines) = sync_channel(LINES_MAX);
        // Ends with the receiver's standard output.
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok()
        });
        let first = lines.recv_timeout(PATIENCE).expect("the receiver says where it listens");
        let port = first.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        Running { port, lines, process }
    }
}

/// Status and body of an answer.
fn ask(port: u16, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and the end");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn post(port: u16, headers: &str, body: &str) -> u16 {
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}");
    ask(port, &format!("{head}\r\n{body}")).0
}

fn numbered(number: usize) -> Value {
    json!({ "kind": "storage.pool.created", "payload": { "pool_name": "tank" },
            "metadata": { "number": number.to_string() } })
}

/// An agent with this sink.
fn agent(directory: &Path, sink: Value) -> Agent {
    let mut settings = json!({ "events": { "flush_interval": "100ms" }, "sinks": { "hook": sink } });
    for (key, value) in [("type", "webhook"), ("backoff_max", "1s")] {
        settings["sinks"]["hook"][key] = json!(value);
    }
    settings["sinks"]["hook"]["filter"] = json!(["storage.pool.created"]);
    Agent::start(directory, settings)
}

#[test]
fn the_receiver_in_python_keeps_each_event_once_over_kills_of_both_sides_and_nothing_of_a_stranger() {
    let directory = tempfile::tempdir().expect("make a directory");
    let here = directory.path();
    fs::write(here.join("secret"), "a-word\n").expect("written");
    let start = |port: u16| {
        let mut command = Command::new("python3");
        command.arg(source("docs/receivers/python/sql_receiver.py"));
        command.args(["--secret-file", "secret", "--database", "events.db", "--port", &port.to_string()]);
        Running::start(command, here)
    };
    let receiver = start(0);
    let port = receiver.port;
    let sink = json!({ "format": "signed", "kind_key": "event_type", "secret_file": [here.join("secret")],
                       "url": format!("http://127.0.0.1:{port}/events") });
    let mut agent = agent(here, sink);
    agent.emit((0..EVENTS).map(numbered));
    agent.start_anew();
    drop(receiver);
    agent.emit((EVENTS..2 * EVENTS).map(numbered));
    let _receiver = start(port);
    for (signature, body, status) in [
        ("", "{}", 401),
        ("X-Rodent-Signature: sha256=00\r\n", "{}", 401),
        // Right, and no event: of `[]` with the secret.
        ("X-Rodent-Delivery: 1\r\nX-Rodent-Signature: sha256=SIGNED\r\n", "[]", 422),
    ] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a-word");
        let signed = ring::hmac::sign(&key, body.as_bytes());
        let signed: String = signed.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(post(port, &signature.replace("SIGNED", &signed), body), status, "{signature}");
    }
    // What reads it is Python's own, which is there already. Without the records that something may have been lost with the kill.
    let count = || {
        let question = "import json, sqlite3; rows = sqlite3.connect('events.db').execute('SELECT data FROM events ORDER BY rowid'); \
                        numbers = [json.loads(row[0])['metadata'].get('number') for row in rows]; \
                        print(json.dumps([number for number in numbers if number]))";
        let output = Command::new("python3").args(["-c", question]).current_dir(here).output().expect("start Python");
        let numbers: Vec<String> = serde_json::from_slice(&output.stdout).ok()?;
        (numbers.len() >= 2 * EVENTS).then_some(numbers)
    };
    let numbers = wait("all are kept", PATIENCE, count);
    let expected: Vec<_> = (0..2 * EVENTS).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected, "each once, in order, and nothing else");
}

#[test]
fn the_receiver_in_node_shows_each_event_once_and_takes_two_secrets_and_none_of_a_stranger() {
    let directory = tempfile::tempdir().expect("make a directory");
    let here = directory.path();
    fs::write(here.join("old"), KEY).expect("written");
    fs::write(here.join("new"), format!("{OTHER_KEY}\n")).expect("written");
    let mut command = Command::new("node");
    command.arg(source("docs/receivers/node/monitoring_receiver.js"));
    command.args(["--secret-file", "old", "--secret-file", "new", "--port", "0"]);
    let Running { port, lines, process: _process } = Running::start(command, here);
    let sink = json!({ "format": "standard", "secret_file": [here.join("old")],
                       "url": format!("http://127.0.0.1:{port}/webhooks") });
    let mut agent = agent(here, sink);
    agent.emit((0..EVENTS).map(numbered));
    agent.start_anew();
    // From one secret to the next without a word to anybody.
    fs::write(here.join("old"), OTHER_KEY).expect("written");
    agent.emit((EVENTS..2 * EVENTS).map(numbered));
    let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let counted = || {
        let counts: Value = serde_json::from_str(&ask(port, get).1).expect("JSON");
        (counts["storage.pool.created"] == json!(2 * EVENTS)).then_some(counts)
    };
    let counts = wait("all are counted", PATIENCE, counted);
    // And that of each lane something may have been lost with the kill.
    let others: Vec<_> =
        counts.as_object().expect("an object").keys().filter(|kind| *kind != "storage.pool.created").collect();
    assert_eq!(others, ["system.loss.unclean_stop"]);
    for _ in 0..2 * EVENTS {
        let is_other = |line: &String| !line.contains("system.loss");
        let line = std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok()).find(is_other).expect("a line for each");
        assert!(line.contains(" storage.pool.created Pool tank"), "{line}");
    }
    // The vector of Standard Webhooks: right, and years old.
    let vector = "webhook-id: msg_27UH4WbU6Z5A5EzD8u03UvzRbpk\r\nwebhook-timestamp: 1649367553\r\n\
                  webhook-signature: v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=\r\n";
    let body = r#"{"email":"test@example.com","username":"test_user"}"#;
    for (headers, body) in [("", body), (vector, body), (&vector.replace("1649367553", "soon") as &str, body)] {
        assert_eq!(post(port, headers, body), 401, "{headers}");
    }
    assert_eq!(counted(), Some(counts), "nothing of a stranger");
}
