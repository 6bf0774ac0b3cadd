//! An agent as built, whose configuration the test writes anew, and controllers as built.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    address::own_address,
    process::{Process, wait},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    directory: tempfile::TempDir,
    process: Option<Process>,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Answer {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Answer { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Site {
    /// An agent with these lines in its configuration, and no collector unless they say so.
    pub(crate) fn start(lines: &str) -> Site {
        Site::start_with(lines, |_| {})
    }

    pub(crate) fn start_with(lines: &str, set: impl FnOnce(&mut Command)) -> Site {
        let mut site = Site { directory: tempfile::tempdir().expect("a directory"), process: None };
        site.configure(lines);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("agent").arg("--config").arg(site.path("rodent.yml"));
        command.env_remove("NOTIFY_SOCKET").env_remove("RODENT_LOG");
        set(&mut command);
        site.process = Some(Process::start(&mut command, &site.path("agent.log")));
        wait("the agent answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
        site
    }

    /// Writes the configuration; the agent does not know yet. `HERE` stands for the directory.
    pub(crate) fn configure(&self, lines: &str) {
        let off = "collectors: {access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off, system: off}\n";
        let collectors = if lines.contains("collectors:") { "" } else { off };
        let places = ["state_directory: HERE/state\n", "socket: HERE/rodent.sock\n"];
        let places = places.iter().filter(|place| !lines.contains(place.split(':').next().expect("a key")));
        let text = format!("{lines}\n{collectors}{}", places.copied().collect::<String>());
        self.write("rodent.yml", &text.replace("HERE", &self.directory.path().display().to_string()));
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn rodent(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.args(arguments).arg("--socket").arg(self.path("rodent.sock"));
        command.output().expect("start rodent").into()
    }

    /// Writes a configuration that is right, and has it put in force; gives what is printed.
    pub(crate) fn reload(&self, lines: &str) -> String {
        self.configure(lines);
        let answer = self.rodent(&["reload"]);
        assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""), "{answer:?}");
        answer.out
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.rodent(&["status", "-o", "json"]).out).expect("JSON")
    }

    /// Waits until the status is like that.
    pub(crate) fn until(&self, what: &str, mut is: impl FnMut(&Value) -> bool) {
        wait(what, PATIENCE, || is(&self.status()).then_some(()));
    }

    /// Emits an event of this level; gives whether it was taken.
    pub(crate) fn takes(&self, level: &str) -> bool {
        let count = || self.status()["pipeline"]["accepted_events"].as_u64().expect("a number");
        let before = count();
        assert_eq!(self.rodent(&["emit", "service.status.started", "service_name=x", "-l", level]).code, Some(0));
        count() > before
    }

    /// Puts so many routine events into the agent's memory, numbered from `first` on.
    pub(crate) fn put(&self, first: u64, count: u64) {
        let mut emit = Command::new(env!("CARGO_BIN_EXE_rodent"));
        emit.args(["emit", "--no-wait", "--json", "-", "--socket"]).arg(self.path("rodent.sock"));
        let mut emit = emit.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start rodent");
        let mut input = emit.stdin.take().expect("it is piped");
        for number in first..first + count {
            let event = json!({"kind": "sharing.connection.connected", "payload": {"share_name": "home"},
                "metadata": {"number": number.to_string()}});
            writeln!(input, "{event}").expect("it reads on");
        }
        drop(input);
        assert!(emit.wait().expect("it ends").success());
    }

    /// What the agent has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).expect("its log")
    }

    /// Waits until the agent has said this: its lines are written by a thread of their own.
    pub(crate) fn says(&self, text: &str) {
        wait(text, PATIENCE, || self.log().contains(text).then_some(()));
    }

    /// Of the agent.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.as_ref().expect("it runs").child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let number = i32::try_from(self.process_id()).expect("process numbers are positive");
        kill(Pid::from_raw(number), signal).expect("signalled");
    }

    /// Asks the agent to end, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Starts the agent after it has ended, or was killed.
    pub(crate) fn start_again(&mut self) {
        self.process = None;
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("agent").arg("--config").arg(self.path("rodent.yml")).env_remove("NOTIFY_SOCKET");
        self.process = Some(Process::start(&mut command, &self.path("agent.log")));
    }

    pub(crate) fn stop(&mut self) {
        assert!(self.process.take().is_some_and(|mut agent| agent.terminate(PATIENCE)), "it ends in order");
    }
}

/// A controller as built, with a store of its own.
pub(crate) struct Controller {
    pub(crate) address: String,
    directory: PathBuf,
    name: String,
    _process: Process,
}

impl Controller {
    /// In the directory of the site, which gets a token for it in the file `NAME.token`.
    pub(crate) fn start(site: &Site, name: &str) -> Controller {
        let (address, directory) = (own_address().to_string(), site.directory.path().to_owned());
        let secret = directory.join(format!("{name}.secret"));
        fs::write(&secret, format!("a secret of a test, long enough to sign with: {name}")).expect("written");
        let mut token = controller("token");
        let token = token.args(["--node", "nas-1", "--token-secret"]).arg(&secret).output().expect("started");
        fs::write(directory.join(format!("{name}.token")), token.stdout).expect("written");
        let mut command = controller("serve");
        command.args(["--listen", &address, "--store", &store(&directory, name)]).env_remove("NOTIFY_SOCKET");
        command.arg("--token-secret").arg(&secret);
        let process = Process::start(&mut command, &directory.join(format!("{name}.log")));
        Controller { address, directory, name: name.to_owned(), _process: process }
    }

    /// The part `controller` of a configuration.
    pub(crate) fn part(&self) -> String {
        let token = self.directory.join(format!("{}.token", self.name));
        format!("controller: {{address: '{}', token_file: {}, tls: off}}\n", self.address, token.display())
    }

    /// The numbers of the events that it has, in the order of the lane.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut events = controller("events");
        events.args(["--store", &store(&self.directory, &self.name), "-n", "1000000", "-o", "jsonl", "sharing.*"]);
        let answer = Answer::from(events.output().expect("started"));
        let events = answer.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
        let mut events: Vec<_> = events.collect();
        events.sort_by_key(|event| event["sequence"].as_u64());
        let number = |event: &Value| event["metadata"]["number"].as_str().and_then(|number| number.parse().ok());
        events.iter().map(|event| number(event).expect("a number")).collect()
    }

    /// The exit code of `gaps`: 0 when nothing is missing.
    pub(crate) fn gaps(&self) -> Option<i32> {
        let mut gaps = controller("gaps");
        gaps.args(["--store", &store(&self.directory, &self.name), "--node", "nas-1"]);
        gaps.output().expect("started").status.code()
    }
}

fn controller(command: &str) -> Command {
    let mut controller = Command::new(env!("CARGO_BIN_EXE_rodent-controller"));
    controller.arg(command);
    controller
}

fn store(directory: &Path, name: &str) -> String {
    format!("sqlite:{}", directory.join(format!("{name}.db")).display())
}
