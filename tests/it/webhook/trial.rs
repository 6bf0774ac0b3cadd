//! Trials with the agent as built: what it has taken for a sink is delivered, dead, recorded as lost or yet to come, whenever it is
//! killed; and a receiver that is dead is no burden to those that are not. `RODENT_TRIALS` makes them longer, `RODENT_SEED` plays one
//! once more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    dice::{Dice, trials},
    process::wait,
    site::Site,
};

const PATIENCE: Duration = Duration::from_secs(300);

/// Kills, and portions of events.
const KILLS: u64 = 6;
const PORTIONS: u64 = 6;

/// Events of half a round, and of a portion.
const EVENTS: u64 = 40;

/// The longest from when half of a round's events are durable to the kill.
const KILL_WITHIN: Duration = Duration::from_millis(600);

/// One event of so many is refused by whoever gets it.
const REFUSED_EACH: u64 = 41;

/// Where events are posted to of which some are refused.
const IN: &str = "/in";

/// More than a trial of a hundred kills makes; as many as can be asked for.
const STORED_MAX: &str = "10000";

/// How a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Away,
    /// Takes each third event and says nothing.
    Forgetful,
}

/// An event that a receiver has taken: its number and its identifier, and where it was posted to.
type Taken = (u64, String, String);

struct Receiver {
    address: String,
    mood: Arc<Mutex<Mood>>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Receiver {
    fn start() -> Receiver {
        Receiver::at("127.0.0.1:0")
    }

    /// At this address; its threads end with the test.
    fn at(address: &str) -> Receiver {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (mood, taken) = (Arc::new(Mutex::new(Mood::Well)), Arc::default());
        let receiver = Receiver { address, mood: Arc::clone(&mood), taken: Arc::clone(&taken) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mood, taken) = (Arc::clone(&mood), Arc::clone(&taken));
                thread::spawn(move || _ = serve(stream, &mood, &taken));
            }
        });
        receiver
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().expect("no panic under the lock") = mood;
    }

    fn taken(&self) -> Vec<Taken> {
        self.taken.lock().expect("no panic under the lock").clone()
    }
}

fn serve(mut stream: TcpStream, mood: &Mutex<Mood>, taken: &Mutex<Vec<Taken>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if path.is_empty() {
                path = line.split(' ').nth(1)?.to_owned();
            }
            length = line.strip_prefix("content-length: ").map_or(Some(length), |length| length.parse().ok())?;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let posted: Value = serde_json::from_slice(&body).ok()?;
        let id = posted["data"]["id"].as_str()?.to_owned();
        // What tells of a loss has no number.
        let number = posted["data"]["metadata"]["number"].as_str().and_then(|number| number.parse().ok());
        let mood = *mood.lock().ok()?;
        let status = match (mood, number) {
            (Mood::Away, _) => "503 Service Unavailable",
            (_, Some(number)) if number % REFUSED_EACH == 0 && path == IN => "422 Unprocessable Content",
            _ => "200 OK",
        };
        if let Some(number) = number.filter(|_| status == "200 OK") {
            taken.lock().ok()?.push((number, id, path));
            if mood == Mood::Forgetful && number % 3 == 0 {
                return None;
            }
        }
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).ok()?;
    }
}

/// Gives so many events to the agent, numbered from `first` on, each third urgent and each fifth for the sink `spare`; the child
/// ends when all are durable, or the agent is gone.
fn emit(site: &Site, first: u64, count: u64) -> Child {
    let mut emit = Command::new(env!("CARGO_BIN_EXE_rodent"));
    emit.args(["emit", "--json", "-", "--socket"]).arg(site.path("rodent.sock"));
    let mut emit =
        emit.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start rodent");
    let mut input = emit.stdin.take().expect("it is piped");
    for number in first..first + count {
        let (kind, payload) = match number {
            number if number % 5 == 0 => ("service.status.started", json!({"service_name": "smbd"})),
            number if number % 3 == 0 => ("storage.pool.degraded", json!({"pool_name": "tank"})),
            _ => ("sharing.connection.connected", json!({"share_name": "home"})),
        };
        let level = if kind.starts_with("storage") { "error" } else { "info" };
        let event =
            json!({"kind": kind, "level": level, "payload": payload, "metadata": {"number": number.to_string()}});
        // Err: the agent was killed, and the command has ended.
        let _ = writeln!(input, "{event}");
    }
    emit
}

