//! The built agent with every secret that it can have: none of them is shown, written down or left in a core dump.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    authority::{Authority, Files, Issued},
    peer::{Clients, Peer},
};
use crate::process::{Process, wait};

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJyaWQiOiJuYXMtNyJ9.c2VjcmV0LXNpZ25hdHVyZQ";

/// An agent as built, that says as much as it can.
struct Agent {
    files: Files,
    program: PathBuf,
}

impl Agent {
    fn new(controller: &str) -> Agent {
        let files = Files::new();
        let here = files.path("");
        let settings = format!(
            "{controller}\ncollectors: {{access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off}}\n\
             state_directory: {0}state\nsocket: {0}rodent.sock\nlog: {{level: trace}}\n",
            here.display()
        );
        let settings = files.put("rodent.yml", &settings.replace("HERE/", &here.display().to_string()));
        fs::set_permissions(settings, fs::Permissions::from_mode(0o600)).expect("a mode");
        Agent { files, program: env!("CARGO_BIN_EXE_rodent").into() }
    }

    fn start(&self) -> Process {
        let agent = Process::start(&mut self.command(), &self.files.path("agent.log"));
        self.wait_for_answer();
        agent
    }

    fn wait_for_answer(&self) {
        wait("the agent answers", PATIENCE, || self.rodent(&["status", "-o", "json"]).starts_with('{').then_some(()));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("agent").arg("--config").arg(self.files.path("rodent.yml"));
        // Everything that any room and any crate says, but sled, whose words are its pages.
        command.env_remove("NOTIFY_SOCKET").env("RODENT_LOG", "trace,sled=off");
        command
    }

    /// What a command prints.
    fn rodent(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.args(arguments);
        if arguments[0] == "config" {
            command.arg(self.files.path("rodent.yml"));
        } else {
            command.arg("--socket").arg(self.files.path("rodent.sock"));
        }
        let output = command.output().expect("start rodent");
        String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr)
    }

    /// Everything that somebody could read: what commands print, and what the agent says.
    fn shown(&self) -> String {
        let mut shown = String::new();
        for arguments in [
            &["status"] as &[&str],
            &["status", "-o", "json"],
            &["config", "show"],
            &["config", "show", "-o", "json"],
            &["config", "check"],
            &["events", "-o", "json"],
        ] {
            shown += &self.rodent(arguments);
        }
        shown + &fs::read_to_string(self.files.path("agent.log")).expect("the agent says something")
    }
}

/// Lines of a key that are long enough to know it by.
fn lines(issued: &Issued) -> impl Iterator<Item = &str> {
    issued.key.lines().filter(|line| !line.starts_with("--"))
}

fn assert_hidden(shown: &str, secrets: &[&str]) {
    assert!(shown.len() > 10_000, "the agent says much: {} bytes", shown.len());
    for secret in secrets {
        let found = shown.lines().find(|line| line.contains(secret));
        assert!(found.is_none(), "{secret} is shown: {found:?}");
    }
}

