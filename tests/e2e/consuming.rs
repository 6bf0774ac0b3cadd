//! Programs that consume the log, written as the documents show it, over kills of themselves and of the agent: each event at
//! least once, in the order of its lane, none skipped; with workers, in the order of its subject.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    agent::Agent,
    container::{source, workshop},
    foreign::python,
    process::{Process, wait},
};

const PATIENCE: Duration = Duration::from_secs(300);
/// Events beside a program that stands still.
const BESIDE: u64 = 10_000;
/// As many as `RODENT_EVENTS_CONSUMED` says, in so many chunks; `make test-long` has 100,000.
const EVENTS: u64 = 30_000;
const CHUNKS: u64 = 10;
/// Subjects that events are about.
const POOLS: u64 = 50;
/// After which chunks the program is killed, and after which the agent.
const KILLS_OF_PROGRAM: [u64; 3] = [1, 4, 7];
const KILLS_OF_AGENT: [u64; 2] = [3, 6];

/// An agent that collects nothing.
fn agent(directory: &Path) -> Agent {
    let settings = json!({
        "events": { "flush_interval": "200ms" },
        "collectors": { "access": "off", "identity": "off", "network": "off", "security": "off", "service": "off", "sharing": "off", "storage": "off", "system": "off" },
    });
    Agent::start(directory, settings)
}

fn pools(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Value> {
    numbers.map(
        |number| json!({ "kind": "storage.pool.created", "payload": { "pool_name": format!("p{}", number % POOLS) } }),
    )
}

/// Where the consumer stands in a lane, and what it has yet to take there.
fn cursor(agent: &Agent, name: &str, lane: &str) -> Option<(u64, u64)> {
    let output = agent.rodent(&["consumers", "show", name, "-o", "jsonl"]).output().ok()?;
    let value: Value = serde_json::from_slice(&output.stdout).ok()?;
    let cursor = value["cursors"].as_array()?.iter().find(|cursor| cursor["lane"] == lane)?.clone();
    Some((cursor["next_sequence"].as_u64()?, cursor["lag_events"].as_u64()?))
}

/// A program with all that it has started. Dropping it is SIGKILL to each of them.
struct Program(Process);

impl Drop for Program {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.child.id()).expect("process numbers are positive");
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

/// The subject of each event, by lane and sequence, as the shell gets them.
fn subjects(agent: &Agent) -> BTreeMap<(String, u64), String> {
    let printed = agent.rodent(&["events", "--as", "subjects", "-o", "jsonl"]).output().expect("start rodent");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let text = String::from_utf8(printed.stdout).expect("JSON is text");
    let subject = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let place = placed(&event).expect("a place");
        // What is about no pool is about anything: its order is not looked at.
        let pool = event["payload"]["pool_name"].as_str().map_or_else(|| line.to_owned(), str::to_owned);
        (place, pool)
    };
    text.lines().map(subject).collect()
}

/// What the order holds for.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Lane,
    Subject,
}

/// Runs `program`, whose standard output says lane and sequence of each event, over all kills, and checks what it said.
fn is_given_each_event(
    order: Order,
    program: impl Fn(&Agent) -> Command,
    read: impl Fn(&str) -> Option<(String, u64)>,
) {
    let events = std::env::var("RODENT_EVENTS_CONSUMED").map_or(EVENTS, |text| text.parse().expect("a number"));
    let chunk_events = events / CHUNKS;
    let directory = tempfile::tempdir().expect("make a directory");
    let mut agent = agent(directory.path());
    let printed = |run: usize| directory.path().join(format!("printed.{run}"));
    let start = |agent: &Agent, run: usize| {
        let output = File::create(printed(run)).expect("make a file");
        let mut command = program(agent);
        command.stdout(output).env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1");
        Program(Process::start(command.process_group(0), &directory.path().join("program.log")))
    };
    let (mut runs, mut running) = (1, Some(start(&agent, 0)));
    for chunk in 0..CHUNKS {
        agent.emit(pools(chunk * chunk_events..(chunk + 1) * chunk_events));
        if KILLS_OF_PROGRAM.contains(&chunk) {
            // In the middle of something: it has come somewhere, and not to the end.
            wait("the program gets on", PATIENCE, || {
                (cursor(&agent, "trial", "routine")?.0 > chunk * chunk_events / 2).then_some(())
            });
            drop(running.take());
            running = Some(start(&agent, runs));
            runs += 1;
        }
        if KILLS_OF_AGENT.contains(&chunk) {
            agent.start_anew();
        }
    }
    for lane in ["urgent", "routine"] {
        wait("the program has everything", PATIENCE, || (cursor(&agent, "trial", lane)?.1 == 0).then_some(()));
    }
    drop(running);
    let subjects = if order == Order::Subject { subjects(&agent) } else { BTreeMap::new() };
    // For each line of order: its events as they stand in the log, and how many of them the program has had.
    let mut lines_of_order: BTreeMap<(String, String), (Vec<u64>, usize)> = BTreeMap::new();
    for ((lane, sequence), subject) in &subjects {
        lines_of_order.entry((lane.clone(), subject.clone())).or_default().0.push(*sequence);
    }
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut lines = 0;
    for run in 0..runs {
        let text = fs::read_to_string(printed(run)).expect("read what was printed");
        // A killed program may have left half a line.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let (lane, sequence) = read(line).unwrap_or_else(|| panic!("{line}"));
            let last = seen.entry(lane.clone()).or_default();
            match order {
                Order::Lane => {
                    assert!(sequence <= *last + 1, "{sequence} came behind {last}: {line}");
                    *last = sequence.max(*last);
                }
                Order::Subject => {
                    *last = sequence.max(*last);
                    let subject = &subjects[&(lane.clone(), sequence)];
                    let (all, had) = lines_of_order.get_mut(&(lane, subject.clone())).expect("it is known");
                    let place = all.iter().position(|its| *its == sequence).expect("it is one of them");
                    assert!(place <= *had, "{sequence} of {subject} came behind {:?}", all.get(*had));
                    *had = (place + 1).max(*had);
                }
            }
            lines += 1;
        }
    }
    for (lane, last) in &seen {
        let (next, _) = cursor(&agent, "trial", lane).expect("the agent says where the consumer stands");
        assert_eq!(*last + 1, next, "the last of the {lane} lane");
    }
    for ((lane, subject), (all, had)) in &lines_of_order {
        assert_eq!(*had, all.len(), "events of {subject} in the {lane} lane");
    }
    assert!(seen["routine"] >= events && lines >= events, "{seen:?}");
}

