//! The agent's own messages on the wire to journald: a socket in its place, which reads or does not.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rodent::{
    controller::token,
    telemetry::{
        journal::{self, Ending, Journal},
        message,
    },
};
use tempfile::TempDir;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::process::{Process, wait};

/// For what a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the socket waits for an entry before there is none.
const SILENCE: Duration = Duration::from_secs(2);

/// The agent's bound for its end, with what a busy machine may add.
const STOP_MAX: Duration = Duration::from_secs(30);

type Entry = BTreeMap<String, String>;

/// A socket in the place of journald's.
struct Journald {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Journald {
    fn new() -> Journald {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = listen(&directory.path().join("socket"));
        Journald { socket, directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Logs there on this thread for as long as the guard lives.
    fn connect(&self) -> (DefaultGuard, Ending) {
        let (journal, ending) = Journal::connect(&self.path()).expect("somebody listens");
        (tracing::subscriber::set_default(tracing_subscriber::registry().with(journal)), ending)
    }

    /// The next datagram; `None` after a silence.
    fn datagram(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 256 << 10];
        loop {
            let length = self.socket.recv(&mut bytes).ok()?;
            if length > 0 {
                return Some(bytes[..length].to_vec());
            }
        }
    }

    fn read(&self) -> Option<Entry> {
        self.datagram().map(|bytes| parse(&bytes))
    }

    /// Reads until there is a message with this identifier.
    fn find(&self, message: message::Message) -> Entry {
        wait(message.name, PATIENCE, || {
            let entry = self.read()?;
            (entry.get("MESSAGE_ID").map(String::as_str) == Some(message.id)).then_some(entry)
        })
    }

    /// Sends into its queue until nothing more goes in.
    fn fill(&self) {
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.set_nonblocking(true).expect("no waiting");
        while sender.send_to(b"MESSAGE=in the way\n", self.path()).is_ok() {}
    }
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("a free place");
    socket.set_read_timeout(Some(SILENCE)).expect("a bound");
    socket
}

/// An entry by journald's native protocol: `NAME=VALUE`, or the name, the length in eight bytes and the value.
fn parse(mut bytes: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8(bytes[..end].to_vec()).expect("a name");
        bytes = &bytes[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            entry.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let (length, rest) = bytes.split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
        let value = String::from_utf8(rest[..length].to_vec()).expect("text");
        assert_eq!(rest[length], b'\n', "a value ends with its line");
        bytes = &rest[length + 1..];
        assert!(entry.insert(line.clone(), value).is_none(), "{line} stands there once");
    }
    assert!(bytes.is_empty(), "nothing is left over");
    entry
}

fn field<'a>(entry: &'a Entry, name: &str) -> &'a str {
    entry.get(name).unwrap_or_else(|| panic!("{name} in {entry:#?}"))
}

#[test]
fn an_entry_has_its_fields_its_origin_and_its_identifier() {
    let journald = Journald::new();
    let (_logging, _ending) = journald.connect();
    tracing::warn!(
        message_id = %message::CONTROLLER_AWAY,
        controller = "nas:7443",
        error = "first line\nMESSAGE_ID=forged",
        tries = 3,
        http.path = "/",
        "nobody answers"
    );
    let entry = journald.read().expect("an entry");
    let expected = [
        ("MESSAGE", "nobody answers"),
        ("MESSAGE_ID", message::CONTROLLER_AWAY.id),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "rodent"),
        ("RODENT_CONTROLLER", "nas:7443"),
        ("RODENT_ERROR", "first line\nMESSAGE_ID=forged"),
        ("RODENT_TRIES", "3"),
        ("RODENT_HTTP_PATH", "/"),
        ("CODE_FILE", "tests/it/journal.rs"),
    ];
    for (name, value) in expected {
        assert_eq!(field(&entry, name), value, "{name}");
    }
    assert!(field(&entry, "CODE_LINE").parse::<u32>().is_ok());
    assert_eq!(entry.len(), expected.len() + 2, "and TARGET: {entry:#?}");
}

#[test]
fn levels_are_priorities_of_rfc_5424() {
    let journald = Journald::new();
    let (_logging, _ending) = journald.connect();
    tracing::error!("a");
    tracing::warn!("a");
    tracing::info!("a");
    tracing::debug!("a");
    tracing::trace!("a");
    let priorities: Vec<_> =
        (0..5).map(|_| field(&journald.read().expect("an entry"), "PRIORITY").to_owned()).collect();
    assert_eq!(priorities, ["3", "4", "6", "7", "7"]);
}

