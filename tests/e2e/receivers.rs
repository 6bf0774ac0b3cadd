//! Receivers that are not ours: what they make of the webhooks of an agent as built. Standard Webhooks' own libraries verify,
//! CloudEvents' own SDK reads, Alertmanager shows and resolves.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    agent::Agent,
    container::{source, workshop},
    foreign::{environment, run},
    process::{Process, wait},
};

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// One that the receivers do not know.
const OTHER_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A program that prints its port, then an object for each request.
struct Receiver {
    port: u16,
    said: Arc<Mutex<Vec<Value>>>,
    _process: Process,
}

impl Receiver {
    fn start(command: &mut Command, log: &Path) -> Receiver {
        let mut process = Process::start(command.stdout(Stdio::piped()), log);
        let mut lines = BufReader::new(process.child.stdout.take().expect("it is piped")).lines();
        let port = lines.next().and_then(Result::ok).and_then(|line| line.parse().ok());
        let port = port.unwrap_or_else(|| panic!("no port: {}", fs::read_to_string(log).unwrap_or_default()));
        let said: Arc<Mutex<Vec<Value>>> = Arc::default();
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("an object");
                heard.lock().expect("no panic under the lock").push(line);
            }
        });
        Receiver { port, said, _process: process }
    }

    /// Verifies in Python, and reads CloudEvents.
    fn python(directory: &Path) -> Receiver {
        static PYTHON: OnceLock<PathBuf> = OnceLock::new();
        let packages = ["standardwebhooks==1.0.1", "cloudevents==2.2.0"];
        let python = PYTHON.get_or_init(|| environment("venv-receivers", &packages));
        let mut command = Command::new(python);
        command.arg(source("tests/e2e/foreign/receiver.py")).arg(KEY).env_remove("PYTHONPATH");
        Receiver::start(&mut command, &directory.join("python.log"))
    }

    /// Verifies in JavaScript.
    fn javascript(directory: &Path) -> Receiver {
        static MODULES: OnceLock<PathBuf> = OnceLock::new();
        let modules = MODULES.get_or_init(|| {
            let modules = workshop().join("node-receivers");
            let made = modules.join("made");
            if !made.exists() {
                fs::create_dir_all(&modules).expect("make the directory of modules");
                let mut npm = Command::new("npm");
                npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&modules);
                run(npm.arg("standardwebhooks@1.1.1"));
                fs::write(made, "").expect("note that they are there");
            }
            modules
        });
        // Modules are looked for beside the program.
        let program = directory.join("receiver.mjs");
        fs::copy(source("tests/e2e/foreign/receiver.mjs"), &program).expect("copy the program");
        std::os::unix::fs::symlink(modules.join("node_modules"), directory.join("node_modules"))
            .expect("link the modules");
        Receiver::start(Command::new("node").arg(program).arg(KEY), &directory.join("node.log"))
    }

    fn said(&self) -> Vec<Value> {
        self.said.lock().expect("no panic under the lock").clone()
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

fn agent(directory: &Path, sinks: Value) -> Agent {
    let off = json!({ "access": "off", "identity": "off", "network": "off", "security": "off", "service": "off", "sharing": "off", "storage": "off", "system": "off" });
    Agent::start(directory, json!({ "sinks": sinks, "collectors": off, "events": { "flush_interval": "200ms" } }))
}

fn emit(agent: &Agent, kind: &str, more: &[&str]) {
    let words = [&["emit", kind, "pool_name=tänk 1"], more].concat();
    let output = agent.rodent(&words).output().expect("start rodent");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn standard_webhooks_own_libraries_verify_what_is_signed_and_refuse_what_another_key_has_signed() {
    let directory = tempfile::tempdir().expect("make a directory");
    let here = directory.path();
    let receivers = [Receiver::python(here), Receiver::javascript(here)];
    for (name, key) in [("key", KEY), ("other", OTHER_KEY)] {
        fs::write(here.join(name), key).expect("write the key");
    }
    let sink = |receiver: &Receiver, keys: &[&str], compress: &str| {
        let keys: Vec<_> = keys.iter().map(|key| here.join(key)).collect();
        json!({ "type": "webhook", "url": receiver.url("standard"), "filter": ["storage"], "secret_file": keys,
            "compress": compress, "backoff_max": "1s" })
    };
    let [python, javascript] = &receivers;
    let agent = agent(
        here,
        json!({
            "python": sink(python, &["key"], "off"),
            "python_packed": sink(python, &["other", "key"], "gzip"),
            "javascript": sink(javascript, &["key"], "off"),
            "javascript_packed": sink(javascript, &["other", "key"], "gzip"),
            "strange": sink(python, &["other"], "off"),
            "strange_javascript": sink(javascript, &["other"], "off"),
        }),
    );
    emit(&agent, "storage.pool.degraded", &["reason=“sdb” is gone"]);
    for receiver in &receivers {
        let verified = wait("both verify", PATIENCE, || {
            let said = receiver.said();
            let (verified, refused): (Vec<_>, Vec<_>) = said.into_iter().partition(|it| it.get("error").is_none());
            (verified.len() >= 2 && !refused.is_empty()).then_some(verified)
        });
        for it in verified {
            assert_eq!((&it["read"]["type"], &it["id"]), (&json!("storage.pool.degraded"), &it["read"]["data"]["id"]));
            assert_eq!(it["read"]["data"]["payload"]["reason"], "“sdb” is gone");
        }
        let refused = receiver.said().into_iter().find_map(|it| it.get("error").cloned()).expect("one is refused");
        assert!(refused.as_str().is_some_and(|error| error.contains("No matching signature")), "{refused}");
    }
}

#[test]
fn cloudevents_own_sdk_reads_all_modes() {
    let directory = tempfile::tempdir().expect("make a directory");
    let receiver = Receiver::python(directory.path());
    let sink = |mode: &str| json!({ "type": "webhook", "format": mode, "url": receiver.url(mode), "filter": ["storage"], "backoff_max": "1s" });
    let modes = ["cloudevents", "cloudevents-binary", "cloudevents-batch"];
    let sinks: serde_json::Map<_, _> = modes.iter().map(|mode| ((*mode).to_owned(), sink(mode))).collect();
    let agent = agent(directory.path(), sinks.into());
    emit(&agent, "storage.pool.degraded", &["reason=50% \"full\""]);
    for mode in modes {
        let path = format!("/{mode}");
        let said = wait(mode, PATIENCE, || receiver.said().into_iter().find(|it| it["path"] == path));
        let read = &said["read"][0];
        assert_eq!((&read["type"], &read["subject"]), (&json!("storage.pool.degraded"), &json!("tänk 1")), "{said}");
        assert!(read["source"].as_str().is_some_and(|source| source.starts_with("/rodent/")), "{said}");
        assert_eq!(
            (&read["id"], &read["data"]["payload"]["reason"]),
            (&read["data"]["id"], &json!("50% \"full\"")),
            "{said}"
        );
        let seconds = |value: &Value| value.as_str().and_then(|time| time.get(..19)).map(str::to_owned);
        assert_eq!(seconds(&read["time"]), seconds(&read["data"]["time"]), "{said}");
    }
}

/// What a server on this port answers to `GET`.
fn get(port: u16, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

#[test]
fn alertmanager_shows_what_is_wrong_for_as_long_as_it_is_and_no_longer() {
    let directory = tempfile::tempdir().expect("make a directory");
    let here = directory.path();
    let configuration = here.join("alertmanager.yml");
    fs::write(&configuration, "route: {receiver: none}\nreceivers: [{name: none}]\n").expect("write its configuration");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut command = Command::new("prometheus-alertmanager");
    command.arg(format!("--config.file={}", configuration.display()));
    command.arg(format!("--storage.path={}", here.join("alerts").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--cluster.listen-address=");
    let _alertmanager = Process::start(&mut command, &here.join("alertmanager.log"));
    wait("it answers", PATIENCE, || get(port, "/api/v2/status"));
    let alerts = || get(port, "/api/v2/alerts").and_then(|alerts| alerts.as_array().cloned());
    assert_eq!(alerts().map(|alerts| alerts.len()), Some(0));
    let agent = agent(
        here,
        json!({ "alerts": { "type": "webhook", "format": "alertmanager", "tell": "changes",
            "url": format!("http://127.0.0.1:{port}/api/v2/alerts"), "filter": ["level>=warn"] } }),
    );
    emit(&agent, "storage.pool.degraded", &["reason=sdb"]);
    let alert = wait("it shows the alert", PATIENCE, || alerts()?.first().cloned());
    assert_eq!(alert["status"]["state"], "active", "{alert}");
    let labels = &alert["labels"];
    assert_eq!((&labels["alertname"], &labels["subject"]), (&json!("pool health"), &json!("tänk 1")), "{alert}");
    assert_eq!(labels["severity"], "error", "{alert}");
    assert!(alert["annotations"]["description"].as_str().is_some_and(|text| text.contains("sdb")), "{alert}");
    emit(&agent, "storage.pool.online", &[]);
    wait("it is resolved", PATIENCE, || alerts().filter(Vec::is_empty).map(drop));
}
