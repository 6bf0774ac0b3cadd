//! An agent and a controller in one directory, as built, which know each other; where each runs is for the test to say.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::process::{Process, wait};

/// For whatever ends by itself on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The agent's own patience: short, so that an outage need not be long to be one.
const CALL_TIMEOUT: &str = "2s";
const KEEPALIVE: &str = "1s";
const BACKOFF_MAX: &str = "2s";

/// Of how many events one is urgent.
const URGENT: u64 = 10;

/// A directory with settings, token, secret, state and store.
pub(crate) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    /// Whose agent sends to `controller`, a host and a port.
    pub(crate) fn new(controller: &str) -> Site {
        let site = Site { directory: tempfile::tempdir().expect("make a directory") };
        let here = site.directory.path().display();
        let settings = format!(
            "controller: {{address: '{controller}', token_file: {here}/token, tls: off, \
             call_timeout: {CALL_TIMEOUT}, keepalive: {KEEPALIVE}, backoff_max: {BACKOFF_MAX}}}\n\
             collectors: {{access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off, system: off}}\n\
             events: {{batch_timeout: 100ms}}\n\
             state_directory: {here}/state\nsocket: {here}/rodent.sock\n",
        );
        fs::write(site.path("rodent.yml"), settings).expect("write the configuration");
        fs::write(site.path("secret"), "a secret of a test, long enough to sign with").expect("write the secret");
        let mut token = controller_program("token");
        let token = token.args(["--node", "nas-1"]).arg("--token-secret").arg(site.path("secret")).output();
        let token = token.expect("start rodent-controller");
        assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
        fs::write(site.path("token"), token.stdout).expect("write the token");
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The agent's command line.
    pub(crate) fn agent(&self) -> Vec<String> {
        vec![
            env!("CARGO_BIN_EXE_rodent").to_owned(),
            "agent".to_owned(),
            "--config".to_owned(),
            self.path("rodent.yml").display().to_string(),
        ]
    }

    /// The controller's.
    pub(crate) fn controller(&self, listen: SocketAddr) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        // Between two networks of a test nobody reads along.
        let plain: &[&str] = if listen.ip().is_loopback() { &[] } else { &["--plaintext"] };
        let words = ["serve", "--listen", &listen.to_string(), "--store", &self.store(), "--token-secret"];
        let program = env!("CARGO_BIN_EXE_rodent-controller");
        let secret = text(&self.path("secret"));
        let words = [&[program], words.as_slice(), &[&secret], plain].concat();
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Starts an agent, and waits until it answers.
    pub(crate) fn start_agent(&self, words: &[String]) -> Process {
        let agent = self.start(words, "agent.log");
        wait("the agent answers", PATIENCE, || self.try_status());
        agent
    }

    /// Starts a controller, and waits until it serves.
    pub(crate) fn start_controller(&self, words: &[String]) -> Process {
        let log = || fs::read_to_string(self.path("controller.log")).unwrap_or_default();
        let starts = || log().matches("serving agents").count();
        let before = starts();
        let mut controller = self.start(words, "controller.log");
        wait("the controller serves", PATIENCE, || {
            let ended = controller.child.try_wait().expect("look at the controller");
            assert!(ended.is_none(), "the controller has ended: {}", log());
            (starts() > before).then_some(())
        });
        controller
    }

    fn start(&self, words: &[String], log: &str) -> Process {
        let (program, arguments) = words.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(arguments).env_remove("NOTIFY_SOCKET").env_remove("RODENT_LOG");
        Process::start(&mut command, &self.path(log))
    }

    /// Streams events in, one JSON document a line; every tenth is urgent.
    pub(crate) fn emit(&self, numbers: Range<u64>) {
        let mut emit =
            self.rodent("emit").args(["--json", "-"]).stdin(Stdio::piped()).spawn().expect("start rodent emit");
        let mut input = std::io::BufWriter::new(emit.stdin.take().expect("standard input is piped"));
        for number in numbers {
            let level = if number % URGENT == 0 { "error" } else { "info" };
            let payload = r#"{"share_name":"home","protocol":"smb","client_ip":"192.0.2.7"}"#;
            writeln!(
                input,
                r#"{{"kind":"sharing.connection.connected","level":"{level}","payload":{payload},"metadata":{{"number":"{number}"}}}}"#
            )
            .expect("rodent emit reads on");
        }
        drop(input);
        assert!(emit.wait().expect("wait for rodent emit").success(), "rodent emit takes every event");
    }

    /// What `rodent status` says.
    pub(crate) fn status(&self) -> Value {
        self.try_status().expect("the agent answers")
    }

    fn try_status(&self) -> Option<Value> {
        let output = self.rodent("status").args(["-o", "json"]).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("status is JSON"))
    }

    /// How many stored events the controller has yet to take.
    pub(crate) fn lag(&self) -> u64 {
        let status = self.status();
        let cursors = status["log"]["cursors"].as_array().cloned().unwrap_or_default();
        let lags = cursors.iter().filter(|cursor| cursor["name"] == "uplink").map(|cursor| &cursor["lag_events"]);
        lags.map(|lag| lag.as_u64().expect("a lag is a number")).sum()
    }

    /// The numbers of all events that the controller has, ascending, as often as it has them.
    pub(crate) fn stored_numbers(&self) -> Vec<u64> {
        let events = self.stored(&["events", "-n", "1000000", "sharing.*"]);
        let number = |event: &Value| event["metadata"]["number"].as_str().and_then(|number| number.parse().ok());
        let mut numbers: Vec<u64> =
            events.iter().map(|event| number(event).expect("every event is numbered")).collect();
        numbers.sort_unstable();
        numbers
    }

    /// What a command of the controller prints as JSON lines.
    pub(crate) fn stored(&self, words: &[&str]) -> Vec<Value> {
        let (command, rest) = words.split_first().expect("a command");
        let mut program = controller_program(command);
        let output = program.args(rest).args(["--store", &self.store(), "-o", "jsonl"]).output();
        let output = output.expect("start rodent-controller");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
    }

    /// What a command of the agent's comes to.
    pub(crate) fn command(&self, words: &[&str]) -> std::process::Output {
        let (command, rest) = words.split_first().expect("a command");
        self.rodent(command).args(rest).env_remove("RODENT_SOCKET").output().expect("start rodent")
    }

    fn rodent(&self, command: &str) -> Command {
        let mut rodent = Command::new(env!("CARGO_BIN_EXE_rodent"));
        rodent.arg(command).arg("--socket").arg(self.path("rodent.sock")).stdout(Stdio::piped()).stdin(Stdio::null());
        rodent
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.path("events.db").display())
    }
}

fn controller_program(command: &str) -> Command {
    let mut controller = Command::new(env!("CARGO_BIN_EXE_rodent-controller"));
    controller.arg(command);
    controller
}
