//! An agent by itself, without a booted machine: its files lie in one directory, and its state outlasts its kills.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::process::{Process, wait};

const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Agent {
    directory: PathBuf,
    pub(crate) socket: PathBuf,
    process: Option<Process>,
}

impl Agent {
    /// With these settings beside the places of its files; it answers when this returns.
    pub(crate) fn start(directory: &Path, mut settings: Value) -> Agent {
        let socket = directory.join("rodent.sock");
        settings["state_directory"] = json!(directory.join("state"));
        settings["socket"] = json!(socket);
        // JSON is YAML.
        fs::write(directory.join("rodent.yml"), settings.to_string()).expect("write the configuration");
        let mut agent = Agent { directory: directory.to_owned(), socket, process: None };
        agent.start_anew();
        agent
    }

    /// Kills the one that runs, if any, and starts another.
    pub(crate) fn start_anew(&mut self) {
        drop(self.process.take());
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("agent").arg("--config").arg(self.directory.join("rodent.yml")).env_remove("NOTIFY_SOCKET");
        self.process = Some(Process::start(&mut command, &self.directory.join("agent.log")));
        wait("the agent answers", PATIENCE, || self.rodent(&["status"]).output().ok()?.status.success().then_some(()));
    }

    /// As [`Process::terminate`].
    pub(crate) fn terminate(&mut self, patience: Duration) -> bool {
        self.process.as_mut().is_some_and(|process| process.terminate(patience))
    }

    pub(crate) fn rodent(&self, words: &[&str]) -> Command {
        let mut rodent = Command::new(env!("CARGO_BIN_EXE_rodent"));
        rodent.args(words).arg("--socket").arg(&self.socket).stdin(Stdio::null());
        rodent
    }

    /// Answers when they are durable.
    pub(crate) fn emit(&self, events: impl Iterator<Item = Value>) {
        let mut rodent = self.rodent(&["emit", "--json", "-"]);
        let mut child = rodent.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start rodent");
        let lines: String = events.map(|event| format!("{event}\n")).collect();
        let mut input = child.stdin.take().expect("standard input is piped");
        input.write_all(lines.as_bytes()).expect("write to rodent emit");
        drop(input);
        assert!(child.wait().expect("wait for rodent emit").success(), "rodent emit takes every event");
    }
}