#[test]
fn a_journald_that_stops_reading_holds_nobody_up_and_is_told_what_it_missed() {
    let journald = Journald::new();
    let (_logging, _ending) = journald.connect();
    let lines = 4 * journal::LINES_MAX;
    for number in 0..lines {
        tracing::info!(number, "while it does not read");
    }
    let (mut seen, mut missing, mut next) = (0, 0, 0);
    while seen + missing < lines {
        let entry = journald.read().expect("every line is there or counted");
        match entry.get("MESSAGE_ID") {
            Some(id) => {
                assert_eq!((id.as_str(), field(&entry, "PRIORITY")), (message::LINES_MISSING.id, "4"));
                let lines: usize = field(&entry, "RODENT_LINES").parse().expect("a number");
                (missing, next) = (missing + lines, next + lines);
            }
            None => {
                assert_eq!(field(&entry, "RODENT_NUMBER"), next.to_string(), "what is missing is told in its place");
                (seen, next) = (seen + 1, next + 1);
            }
        }
    }
    assert_eq!(seen + missing, lines);
    assert!(journal::missing_lines() >= missing as u64, "metrics count them");
    assert!(missing > 0 && seen >= journal::LINES_MAX, "{seen} seen, {missing} missing");

    tracing::info!("afterwards");
    assert_eq!(field(&journald.read().expect("an entry"), "MESSAGE"), "afterwards");
}

#[test]
fn long_lines_wait_within_a_bound_of_bytes_and_each_fits_into_a_datagram() {
    let journald = Journald::new();
    journald.fill();
    let (_logging, _ending) = journald.connect();
    let text = "ä".repeat(100_000);
    let lines = 200;
    for _ in 0..lines {
        tracing::info!(a = text, b = text, c = text, d = text, e = text, f = text, "{text}");
    }
    let (mut bytes, mut seen, mut missing) = (0, 0, 0);
    while seen + missing < lines {
        let datagram = journald.datagram().expect("every line is there or counted");
        let entry = parse(&datagram);
        if entry.get("MESSAGE_ID").map(String::as_str) == Some(message::LINES_MISSING.id) {
            missing += field(&entry, "RODENT_LINES").parse::<usize>().expect("a number");
        } else if entry.contains_key("RODENT_A") {
            assert!(datagram.len() < 128 << 10, "{}", datagram.len());
            assert!(field(&entry, "RODENT_A").len() <= 16 << 10);
            (bytes, seen) = (bytes + datagram.len(), seen + 1);
        }
    }
    // One more is on its way.
    assert!(bytes <= journal::BYTES_MAX + (128 << 10), "{bytes}");
    assert_eq!(seen + missing, lines);
    assert!(journal::missing_lines() >= missing as u64, "metrics count them");
}

#[test]
fn the_end_waits_a_moment_for_what_is_not_read_and_not_for_ever() {
    let journald = Journald::new();
    let (_logging, ending) = journald.connect();
    journald.fill();
    for _ in 0..100 {
        tracing::info!("not read");
    }
    let start = Instant::now();
    drop(ending);
    assert!(start.elapsed() < PATIENCE, "half a second, and what a busy machine may add");

    let journald = Journald::new();
    let (_logging, ending) = journald.connect();
    tracing::info!("last words");
    drop(ending);
    journald.socket.set_nonblocking(true).expect("no waiting");
    assert_eq!(field(&journald.read().expect("it is sent"), "MESSAGE"), "last words");
}

#[test]
fn a_journald_that_is_started_anew_gets_what_came_meanwhile() {
    let mut journald = Journald::new();
    let (_logging, _ending) = journald.connect();
    fs::remove_file(journald.path()).expect("removed");
    tracing::info!("while it was away");
    journald.socket = listen(&journald.path());
    assert_eq!(field(&journald.read().expect("an entry"), "MESSAGE"), "while it was away");
}

/// The built agent, started as systemd does: its standard error is the journal's stream.
struct Agent {
    process: Process,
    directory: TempDir,
    token: String,
}

impl Agent {
    fn start(journald: &Journald, level: &str) -> Agent {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name).display().to_string();
        let identity = token::NodeIdentity { node: "nas-1".to_owned(), organisation: String::new(), private: true };
        let secret = token::SigningSecret::random().expect("randomness");
        let token = token::issue(&secret, &identity, None).expect("a token");
        fs::write(place("token"), &token).expect("written");
        // Nobody listens on port 1.
        let config = format!(
            "controller:\n  address: 127.0.0.1:1\n  token_file: {}\n  tls: off\nstate_directory: {}\nsocket: {}\n",
            place("token"),
            place("state"),
            place("rodent.sock")
        );
        fs::write(place("rodent.yml"), config).expect("written");
        let mut command = as_systemd(journald, directory.path());
        command.args(["agent", "--config", &place("rodent.yml")]).env("RODENT_LOG", level).stdout(Stdio::null());
        let process = Process::start(&mut command, &directory.path().join("stderr"));
        Agent { process, directory, token }
    }

    fn rodent(&self, words: &[&str]) -> bool {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("--socket").arg(self.directory.path().join("rodent.sock")).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("started").success()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).expect("a file")
    }
}

