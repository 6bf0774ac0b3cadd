//! The program itself: what it has answered for is there after SIGKILL, its commands look into the database while it
//! serves, and its exit codes tell what was wrong.

use std::{
    fs,
    io::{BufRead, BufReader, Read as _},
    net::SocketAddr,
    os::{
        fd::AsRawFd as _,
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::Duration,
};

use futures_util::stream;
use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::{Signal, kill},
    unistd::{Pid, getuid},
};
use rodent::schema::{
    events::Event,
    wire::{EventBatch, RegisterRequest},
};
use serde_json::Value;
use tempfile::TempDir;
use tonic::Code;

use super::peer::{Agent, SECRET, batch, token};

/// How long answers may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a secret, in which a controller keeps its database.
pub(super) struct Place {
    directory: TempDir,
}

impl Place {
    pub(super) fn new() -> Place {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("secret"), format!("{SECRET}\n")).expect("a file");
        Place { directory }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn store(&self) -> String {
        format!("sqlite:{}", self.path("events.db").display())
    }

    pub(super) fn serve(&self) -> Process {
        self.serve_into(&self.store())
    }

    pub(super) fn serve_into(&self, store: &str) -> Process {
        self.start(Command::new(env!("CARGO_BIN_EXE_rodent-controller")).arg("serve"), store)
    }

    /// With what the command has of its own.
    fn start(&self, command: &mut Command, store: &str) -> Process {
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--store", store, "--token-secret"])
            .arg(self.path("secret"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("serving agents") {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("a line of log"), 0, "it serves");
        }
        let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect(&line);
        Process { address: address.parse().expect(&line), child, log }
    }

    /// A command that is to end by itself; one that does not is ended, and has code 124.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        Command::new("timeout")
            .args(["60", env!("CARGO_BIN_EXE_rodent-controller")])
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .expect("the program is built")
    }

