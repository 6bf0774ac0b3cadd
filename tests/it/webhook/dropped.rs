//! A trial with the agent as built: a sink is away for so long that the log makes room of what it has not taken, and the agent is
//! killed in the middle of it. What it takes then, and what the records that it is sent say it has lost, is all there was.
//! `RODENT_TRIALS` makes it longer, `RODENT_SEED` plays one once more.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Posted, Receiver, answer};
use crate::{
    dice::{Dice, trials},
    process::wait,
    site::Site,
};

const PATIENCE: Duration = Duration::from_secs(300);

/// Portions of events, each with a kill behind it; five of them are three generations of the log.
const PORTIONS: u64 = 5;
const EVENTS: u64 = 600;

/// Characters that each event carries, by chance: nothing makes them fewer on the disk.
const BALLAST: usize = 12_000;

/// The longest from when a portion is durable to the kill.
const KILL_WITHIN: Duration = Duration::from_millis(600);

/// The least disk that can be set, and of it for routine events a generation and a little.
const ROOM: &str = "max_disk: 64MiB, urgent_share: 80, history: off, flush_interval: 50ms";

/// Events of this number and those behind it; all are durable when it comes back.
fn emit(site: &Site, first: u64, count: u64, ballast: usize, dice: &mut Dice) {
    let mut emit = Command::new(env!("CARGO_BIN_EXE_rodent"));
    emit.args(["emit", "--json", "-", "--socket"]).arg(site.path("rodent.sock"));
    let mut emit = emit.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start rodent");
    let mut input = emit.stdin.take().expect("it is piped");
    for number in first..first + count {
        let text: String = (0..ballast).map(|_| char::from(b'0' + dice.below(64) as u8)).collect();
        let event = json!({"kind": "sharing.connection.connected", "payload": {"share_name": text},
            "metadata": {"number": number.to_string()}});
        writeln!(input, "{event}").expect("it reads on");
    }
    drop(input);
    assert!(emit.wait().expect("it ends").success());
}

/// The places of the numbered events that the log has, in the routine lane.
fn places_of(site: &Site) -> BTreeMap<u64, u64> {
    let stored = site.rodent(&["events", "-n", "10000", "-o", "jsonl", "sharing"]).out;
    let place = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["lane"], "routine");
        Some((event["metadata"]["number"].as_str()?.parse().ok()?, event["sequence"].as_u64()?))
    };
    stored.lines().filter_map(place).collect()
}

/// The records of losses among what was posted that name who has lost, each once: who, why, from where to where, and how many.
/// Those of the kills name nobody, and come to all.
fn records(posted: &[Posted]) -> BTreeSet<(String, String, u64, u64, u64)> {
    let record = |posted: &Posted| {
        let body = posted.json();
        let why = body["type"].as_str()?.strip_prefix("system.loss.")?.to_owned();
        let payload = &body["data"]["payload"];
        let number = |name: &str| payload[name].as_u64().unwrap_or_else(|| panic!("{name} in {payload}"));
        let whose = payload["consumer"].as_str().filter(|whose| !whose.is_empty())?.to_owned();
        Some((whose, why, number("first_sequence"), number("last_sequence"), number("count")))
    };
    posted.iter().filter_map(record).collect()
}

#[test]
fn what_makes_room_before_a_sink_has_taken_it_is_told_to_it_and_counted_over_kills() {
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let hook = Receiver::start(move |_| match away.load(Ordering::Relaxed) {
        true => answer("503 Service Unavailable"),
        false => answer("200 OK"),
    });
    let fine = Receiver::start(|_| answer("200 OK"));
    let sink = |receiver: &Receiver| {
        format!("{{type: webhook, url: 'http://{}/', backoff_max: 1s, filter: ['sharing.*']}}", receiver.address)
    };
    let mut site =
        Site::start(&format!("events: {{{ROOM}}}\nsinks:\n  hook: {}\n  fine: {}", sink(&hook), sink(&fine)));
    let mut dice = Dice::of_this_run();
    emit(&site, 1, 1, 1, &mut dice);
    wait("the first one is taken", PATIENCE, || (hook.numbers() == [1]).then_some(()));
    let mut places = places_of(&site);
    let first = places[&1];
    // That it was taken is durable: it comes once.
    site.restart();
    wait("it answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
    is_away.store(true, Ordering::Relaxed);
    let portions = trials(PORTIONS).max(PORTIONS);
    for portion in 0..portions {
        emit(&site, 2 + portion * EVENTS, EVENTS, BALLAST, &mut dice);
        thread::sleep(Duration::from_micros(dice.below(KILL_WITHIN.as_micros() as u64)));
        site.signal(Signal::SIGKILL);
        site.start_again();
        let last = 1 + (portion + 1) * EVENTS;
        // Or it would lose some, too.
        wait("the other one has them", PATIENCE, || fine.numbers().contains(&last).then_some(()));
        places.extend(places_of(&site));
    }
    let all = 1 + portions * EVENTS;
    is_away.store(false, Ordering::Relaxed);
    wait("it has the last one", PATIENCE, || hook.numbers().contains(&all).then_some(()));
    let taken: BTreeSet<_> = hook.numbers().into_iter().filter(|number| *number > 1).collect();
    // What it had in hand of a generation that went it takes all the same.
    let missing: Vec<_> = (2..=all).filter(|number| !taken.contains(number)).map(|number| places[&number]).collect();
    assert!(!missing.is_empty(), "the trial lost nothing");
    let records = wait("it is sent a record of each that it has not taken", PATIENCE, || {
        let records = records(&hook.taken());
        let is_told = |place: &u64| records.iter().any(|(_, _, from, to, _)| (from..=to).contains(&place));
        missing.iter().all(is_told).then_some(records)
    });
    let mut next = first + 1;
    for (whose, why, from, to, count) in &records {
        assert_eq!((whose.as_str(), why.as_str()), ("hook", "retention"), "{records:?}");
        assert!(*from >= next && *count == to + 1 - from, "each lost event stands in one record: {records:?}");
        next = to + 1;
    }
    let lost: u64 = records.iter().map(|(.., count)| count).sum();
    let strangers = places[&all] - first - (all - 1);
    println!(
        "{all} events: {} taken, {lost} lost in {} records, {strangers} of the agent's own",
        taken.len() + 1,
        records.len()
    );
    let most = missing.len() as u64 + strangers;
    assert!(lost <= most, "all that was not taken, and nothing else: {} {records:?}", missing.len());
    let mut others: Vec<_> = fine.numbers();
    others.dedup();
    others.sort_unstable();
    others.dedup();
    assert!(others.into_iter().eq(1..=all), "the other one has lost nothing");
    assert_eq!(self::records(&fine.taken()), BTreeSet::new(), "and is told nothing of it");
}