/// A command whose standard error is to be the file `stderr`, which is given out for the journal's stream.
fn as_systemd(journald: &Journald, directory: &Path) -> Command {
    let file = fs::File::create(directory.join("stderr")).expect("a file").metadata().expect("its numbers");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
    command.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
    command.env("RODENT_JOURNAL_SOCKET", journald.path()).env_remove("RODENT_LOG").env_remove("NOTIFY_SOCKET");
    command
}

#[test]
fn an_agent_of_systemd_writes_to_the_journal_and_never_a_secret() {
    let journald = Journald::new();
    let mut agent = Agent::start(&journald, "trace");
    let mut wire = Vec::new();
    let mut ids = Vec::new();
    wait("ready and without a controller", PATIENCE, || {
        let datagram = journald.datagram()?;
        let entry = parse(&datagram);
        wire.push(datagram);
        ids.extend(entry.get("MESSAGE_ID").cloned());
        let has = |message: message::Message| ids.iter().any(|id| id == message.id);
        (has(message::AGENT_READY) && has(message::CONTROLLER_AWAY)).then_some(())
    });
    assert!(agent.process.terminate(STOP_MAX), "it ends in order");
    assert_eq!(agent.said(), "", "nothing is said twice");
    journald.socket.set_nonblocking(true).expect("no waiting");
    wire.extend(std::iter::from_fn(|| journald.datagram()));
    for part in agent.token.split('.') {
        assert!(part.len() > 10, "a token has three long parts");
        let has = |datagram: &Vec<u8>| datagram.windows(part.len()).any(|window| window == part.as_bytes());
        assert!(!wire.iter().any(has), "a part of the token is in the journal");
    }
}

#[test]
fn an_agent_goes_on_and_ends_while_journald_does_not_read() {
    let journald = Journald::new();
    journald.fill();
    let mut agent = Agent::start(&journald, "trace");
    wait("the agent answers", PATIENCE, || agent.rodent(&["status"]).then_some(()));
    for _ in 0..20 {
        assert!(agent.rodent(&["emit", "storage.pool.created", "pool_name=tank", "--level", "error"]));
    }
    assert!(agent.process.terminate(STOP_MAX), "it ends in order");
}

#[test]
fn a_refused_configuration_is_found_in_the_journal_by_its_identifier() {
    let (journald, directory) = (Journald::new(), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("rodent.yml");
    fs::write(&path, "evnets: {}\n").expect("written");
    let mut command = as_systemd(&journald, directory.path());
    let stderr = fs::File::options().append(true).open(directory.path().join("stderr")).expect("a file");
    let ended = command.args(["agent", "--config"]).arg(&path).stderr(stderr).status().expect("started");
    assert_eq!(ended.code(), Some(78));
    let entry = journald.find(message::CONFIGURATION_REFUSED);
    assert_eq!(field(&entry, "PRIORITY"), "3");
    assert!(field(&entry, "RODENT_ERROR").contains("rodent.yml:1:1"), "{entry:#?}");
}

mod the_catalogue {
    use super::*;

    fn text() -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/catalog/rodent.catalog");
        fs::read_to_string(path).expect("the catalogue")
    }

    fn sources(directory: &Path, all: &mut String) {
        for entry in fs::read_dir(directory).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, all);
            } else if !path.ends_with("telemetry/message.rs") {
                all.push_str(&fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }

    #[test]
    fn has_a_text_for_each_message_and_no_other() {
        let text = text();
        let mut explained: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        let mut ids: Vec<_> = message::ALL.iter().map(|message| message.id).collect();
        explained.sort_unstable();
        ids.sort_unstable();
        assert_eq!(explained, ids);
        ids.dedup();
        assert_eq!(ids.len(), message::ALL.len(), "each has its own");
        for message in message::ALL {
            let is_hexadecimal = message.id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            assert!(message.id.len() == 32 && is_hexadecimal, "{}", message.name);
            assert!(text.contains(&format!("# {}\n-- {}\nSubject: ", message.name, message.id)), "{}", message.name);
        }
        let long: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && line.len() > 85).collect();
        assert!(long.is_empty(), "{long:#?}");
    }

    #[test]
    fn explains_only_messages_that_are_logged() {
        let mut all = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        for message in message::ALL {
            assert!(all.contains(&format!("message::{}", message.name)), "{} is logged nowhere", message.name);
        }
    }

    #[test]
    fn names_only_fields_of_its_messages() {
        let mut all = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let text = text();
        let names = text.split('@').skip(1).step_by(2);
        for name in names {
            let field = name.strip_prefix("RODENT_").expect("a field of the agent's").to_lowercase();
            assert!(all.contains(&format!("{field},")) || all.contains(&format!("{field} = ")), "{name}");
        }
    }
}