    /// The lines that a command prints as JSON.
    pub(super) fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(&[arguments, &["-o", "jsonl", "--store", &self.store()]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// A controller in a process of its own; killed when dropped.
pub(super) struct Process {
    pub(super) address: SocketAddr,
    child: Child,
    /// Kept open, so that the program may go on logging; nobody reads it.
    log: BufReader<ChildStderr>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Err: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn what_was_answered_for_is_there_after_sigkill() {
    let place = Place::new();
    for round in 0..3 {
        let process = place.serve();
        let agent = Agent::connect(process.address, &token("nas-1")).await;
        for first in 0..20 {
            agent.send(&batch(1 + round * 1000 + first * 50, 50)).await.expect("stored");
        }
        drop(process);
    }
    let sequences: Vec<_> = place.lines(&["events", "-n", "10000"]).iter().map(|e| e["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=3000).map(Some).collect::<Vec<_>>());
    let nodes = place.lines(&["nodes"]);
    assert_eq!(nodes[0]["streams"][0]["received"], serde_json::json!([[1, 3000]]));
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_answer() {
    let place = Place::new();
    let mut process = place.serve();
    // As little as the kernel gives: a page.
    let bytes = fcntl(process.log.get_ref(), FcntlArg::F_SETPIPE_SZ(1)).expect("a smaller pipe");
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    let talking = async {
        // Each of them is a line of more than 64 bytes.
        for _ in 0..bytes / 64 {
            agent.client().register(agent.request(RegisterRequest::default())).await.expect("registered");
        }
        agent.send(&batch(1, 3)).await.expect("stored");
    };
    tokio::time::timeout(PATIENCE, talking).await.expect("it answers");
    let mut line = String::new();
    process.log.read_line(&mut line).expect("a line of log");
    assert!(line.contains("node registered") && line.len() > 64, "{line}");
}

#[tokio::test]
async fn a_node_that_calls_in_a_loop_does_not_fill_the_log() {
    let place = Place::new();
    let mut process = place.serve();
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    for _ in 0..200 {
        agent.client().register(agent.request(RegisterRequest::default())).await.expect("registered");
    }
    let pid = Pid::from_raw(i32::try_from(process.child.id()).expect("a process"));
    kill(pid, Signal::SIGTERM).expect("told to stop");
    let mut log = String::new();
    process.log.read_to_string(&mut log).expect("a log");
    assert_eq!(log.matches("node registered").count(), 20, "{log}");
    assert!(log.contains("lines=180"), "what was left out is told: {log}");
}

#[test]
fn the_memory_of_the_controller_is_for_nobody_to_read() {
    let place = Place::new();
    // As somebody else where that is possible: what is root's own anyway would prove nothing.
    let own = if getuid().is_root() { 65_534 } else { getuid().as_raw() };
    for path in [place.path(""), place.path("secret")] {
        std::os::unix::fs::chown(path, Some(own), None).expect("given away");
    }
    // The program by its descriptor, for its path may be one that only root can go.
    let program = fs::File::open(env!("CARGO_BIN_EXE_rodent-controller")).expect("the program");
    let by_descriptor = format!("/proc/self/fd/{}", program.as_raw_fd());
    let mut command = Command::new(by_descriptor);
    std::mem::forget(program);
    let process = place.start(command.uid(own).arg("serve"), "memory");
    let owner = |name: &str| fs::metadata(format!("/proc/{}/{name}", process.child.id())).expect("it runs").uid();
    assert_eq!((owner(""), owner("mem")), (own, 0));
}

#[tokio::test]
async fn a_node_that_is_denied_is_shut_out_at_once_and_let_in_again() {
    let place = Place::new();
    let denied = place.path("denied");
    fs::write(&denied, "# nobody\n").expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rodent-controller"));
    let arguments = ["--deny-nodes".as_ref(), denied.as_os_str()];
    let process = place.start(command.args(["serve"]).args(arguments), "memory");
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    let other = Agent::connect(process.address, &token("nas-2")).await;
    let said = agent.request(stream::pending());
    let mut stream = agent.client().connect(said).await.expect("a stream").into_inner();
    agent.send(&batch(1, 1)).await.expect("stored");
    let replace = |names: &str| {
        fs::write(place.path("new"), names).and_then(|()| fs::rename(place.path("new"), &denied)).expect("a file");
    };
    replace("nas-1\n");
    let ended = tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream ends");
    assert_eq!(ended.expect_err("shut out").code(), Code::PermissionDenied);
    assert_eq!(agent.send(&batch(2, 1)).await.expect_err("shut out").code(), Code::PermissionDenied);
    other.send(&batch(1, 1)).await.expect("another node");
    replace("");
    let let_in = async {
        while agent.send(&batch(2, 1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, let_in).await.expect("it is let in again");
}

#[tokio::test]
async fn the_database_can_be_looked_into_while_it_is_written() {
    let place = Place::new();
    let process = place.serve();
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    let mut storing = batch(1, 3);
    storing.events[1].level = 3;
    agent.send(&storing).await.expect("stored");
    agent.send(&EventBatch { lane: "urgent".into(), ..batch(1, 1) }).await.expect("stored");
    let found = place.lines(&["events", "level>=error"]);
    assert_eq!((found.len(), &found[0]["id"], &found[0]["node"]), (1, &"n2".into(), &"nas-1".into()));
    assert_eq!(place.lines(&["events", "--node", "nas-2"]), [Value::Null; 0]);
    let table = text(&place.run(&["events", "-n", "1", "--utc", "--store", &place.store()]).stdout);
    let row: Vec<_> = table.lines().nth(1).expect("a row").split_whitespace().take(5).collect();
    assert_eq!(row, ["2027-01-15T08:00:00Z", "nas-1", "info", "storage.pool", "Pool"]);
    let lanes: Vec<_> = place.lines(&["nodes"])[0]["streams"].as_array().expect("a list").clone();
    assert_eq!(lanes.iter().map(|lane| lane["lane"].clone()).collect::<Vec<_>>(), ["routine", "urgent"]);
}

#[tokio::test]
async fn events_that_come_are_followed() {
    let place = Place::new();
    let process = place.serve();
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    agent.send(&batch(1, 2)).await.expect("stored");
    let mut follower = Command::new(env!("CARGO_BIN_EXE_rodent-controller"))
        .args(["events", "-f", "-n", "1", "-o", "jsonl", "--store", &place.store()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program is built");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let mut next = || {
        let line = lines.next().expect("a line").expect("readable");
        serde_json::from_str::<Value>(&line).expect("JSON")["sequence"].as_u64()
    };
    assert_eq!(next(), Some(2));
    agent.send(&batch(3, 2)).await.expect("stored");
    assert_eq!([next(), next()], [Some(3), Some(4)]);
    follower.kill().expect("it follows until it is stopped");
    follower.wait().expect("it has ended");
}

#[tokio::test]
async fn all_from_a_moment_on_are_followed_each_once_and_what_comes_whatever_its_time() {
    let place = Place::new();
    let process = place.serve();
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    let at = |time: &str, batch: EventBatch| {
        let time = humantime::parse_rfc3339(time).expect("a time").duration_since(std::time::UNIX_EPOCH);
        let timestamp = i64::try_from(time.expect("after 1970").as_millis()).expect("before the end");
        let events = batch.events.into_iter().map(|event| Event { timestamp, ..event }).collect();
        EventBatch { events, ..batch }
    };
    agent.send(&at("2027-01-15T07:59:59Z", batch(1, 2))).await.expect("stored");
    // More than are read at once.
    for first in [3, 503, 1003, 1503] {
        agent.send(&at("2027-01-15T08:00:00Z", batch(first, 500))).await.expect("stored");
    }
    let since = ["events", "--since", "2027-01-15T08:00:00Z"];
    let newest: Vec<_> = place.lines(&since).iter().map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(newest, (1983..=2002).map(Some).collect::<Vec<_>>());
    assert_eq!(place.lines(&["events", "--since", "2027-01-15T08:00:01Z"]), [Value::Null; 0]);

    let mut follower = Command::new(env!("CARGO_BIN_EXE_rodent-controller"))
        .args(since)
        .args(["-f", "-o", "jsonl", "--store", &place.store()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program is built");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let mut next = || {
        let line = lines.next().expect("a line").expect("readable");
        serde_json::from_str::<Value>(&line).expect("JSON")["sequence"].as_u64().expect("a number")
    };
    assert_eq!((3..=2002).map(|_| next()).collect::<Vec<_>>(), (3..=2002).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_millis(700)).await;
    agent.send(&at("2026-12-31T00:00:00Z", batch(2003, 1))).await.expect("stored");
    assert_eq!(next(), 2003, "the clock of the node was set back");
    follower.kill().expect("it follows until it is stopped");
    follower.wait().expect("it has ended");
}

#[tokio::test]
async fn a_token_of_the_command_opens_the_controller() {
    let place = Place::new();
    let process = place.serve();
    let output = place.run(&["token", "--token-secret", "secret", "--node", "nas-9", "--valid-for", "1h"]);
    let agent = Agent::connect(process.address, text(&output.stdout).trim()).await;
    agent.send(&batch(1, 1)).await.expect("stored");
    assert_eq!(place.lines(&["nodes"])[0]["node"], "nas-9");
}

#[test]
fn wrong_use_gets_a_clear_line_and_the_code_of_its_kind() {
    let place = Place::new();
    fs::write(place.path("short"), "too short\n").expect("a file");
    fs::write(place.path("notes.txt"), "x".repeat(5000)).expect("a file");
    let cases: [(&[&str], i32, &str); 23] = [
        (&["events", "--store", "sqlite:none.db"], 66, "there is no database at none.db"),
        (&["events", "--store", "sqlite:notes.txt"], 65, "not a database"),
        (&["events", "--store", "memory"], 64, "cannot be read from outside"),
        (&["events", "--store", "postgres:x"], 64, "use sqlite:PATH or memory"),
        (&["events", "--store", "sqlite:none.db", "level>=loud"], 64, "loud"),
        (&["events", "-f", "-o", "json"], 64, "jsonl"),
        (&["nodes", "--store", "sqlite:none.db"], 66, "no database"),
        (&["serve", "--token-secret", "none"], 66, "read token secret none"),
        (&["serve", "--token-secret", "short"], 78, "at least 32 are needed"),
        (
            &["serve", "--token-secret", "secret", "--store", "memory", "--listen", "192.0.2.1:7443", "--plaintext"],
            74,
            "192.0.2.1:7443",
        ),
        (&["serve", "--token-secret", "secret", "--store", "memory", "--listen", "0.0.0.0:0"], 64, "--plaintext where"),
        (&["serve", "--store", "memory"], 64, "--token-secret"),
        (&["serve", "--token-secret", "secret", "--tls-cert", "a.pem"], 64, "--tls-key"),
        (
            &["serve", "--token-secret", "secret", "--tls-cert", "none.pem", "--tls-key", "none.key"],
            66,
            "read certificate none.pem",
        ),
        (
            &["serve", "--token-secret", "secret", "--tls-cert", "notes.txt", "--tls-key", "secret"],
            78,
            "notes.txt holds no certificate",
        ),
        (&["serve", "--token-key", "none"], 66, "read token key none"),
        (
            &["serve", "--token-secret", "secret", "--store", "memory", "--deny-nodes", "none"],
            66,
            "list of denied nodes none",
        ),
        (&["serve", "--token-key", "secret"], 78, "goes to --token-secret"),
        (&["serve", "--token-secret", "secret", "--node-events", "0"], 64, "or off"),
        (&["token", "--private-key", "secret", "--node", "a"], 78, "openssl genpkey"),
        (&["token", "--node", "a"], 64, "--token-secret"),
        (&["token", "--token-secret", "secret", "--node", "a b"], 64, "printable"),
        (&["reboot"], 64, "reboot"),
    ];
    for (arguments, code, part) in cases {
        let output = place.run(arguments);
        let told = text(&output.stderr);
        assert_eq!((output.status.code(), told.contains(part)), (Some(code), true), "{arguments:?}: {told}");
    }
    assert!(!Path::new(&place.path("none.db")).exists(), "looking creates nothing");
    assert_eq!(fs::read(place.path("notes.txt")).expect("still there").len(), 5000);
}

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    const OWNER: u32 = 65_534;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn root_neither_writes_nor_looks_as_root_where_another_user_decides_what_lies_there() {
        assert!(nix::unistd::geteuid().is_root(), "only root can become somebody else: run `make test` as root");
        let place = Place::new();
        let process = place.serve();
        Agent::connect(process.address, &token("nas-1")).await.send(&batch(1, 2)).await.expect("stored");
        drop(process);
        let own = |path: &Path| chown(path, Some(OWNER), Some(OWNER)).expect("root may");
        own(place.directory.path());
        fs::read_dir(place.directory.path()).expect("a directory").flatten().for_each(|entry| own(&entry.path()));
        assert_eq!(place.lines(&["nodes"])[0]["events"], 2);
        // What root alone could read shows whom the program has become.
        fs::set_permissions(place.path("events.db"), fs::Permissions::from_mode(0o000)).expect("root may");
        for command in [&["nodes"][..], &["events"], &["gaps", "--node", "nas-1"]] {
            let looked = place.run(&[command, &["--store", &place.store()]].concat());
            assert_eq!(looked.status.code(), Some(74), "{command:?}: {}", text(&looked.stderr));
        }
        let secret = place.path("secret").display().to_string();
        let serve = ["serve", "--listen", "127.0.0.1:0", "--token-secret", &secret, "--store", &place.store()];
        let refused = place.run(&serve);
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(77) && said.contains("belongs to user 65534"), "{said}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_node_that_fills_a_small_disk_leaves_the_others_room() {
        let place = Place::new();
        let disk = place.path("disk");
        fs::create_dir(&disk).expect("a directory");
        let script = format!(
            "mount -t tmpfs -o size=24m tmpfs {} && exec {} serve \"$@\"",
            disk.display(),
            env!("CARGO_BIN_EXE_rodent-controller")
        );
        let store = format!("sqlite:{}/events.db", disk.display());
        let process = place.start(Command::new("unshare").args(["--mount", "sh", "-c", &script, "sh"]), &store);
        let flood = Agent::connect(process.address, &token("flood")).await;
        let refusal = 'refused: {
            for number in 0..200 {
                let mut batch = batch(1 + number * 50, 50);
                for event in &mut batch.events {
                    // Half of it is left when it is compressed.
                    let filling = (0..400).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
                    event.metadata.insert("filling".to_owned(), filling);
                }
                if let Err(refusal) = flood.send(&batch).await {
                    break 'refused refusal;
                }
            }
            panic!("60 MB are in 24 MiB");
        };
        assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
        for number in 0..20 {
            let calm = Agent::connect(process.address, &token(&format!("nas-{number}"))).await;
            calm.send(&batch(1, 5)).await.expect("there is a share for everybody");
        }
    }
}