/// Events of the log that a filter takes, as lines of JSON.
fn stored(site: &Site, filter: &[&str]) -> String {
    let answer = site.rodent(&[&["events", "-n", STORED_MAX, "-o", "jsonl"], filter].concat());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    answer.out
}

/// Identifiers of the numbered events in lines of JSON.
fn numbered(lines: &str) -> BTreeMap<u64, String> {
    let of = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let number = event["metadata"]["number"].as_str()?.parse().ok()?;
        Some((number, event["id"].as_str().expect("an identifier").to_owned()))
    };
    lines.lines().filter_map(of).collect()
}

/// What this consumer has yet to take.
fn to_come(status: &Value, consumer: &str) -> u64 {
    let cursors = status["log"]["cursors"].as_array().expect("cursors");
    cursors.iter().filter(|cursor| cursor["name"] == consumer).filter_map(|cursor| cursor["lag_events"].as_u64()).sum()
}

/// How many events records say that a consumer has lost, dead letters aside.
fn lost(site: &Site, consumer: &str) -> u64 {
    let records = stored(site, &["system.loss.*", "!system.loss.refused"]);
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let own = records.filter(|record| record["payload"]["consumer"] == consumer);
    own.filter_map(|record| record["payload"]["count"].as_u64()).sum()
}

