//! An agent and a controller as processes, both with a listener for metrics.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rodent::controller::token;
use tempfile::TempDir;

use crate::process::{Process, wait};

/// For what a busy machine may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What stands in the log before the address of a listener for metrics.
const ANSWERING: &str = "answering /livez, /readyz and /metrics address=";

/// A page as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

/// Asks over HTTP/1.0, so that no answer comes in pieces; `None` when nobody answers.
pub(super) fn get(address: SocketAddr, path: &str, accept: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// The page of metrics in the text format.
pub(super) fn page(address: SocketAddr) -> String {
    let answer = get(address, "/metrics", "*/*").expect("a page");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// The value of a sample on a page, by its name and labels as they stand there.
pub(super) fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Where both run.
pub(super) struct Site {
    directory: TempDir,
}

impl Site {
    /// With a secret of the controller and a token for the agent.
    pub(super) fn new() -> Site {
        let site = Site { directory: tempfile::tempdir().expect("a directory") };
        let secret = "0123456789abcdef0123456789abcdef";
        let parsed = token::SigningSecret::from_bytes(secret.into()).expect("long enough");
        let identity = token::NodeIdentity { node: "nas-1".to_owned(), organisation: String::new(), private: true };
        fs::write(site.path("secret"), secret).expect("written");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(site.path("secret"), private).expect("a mode");
        // In the year 2096.
        let end = Some(4_000_000_000);
        fs::write(site.path("token"), token::issue(&parsed, &identity, end).expect("a token")).expect("written");
        site
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration: with a controller where one is named, and the section `metrics` as it is given.
    pub(super) fn configure(&self, controller: Option<SocketAddr>, metrics: &str) {
        let controller = controller.map_or(String::new(), |address| {
            let token = self.path("token");
            format!("controller:\n  address: {address}\n  token_file: {}\n  tls: off\n", token.display())
        });
        let (state, socket) = (self.path("state"), self.path("rodent.sock"));
        let collectors = "collectors: {access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off}\n";
        let places = format!("state_directory: {}\nsocket: {}\n", state.display(), socket.display());
        let text = format!("{controller}events: {{batch_timeout: 1s}}\n{places}{collectors}metrics: {metrics}\n");
        fs::write(self.path("rodent.yml"), text).expect("written");
    }

    /// Starts the agent as it is configured.
    pub(super) fn agent(&self) -> Process {
        let mut command = self.rodent();
        command.args(["agent", "--config"]).arg(self.path("rodent.yml")).stdout(Stdio::null());
        Process::start(&mut command, &self.path("agent.log"))
    }

    /// Starts the controller; gives where it takes events and where it shows its metrics.
    pub(super) fn controller(&self) -> (Process, SocketAddr, SocketAddr) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent-controller"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--token-secret"]);
        command.arg(self.path("secret")).arg("--store");
        command.arg(format!("sqlite:{}", self.path("events.db").display())).stdout(Stdio::null());
        let log = self.path("controller.log");
        let process = Process::start(&mut command, &log);
        let serving = wait("the controller serves", PATIENCE, || address_after(&log, "serving agents", 0));
        let http = wait("the controller shows its metrics", PATIENCE, || address_after(&log, ANSWERING, 0));
        (process, serving, http)
    }

    /// Where the agent has said that it answers, for the `nth` time from 0.
    pub(super) fn listening(&self, nth: usize) -> SocketAddr {
        wait("the agent shows its metrics", PATIENCE, || address_after(&self.path("agent.log"), ANSWERING, nth))
    }

    /// What the agent has said.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Runs a command of the agent's socket, which must do.
    pub(super) fn run(&self, words: &[&str]) {
        let output = self.rodent().args(words).output().expect("started");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn rodent(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("--socket").arg(self.path("rodent.sock"));
        command.env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET").env_remove("RODENT_LOG");
        command.stdin(Stdio::null());
        command
    }
}

/// The address in the `nth` line of a log that has these words.
fn address_after(log: &Path, words: &str, nth: usize) -> Option<SocketAddr> {
    let text = fs::read_to_string(log).ok()?;
    // The last line may not be whole yet.
    let whole = &text[..=text.rfind('\n')?];
    let line = whole.lines().filter(|line| line.contains(words)).nth(nth)?;
    line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok()
}