/// Lane and sequence of an event as JSON.
fn placed(event: &Value) -> Option<(String, u64)> {
    Some((event["lane"].as_str()?.to_owned(), event["sequence"].as_u64()?))
}

fn words(line: &str) -> Option<(String, u64)> {
    let mut words = line.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

fn of_python(words: &[&str]) -> impl Fn(&Agent) -> Command {
    move |agent| {
        let mut command = Command::new(python());
        command.arg(source("docs/clients/python/rodent_client.py")).args(words);
        command.env("RODENT_SOCKET", &agent.socket).env("RODENT_PROTO", source(""));
        command
    }
}

fn of_go(words: &[&str]) -> impl Fn(&Agent) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let work = workshop().join("go");
        let mut build = Command::new("sh");
        build.arg(source("docs/clients/go/build.sh")).arg(source("")).arg(&work);
        assert!(build.status().expect("start sh").success(), "the example is built with the distribution's Go");
        work.join("rodent-client")
    });
    move |agent| {
        let mut command = Command::new(program);
        command.args(words).env("RODENT_SOCKET", &agent.socket);
        command
    }
}

#[test]
fn a_program_in_python_gets_each_event_over_three_kills_of_itself_and_two_of_the_agent() {
    is_given_each_event(Order::Lane, of_python(&["consume", "trial"]), words);
}

#[test]
fn four_workers_in_python_get_each_event_over_the_kills_in_the_order_of_its_subject() {
    is_given_each_event(Order::Subject, of_python(&["work", "trial", "4"]), words);
}

#[test]
fn a_program_in_go_gets_each_event_over_three_kills_of_itself_and_two_of_the_agent() {
    is_given_each_event(Order::Lane, of_go(&["consume", "trial"]), words);
}

#[test]
fn four_workers_in_go_get_each_event_over_the_kills_in_the_order_of_its_subject() {
    is_given_each_event(Order::Subject, of_go(&["work", "trial", "4"]), words);
}

#[test]
fn the_shell_gets_each_event_over_three_kills_of_itself_and_two_of_the_agent() {
    let rodent = Path::new(env!("CARGO_BIN_EXE_rodent")).parent().expect("it lies in a directory").to_owned();
    let program = |agent: &Agent| {
        let mut command = Command::new("sh");
        command.arg(source("docs/clients/shell/consume.sh")).arg("trial");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("RODENT_SOCKET", &agent.socket).env("PATH", format!("{}:{path}", rodent.display()));
        command
    };
    let read = |line: &str| placed(&serde_json::from_str(line).ok()?);
    is_given_each_event(Order::Lane, program, read);
}

#[test]
fn a_program_that_never_reads_never_commits_or_never_leaves_harms_nobody_beside_it() {
    let directory = tempfile::tempdir().expect("make a directory");
    let agent = agent(directory.path());
    let mut idle = agent.rodent(&["events", "--as", "idle", "-f", "-o", "jsonl"]);
    // Nobody reads what it prints: it stands still when the pipe is full.
    let _stuck = Process::start(idle.stdout(Stdio::piped()), &directory.path().join("stuck.log"));
    agent.emit(pools(0..BESIDE));
    let mut beside = agent.rodent(&["events", "--as", "beside", "-o", "jsonl"]);
    let printed = beside.output().expect("start rodent");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    assert!(printed.stdout.split(|byte| *byte == b'\n').count() as u64 > BESIDE);
    thread::sleep(Duration::from_millis(500));
    let (next, lag) = cursor(&agent, "idle", "routine").expect("it is there");
    assert!(next < BESIDE && lag > 0, "it has committed what it could print, and no more: {next}, {lag}");
    assert!(agent.rodent(&["status"]).stdout(Stdio::null()).status().expect("start rodent").success());
}
