//! The promise in one test: a hundred thousand events taken while the controller is away, a SIGKILL between, and each of
//! them is in the controller's store once, in order. The programs as built, over a socket and loopback.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::{
    address::own_address,
    process::{Process, wait},
};

const EVENTS: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// What the agent promises.
const STOP_MAX: Duration = Duration::from_secs(5);
/// A build without optimisation, on a busy machine.
const DRAIN: Duration = Duration::from_secs(300);

#[test]
fn a_hundred_thousand_events_survive_a_kill_and_arrive_once_each_in_order() {
    let directory = tempfile::tempdir().expect("make a directory");
    let site = Site::new(directory.path());

    let agent = site.start_agent();
    site.emit_numbers();
    // SIGKILL.
    drop(agent);
    let mut agent = site.start_agent();
    let _controller = site.start_controller();

    wait("every event is delivered", DRAIN, || (site.lag() == 0).then_some(()));
    assert!(agent.terminate(STOP_MAX), "the agent stops within {STOP_MAX:?}");
    assert_eq!(site.gaps(), Some(0), "nothing is missing");
    let numbers = site.stored_numbers();
    let first_wrong = (0..).zip(&numbers).find(|(expected, found)| expected != *found);
    assert_eq!((numbers.len() as u64, first_wrong), (EVENTS, None));
}

/// An agent and a controller that know each other, in one directory.
struct Site {
    directory: PathBuf,
    address: String,
}

impl Site {
    fn new(directory: &Path) -> Site {
        let site = Site { directory: directory.to_owned(), address: own_address().to_string() };
        let here = directory.display();
        let settings = format!(
            "controller: {{address: '{}', token_file: {here}/token, tls: off}}\n\
             collectors: {{access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off}}\n\
             state_directory: {here}/state\nsocket: {here}/rodent.sock\n",
            site.address
        );
        fs::write(site.path("rodent.yml"), settings).expect("write the configuration");
        fs::write(site.path("secret"), "a secret of a test, long enough to sign with").expect("write the secret");
        let mut token = site.controller("token");
        let token = token.args(["--node", "nas-1"]).arg("--token-secret").arg(site.path("secret")).output();
        let token = token.expect("start rodent-controller");
        assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
        fs::write(site.path("token"), token.stdout).expect("write the token");
        site
    }

    fn start_agent(&self) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("agent").arg("--config").arg(self.path("rodent.yml")).env_remove("NOTIFY_SOCKET");
        let agent = Process::start(&mut command, &self.path("agent.log"));
        wait("the agent answers", PATIENCE, || self.rodent("status").output().ok()?.status.success().then_some(()));
        agent
    }

    fn start_controller(&self) -> Process {
        let mut command = self.controller("serve");
        command.args(["--listen", &self.address, "--store", &self.store()]).env_remove("NOTIFY_SOCKET");
        command.arg("--token-secret").arg(self.path("secret"));
        Process::start(&mut command, &self.path("controller.log"))
    }

    /// Streams the events in, one JSON document a line.
    fn emit_numbers(&self) {
        let mut emit = self.rodent("emit").args(["--json", "-"]).stdin(Stdio::piped()).spawn().expect("start rodent");
        let mut input = std::io::BufWriter::new(emit.stdin.take().expect("standard input is piped"));
        for number in 0..EVENTS {
            let payload = r#"{"share_name":"home","protocol":"smb","client_ip":"192.0.2.7"}"#;
            writeln!(
                input,
                r#"{{"kind":"sharing.connection.connected","payload":{payload},"metadata":{{"number":"{number}"}}}}"#
            )
            .expect("rodent emit reads on");
        }
        drop(input);
        assert!(emit.wait().expect("wait for rodent emit").success(), "rodent emit takes every event");
    }

    /// How many stored events the controller has yet to take.
    fn lag(&self) -> u64 {
        let output = self.rodent("status").args(["-o", "json"]).stdout(Stdio::piped()).output().expect("start rodent");
        let status: Value = serde_json::from_slice(&output.stdout).expect("status is JSON");
        let cursors = status["log"]["cursors"].as_array().cloned().unwrap_or_default();
        let lags = cursors.iter().filter(|cursor| cursor["name"] == "uplink").map(|cursor| &cursor["lag_events"]);
        lags.map(|lag| lag.as_u64().expect("a lag is a number")).sum()
    }

    /// The exit code of `rodent-controller gaps`.
    fn gaps(&self) -> Option<i32> {
        let mut gaps = self.controller("gaps");
        let output = gaps.args(["--store", &self.store(), "--node", "nas-1"]).output();
        output.expect("start rodent-controller").status.code()
    }

    fn stored_numbers(&self) -> Vec<u64> {
        let mut events = self.controller("events");
        let output = events.args(["--store", &self.store(), "-n", "1000000", "-o", "jsonl", "sharing.*"]).output();
        let output = output.expect("start rodent-controller");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let event = |line: &str| -> Value { serde_json::from_str(line).expect("every line is an event") };
        let mut events: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(event).collect();
        // In the order of the lane: batches of it arrive side by side.
        events.sort_by_key(|event| event["sequence"].as_u64());
        let number = |event: &Value| event["metadata"]["number"].as_str().and_then(|number| number.parse().ok());
        events.iter().map(|event| number(event).expect("every event is numbered")).collect()
    }

    fn rodent(&self, command: &str) -> Command {
        let mut rodent = Command::new(env!("CARGO_BIN_EXE_rodent"));
        rodent.arg(command).arg("--socket").arg(self.path("rodent.sock")).stdout(Stdio::null());
        rodent
    }

    fn controller(&self, command: &str) -> Command {
        let mut controller = Command::new(env!("CARGO_BIN_EXE_rodent-controller"));
        controller.arg(command);
        controller
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.path("events.db").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