/// Every file below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("it can be read").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_or_lies_about_whether_it_was_configured_or_issued() {
    let authority = Authority::new("ca");
    let peer = Peer::start(&authority.for_controller(), Clients::OfOrNone(&authority)).await;
    let (own, issued) = (authority.issue("own", 2099), authority.issue("issued", 2099));
    *peer.book.issues.lock().expect("no panic") = Some(issued.clone());
    let address = format!("localhost:{}", peer.address.port());
    let configured = Agent::new(&format!(
        "controller: {{address: '{address}', token_file: HERE/token, \
         tls: {{ca_file: HERE/ca.pem, cert_file: HERE/node.pem, key_file: HERE/node.key}}}}"
    ));
    let inline =
        Agent::new(&format!("controller: {{address: '{address}', jwt: {TOKEN}, tls: {{ca_file: HERE/ca.pem}}}}"));
    configured.files.put("token", TOKEN);
    configured.files.put_identity("node", &own);
    let signature = TOKEN.rsplit('.').next().expect("three parts");
    for agent in [configured, inline] {
        agent.files.put("ca.pem", &authority.pem());
        let mut process = agent.start();
        let is_delivered = || agent.rodent(&["status", "-o", "json"]).contains("\"state\": \"connected\"");
        wait("events reach the controller", PATIENCE, || is_delivered().then_some(()));
        let secrets: Vec<_> = [TOKEN, signature].into_iter().chain(lines(&own)).chain(lines(&issued)).collect();
        let shown = agent.shown();
        assert!(process.terminate(PATIENCE), "it stops");
        assert_hidden(&shown, &secrets);
        assert_hidden(&fs::read_to_string(agent.files.path("agent.log")).expect("its log"), &secrets);
        for path in below(&agent.files.path("state")) {
            let content = String::from_utf8_lossy(&fs::read(&path).expect("read")).into_owned();
            let is_identity = path.ends_with("identity/issued.pem");
            let found = secrets.iter().any(|secret| content.contains(secret));
            assert_eq!(found, is_identity, "{}", path.display());
            let mode = fs::metadata(&path).expect("it is there").permissions().mode();
            assert!(!is_identity || mode & 0o777 == 0o600, "{}: {mode:o}", path.display());
        }
    }
}

#[test]
fn a_systemd_credential_is_the_token_and_says_so() {
    let agent = Agent::new("controller: {address: '127.0.0.1:1', tls: off}");
    let given = agent.files.path("given");
    fs::create_dir(&given).expect("a directory");
    fs::write(given.join("rodent-token"), TOKEN).expect("written");
    let show = |directory: &Path| {
        let mut command = Command::new(&agent.program);
        command.args(["config", "show"]).arg(agent.files.path("rodent.yml"));
        command.env("CREDENTIALS_DIRECTORY", directory).output().expect("start rodent")
    };
    let shown = String::from_utf8(show(&given).stdout).expect("text");
    let line = shown.lines().find(|line| line.starts_with("controller.token_file")).expect("a line").to_owned();
    assert!(line.contains("given/rodent-token") && line.ends_with("systemd credential"), "{line}");
    assert!(!shown.contains(TOKEN));
    let refused = show(&agent.files.path("nothing"));
    assert_eq!(refused.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the credential `rodent-token` of the service"));
}

/// The kernel gives the files below `/proc` of a process that it writes no core of, and whose memory nobody may read, to
/// root.
#[test]
fn the_agent_leaves_no_core_and_its_memory_is_for_nobody_to_read() {
    let agent = Agent::new("controller: {address: '127.0.0.1:1', jwt: x, tls: off}");
    let state = agent.files.path("state");
    fs::create_dir(&state).expect("a directory");
    let mut command = agent.command();
    let own = if nix::unistd::getuid().is_root() {
        // As somebody else: what is root's own anyway would prove nothing. The program by its descriptor, for its path may
        // be one that only root can go.
        const NOBODY: u32 = 65_534;
        for path in [&agent.files.path(""), &state, &agent.files.path("rodent.yml")] {
            std::os::unix::fs::chown(path, Some(NOBODY), None).expect("given away");
        }
        let program = fs::File::open(&agent.program).expect("the program");
        let by_descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&program));
        command = Command::new(by_descriptor);
        command.arg("agent").arg("--config").arg(agent.files.path("rodent.yml")).env_remove("NOTIFY_SOCKET");
        command.uid(NOBODY).gid(NOBODY);
        std::mem::forget(program);
        NOBODY
    } else {
        nix::unistd::getuid().as_raw()
    };
    let mut process = Process::start(&mut command, &agent.files.path("agent.log"));
    agent.wait_for_answer();
    let owner = |name: &str| fs::metadata(format!("/proc/{}/{name}", process.child.id())).expect("it runs").uid();
    assert_eq!((owner(""), owner("mem")), (own, 0));
    assert!(process.terminate(PATIENCE), "it stops");
}