#[test]
fn whatever_is_killed_when_each_event_of_a_sink_is_taken_or_dead_and_comes_again_under_its_own_identifier() {
    let (hook, spare) = (Receiver::start(), Receiver::start());
    let sink = |receiver: &Receiver, filter: &str, other: &str| {
        format!(
            "{{type: webhook, url: 'http://{}{IN}', backoff_max: 1s, filter: [{filter}], fallback: {{to: {other}, after: 1s}}}}",
            receiver.address
        )
    };
    let mut site = Site::start(&format!(
        "events: {{flush_interval: 50ms}}\nsinks:\n  hook: {}\n  spare: {}",
        sink(&hook, "'sharing.*', storage.pool.degraded", "spare"),
        sink(&spare, "'service.*'", "hook"),
    ));
    let mut dice = Dice::of_this_run();
    let moods = [Mood::Well, Mood::Well, Mood::Away, Mood::Forgetful];
    for round in 0..trials(KILLS) {
        for receiver in [&hook, &spare] {
            receiver.is(moods[dice.below(4) as usize]);
        }
        // Something is there to be delivered, whatever the machine is busy with.
        let first = 1 + round * 2 * EVENTS;
        assert!(emit(&site, first, EVENTS).wait().expect("it ends").success());
        let mut emit = emit(&site, first + EVENTS, EVENTS);
        thread::sleep(Duration::from_micros(dice.below(KILL_WITHIN.as_micros() as u64)));
        site.signal(Signal::SIGKILL);
        emit.wait().expect("it ends with the agent");
        site.start_again();
        wait("it answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
    }
    hook.is(Mood::Well);
    spare.is(Mood::Well);
    wait("nothing is to come", PATIENCE, || {
        let status = site.status();
        (to_come(&status, "hook") + to_come(&status, "spare") == 0).then_some(())
    });
    let all_taken: Vec<_> = [hook.taken(), spare.taken()].concat();
    let mut appended_in_all = 0;
    for (consumer, filter) in [("hook", "sharing or storage"), ("spare", "service")] {
        let appended = numbered(&stored(&site, &[filter]));
        let letters = site.rodent(&["dead-letters", "list", "--consumer", consumer, "-o", "jsonl"]).out;
        let dead: BTreeSet<_> = numbered_letters(&letters);
        let own: BTreeMap<_, _> = appended.iter().map(|(number, id)| (id.clone(), *number)).collect();
        let taken: BTreeSet<_> =
            all_taken.iter().filter(|(_, id, _)| own.contains_key(id)).map(|(_, id, _)| id.clone()).collect();
        for (number, id, _) in all_taken.iter().filter(|(number, ..)| appended.contains_key(number)) {
            assert_eq!(appended.get(number), Some(id), "{number} came under another identifier");
        }
        assert!(taken.is_disjoint(&dead), "taken and dead: {:?}", taken.intersection(&dead));
        let ended = taken.len() as u64 + dead.len() as u64 + lost(&site, consumer);
        assert_eq!(appended.len() as u64, ended, "{consumer}: {} taken, {} dead", taken.len(), dead.len());
        assert!(dead.iter().all(|id| own.get(id).is_some_and(|number| number % REFUSED_EACH == 0)), "{dead:?}");
        appended_in_all += appended.len();
    }
    let known: BTreeSet<_> = numbered(&stored(&site, &[])).into_values().collect();
    assert!(all_taken.iter().all(|(_, id, _)| known.contains(id)), "nothing comes that was never stored");
    assert!(appended_in_all > 0 && !all_taken.is_empty(), "the trial tried nothing");
}

/// Identifiers of the events in dead letters.
fn numbered_letters(lines: &str) -> BTreeSet<String> {
    let of = |line: &str| {
        let letter: Value = serde_json::from_str(line).expect("JSON");
        letter["event"]["id"].as_str().or(letter["id"].as_str()).expect("an identifier").to_owned()
    };
    lines.lines().map(of).collect()
}

/// Anonymous memory of the agent, KiB.
fn held(site: &Site) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", site.process_id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}

/// By how much the agent may grow from the first portion to the last: what the allocator keeps, and not the backlog.
const GROWTH_KIB_MAX: u64 = 6 * 1024;

#[test]
fn beside_one_that_is_dead_nine_get_everything_and_the_agent_does_not_grow() {
    let receiver = Receiver::start();
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let sink = |name: &str, address: &str| {
        format!("  {name}: {{type: webhook, url: 'http://{address}/{name}', backoff_max: 1s, filter: ['sharing.*']}}\n")
    };
    let names: Vec<_> = (0..9).map(|number| format!("s{number}")).collect();
    let healthy: String = names.iter().map(|name| sink(name, &receiver.address)).collect();
    let dead = sink("dead", &gone.to_string());
    let site = Site::start(&format!("events: {{flush_interval: 50ms}}\nsinks:\n{healthy}{dead}"));
    let (portions, mut after_first) = (trials(PORTIONS), 0);
    for portion in 0..portions {
        site.put(1 + portion * EVENTS, EVENTS);
        let expected = usize::try_from((portion + 1) * EVENTS).expect("few") * names.len();
        let has_all = || (receiver.taken.lock().expect("no panic under the lock").len() >= expected).then_some(());
        wait("the nine have all of it", PATIENCE, has_all);
        if portion == 0 {
            after_first = held(&site);
        }
    }
    let grown = held(&site).saturating_sub(after_first);
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB more after {portions} portions than after one, {after_first} KiB");
    let mut got: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (number, _, path) in receiver.taken() {
        got.entry(path).or_default().push(number);
    }
    let all: Vec<_> = (1..=portions * EVENTS).collect();
    for name in &names {
        assert_eq!(got.get(&format!("/{name}")), Some(&all), "{name} got all of it, in order, each once");
    }
    let status = site.status();
    assert_eq!(to_come(&status, "dead"), portions * EVENTS, "what is for the dead one is kept");
    let revived = Receiver::at(&gone.to_string());
    wait("it has all of it, too", PATIENCE, || (to_come(&site.status(), "dead") == 0).then_some(()));
    let numbers: Vec<_> = revived.taken().into_iter().map(|(number, ..)| number).collect();
    assert_eq!(numbers, all, "in order, each once");
}
