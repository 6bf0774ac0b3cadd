use std::fs;

use prost::Message as _;

use super::*;
use crate::{
    event::json,
    event_log::{Draft, Gap, Settings},
    health::Registry,
    schema::{events::Event, local::StateLevel},
};

/// A machine's directory with a log in it, and a clock that stands still.
struct Machine(tempfile::TempDir);

/// The log and the states of one run.
struct Run {
    log: EventLog,
    states: States,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    registry: Registry,
}

impl Machine {
    fn new() -> Machine {
        Machine(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(FILE)
    }

    #[expect(clippy::disallowed_methods, reason = "a test owns its tasks until the runtime ends")]
    fn start(&self) -> Run {
        let log = EventLog::open(Settings::new(self.0.path().join("log"))).expect("a log");
        let registry = Registry::new(|| 1);
        let states = States::open(&log, self.0.path(), registry.part("states"), Arc::new(|| 1_000));
        let stop = CancellationToken::new();
        let task = tokio::spawn(states.clone().keep(stop.clone()));
        Run { log, states, stop, task, registry }
    }
}

impl Run {
    /// `error storage.pool.degraded tank`, durable when it returns.
    async fn tell(&self, lane: Lane, line: &str) {
        let [level, kind, name] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("three words: {line}") };
        let field = if kind.starts_with("storage") { "pool_name" } else { "service_name" };
        let payload = serde_json::json!({field: name});
        self.put(lane, serde_json::json!({"level": level, "kind": kind, "payload": payload})).await;
    }

    /// As the pipeline does, durable when it returns.
    async fn put(&self, lane: Lane, event: serde_json::Value) {
        let event = json::from_str(&event.to_string()).expect("an event");
        let event = Event { timestamp: 5, source: "storage".into(), ..event };
        let event = Event { event_id: uuid::Uuid::now_v7().to_string(), ..event };
        let bytes = event.encode_to_vec();
        let draft = Draft {
            event: &bytes,
            level: event.level,
            category: event.category,
            timestamp: event.timestamp,
            kind: Some(Head::read(&bytes).expect("an event").kind_mark()),
        };
        let next = self.log.append(lane, &[draft]).await.expect("appended");
        self.log.commit(lane, next).await.expect("durable");
    }

    /// Something that tells of no state.
    async fn chat(&self, lane: Lane) {
        self.put(
            lane,
            serde_json::json!({"level": "info", "kind": "sharing.file_access.read", "payload": {"file_path": "/a"}}),
        )
        .await;
    }

    /// What is wrong, once everything is folded.
    async fn problems(&self) -> String {
        let next = Lane::ALL.map(|lane| self.log.bounds(lane).1);
        tokio::time::timeout(Duration::from_secs(60), self.states.folded(next)).await.expect("it is folded");
        self.states.with(|fold| {
            let name = |state: &crate::schema::local::SubjectState| {
                let mark = if state.carried_from != 0 || state.lost_since != 0 { "?" } else { "" };
                format!("{}{mark}", state.subject)
            };
            let mut names: Vec<_> = fold.worst(100).into_iter().map(name).collect();
            names.sort();
            names.join(" ")
        })
    }

    /// As a kill would end it: nothing more is written.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        self.log.close();
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it ends");
        self.log.close();
    }

    fn rebuilt(&self) -> String {
        self.states.with(|fold| fold.folding().rebuilt)
    }
}

#[tokio::test]
async fn what_comes_is_folded_and_a_start_goes_on_where_the_last_run_ended_or_was_killed() {
    let machine = Machine::new();
    let run = machine.start();
    run.tell(Lane::Urgent, "error storage.pool.degraded tank").await;
    run.tell(Lane::Urgent, "error storage.pool.degraded pond").await;
    assert_eq!(run.problems().await, "pond tank");
    run.stop().await;
    assert!(machine.file().exists());

    let run = machine.start();
    assert_eq!((run.problems().await.as_str(), run.rebuilt().as_str()), ("pond tank", ""));
    assert!(!run.states.needs_assertion());
    run.tell(Lane::Urgent, "info storage.pool.online pond").await;
    assert_eq!(run.problems().await, "tank");
    run.kill().await;

    let run = machine.start();
    assert_eq!((run.problems().await.as_str(), run.rebuilt().as_str()), ("tank", ""));
    run.stop().await;
}

#[tokio::test]
async fn whatever_is_cut_off_or_flipped_in_the_checkpoint_the_log_is_folded_anew() {
    let machine = Machine::new();
    let run = machine.start();
    run.tell(Lane::Urgent, "error storage.pool.degraded tank").await;
    run.tell(Lane::Routine, "info service.status.started smbd").await;
    run.problems().await;
    run.stop().await;
    let whole = fs::read(machine.file()).expect("written");
    for damage in 0..8 {
        let mut bytes = whole.clone();
        match damage {
            0 => bytes.clear(),
            1..4 => bytes.truncate(whole.len() * damage / 4),
            _ => bytes[whole.len() * damage / 9] ^= 1 << damage,
        }
        fs::write(machine.file(), bytes).expect("written");
        let run = machine.start();
        assert_eq!(run.problems().await, "tank", "{damage}");
        assert!(run.rebuilt().starts_with("their file is of no use"), "{damage}: {}", run.rebuilt());
        assert!(!run.states.needs_assertion(), "the log has everything");
        run.stop().await;
    }
}

#[tokio::test]
async fn what_another_version_has_folded_is_folded_anew_and_what_the_log_has_not_is_as_it_was() {
    let machine = Machine::new();
    let run = machine.start();
    run.tell(Lane::Urgent, "error storage.pool.degraded tank").await;
    run.problems().await;
    run.stop().await;
    let mut checkpoint = Checkpoint::read(&machine.file()).expect("read").expect("there");
    let at = LaneAt { lane: Lane::Urgent, epoch: uuid::Uuid::nil(), sequence: 2 };
    let gone =
        json::from_str(r#"{"level": "error", "kind": "storage.pool.degraded", "payload": {"pool_name": "pond"}}"#);
    let gone = gone.expect("an event").encode_to_vec();
    checkpoint.fold.event(at, Head::read(&gone).ok().as_ref(), &gone);
    Checkpoint::write(&machine.file(), checkpoint.fold, 7).expect("written");
    // Eight bytes of the format, four of the checksum, then the message, which begins with what its meanings were.
    let file = fs::read(machine.file()).expect("read");
    let mut message = crate::schema::local::StateCheckpoint::decode(&file[12..]).expect("it is one");
    message.meanings ^= 1;
    let message = message.encode_to_vec();
    let file = [&file[..8], &crc32c::crc32c(&message).to_be_bytes(), &message].concat();
    fs::write(machine.file(), file).expect("written");

    let run = machine.start();
    assert_eq!(run.problems().await, "pond? tank");
    assert!(run.rebuilt().starts_with("another version"), "{}", run.rebuilt());
    run.stop().await;
}

#[tokio::test]
async fn states_of_another_log_are_shown_as_what_they_were() {
    let machine = Machine::new();
    let run = machine.start();
    for line in
        ["error storage.pool.degraded tank", "error storage.pool.degraded pond", "error service.status.failed smbd"]
    {
        run.tell(Lane::Urgent, line).await;
    }
    run.problems().await;
    run.stop().await;
    fs::remove_dir_all(machine.0.path().join("log")).expect("removed");

    let run = machine.start();
    assert_eq!(run.problems().await, "pond? smbd? tank?");
    assert!(run.rebuilt().contains("has lost the end"), "{}", run.rebuilt());
    // As many events as before, of which the numbers are the same.
    for line in ["info storage.pool.online pond", "error storage.pool.degraded tank", "info storage.pool.online lake"] {
        run.tell(Lane::Urgent, line).await;
    }
    assert_eq!(run.problems().await, "smbd? tank");
    run.kill().await;

    let run = machine.start();
    assert_eq!(run.problems().await, "smbd? tank", "the older checkpoint is not gone on with");
    assert!(run.rebuilt().contains("is another one"), "{}", run.rebuilt());
    run.stop().await;
    let run = machine.start();
    assert_eq!(run.problems().await, "smbd? tank");
    run.stop().await;
}

#[tokio::test]
async fn what_the_log_lost_is_told_and_the_collectors_are_to_say_it_again() {
    let machine = Machine::new();
    let run = machine.start();
    run.tell(Lane::Urgent, "error storage.pool.degraded tank").await;
    assert_eq!(run.problems().await, "tank");
    run.stop().await;
    // Four events that the next run has not folded, and of which nothing is left.
    let mut checkpoint = Checkpoint::read(&machine.file()).expect("read").expect("there");
    checkpoint.fold.gap(Lane::Routine, Gap { from: 1, to: 5 });
    Checkpoint::write(&machine.file(), checkpoint.fold, 7).expect("written");
    let run = machine.start();
    // The routine lane of this log has not come so far.
    assert!(run.rebuilt().contains("routine lane"), "{}", run.rebuilt());
    assert!(run.states.needs_assertion());
    run.stop().await;
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_written_is_a_condition_and_the_states_go_on() {
    let machine = Machine::new();
    fs::create_dir_all(machine.file().join("in the way")).expect("a directory");
    let run = machine.start();
    run.tell(Lane::Urgent, "error storage.pool.degraded tank").await;
    assert_eq!(run.problems().await, "tank");
    let mut unwritten = Unwritten { events: 1, ..Unwritten::default() };
    run.states.write(&mut unwritten).await;
    let standing = run.registry.standing();
    assert_eq!(standing.len(), 1, "{standing:?}");
    assert!(standing[0].text.starts_with("the states cannot be written"), "{}", standing[0].text);
    assert!(unwritten.since.is_some(), "it is tried again");
    run.stop().await;
}

#[tokio::test]
async fn more_than_there_is_room_for_is_a_condition() {
    let machine = Machine::new();
    let run = machine.start();
    for name in 0..=SUBJECTS_MAX {
        let event = json::from_str(&format!(
            r#"{{"level": "error", "kind": "service.status.failed", "payload": {{"service_name": "s{name}"}}}}"#
        ));
        let event = event.expect("an event").encode_to_vec();
        let draft = Draft { event: &event, level: 3, category: 6, timestamp: 1, kind: None };
        run.log.append(Lane::Urgent, &[draft]).await.expect("appended");
    }
    run.log.commit(Lane::Urgent, run.log.next_sequence(Lane::Urgent)).await.expect("durable");
    run.problems().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while run.registry.standing().is_empty() {
        assert!(Instant::now() < deadline, "it is told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let standing = run.registry.standing();
    assert!(standing[0].text.contains("no room for 1 state that went wrong"), "{}", standing[0].text);
    let all = run.states.with(|fold| fold.worst(SUBJECTS_MAX).len());
    assert_eq!(all, SUBJECTS_MAX);
    assert_eq!(run.states.with(|fold| fold.worst(1)[0].changes[0].level()), StateLevel::Error);
    run.stop().await;
}

#[tokio::test]
async fn what_tells_of_no_state_is_passed_over_and_the_log_is_known_again_by_what_stands_last() {
    let machine = Machine::new();
    let run = machine.start();
    run.tell(Lane::Routine, "warn service.status.failed smbd").await;
    for lane in [Lane::Routine, Lane::Urgent, Lane::Routine, Lane::Routine] {
        run.chat(lane).await;
    }
    assert_eq!(run.problems().await, "smbd");
    assert_eq!(run.states.with(|fold| Lane::ALL.map(|lane| fold.next_sequence(lane))), [2, 5]);
    run.tell(Lane::Routine, "info service.status.started smbd").await;
    run.tell(Lane::Urgent, "error storage.pool.degraded tank").await;
    run.chat(Lane::Urgent).await;
    assert_eq!(run.problems().await, "tank");
    run.stop().await;
    let fold = Checkpoint::read(&machine.file()).expect("read").expect("there").fold;
    assert!(Lane::ALL.iter().all(|lane| !fold.last_event_id(*lane).is_empty()), "{:?}", fold.folding());

    let run = machine.start();
    assert_eq!((run.problems().await.as_str(), run.rebuilt().as_str()), ("tank", ""));
    run.stop().await;
    // Another log of as many events, whose last ones tell of no state either.
    fs::remove_dir_all(machine.0.path().join("log")).expect("removed");
    let log = EventLog::open(Settings::new(machine.0.path().join("log"))).expect("a log");
    log.close();
    let run = machine.start();
    for _ in 0..9 {
        run.chat(Lane::Urgent).await;
        run.chat(Lane::Routine).await;
    }
    run.kill().await;
    let mut checkpoint = Checkpoint::read(&machine.file()).expect("read").expect("there");
    checkpoint.fold = fold;
    Checkpoint::write(&machine.file(), checkpoint.fold, 7).expect("written");
    let run = machine.start();
    assert_eq!(run.problems().await, "tank?");
    assert!(run.rebuilt().contains("is another one"), "{}", run.rebuilt());
    run.stop().await;
}

#[tokio::test]
async fn what_is_urgent_is_folded_at_once_and_what_is_not_when_somebody_asks_or_a_moment_later() {
    let machine = Machine::new();
    let run = machine.start();
    run.problems().await;
    let wrong = |run: &Run| run.states.with(|fold| fold.worst(99).len());
    run.tell(Lane::Routine, "warn service.status.failed smbd").await;
    run.states.settle().await;
    assert_eq!(wrong(&run), 1, "whoever asks is told of all that is in the log");
    for name in 0..9 {
        run.tell(Lane::Urgent, &format!("error service.status.failed s{name}")).await;
        let begun = Instant::now();
        while wrong(&run) < 2 + name {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is folded");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    run.tell(Lane::Routine, "info service.status.started smbd").await;
    let begun = Instant::now();
    while wrong(&run) != 9 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody asks, and it is folded");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run.stop().await;
}

/// Read through the sieve, with gaps in it, the log gives what it gives when every event is looked at.
#[tokio::test]
async fn a_log_that_is_passed_over_in_part_gives_the_same_states_as_one_of_which_all_is_read() {
    let machine = Machine::new();
    let run = machine.start();
    let mut dice = 7u64;
    let mut roll = move |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for _ in 0..300 {
        let lane = if roll(4) == 0 { Lane::Urgent } else { Lane::Routine };
        match roll(6) {
            0 => run.tell(lane, &format!("error storage.pool.degraded p{}", roll(5))).await,
            1 => run.tell(lane, &format!("info storage.pool.online p{}", roll(5))).await,
            2 => run.tell(lane, &format!("warn service.status.failed s{}", roll(5))).await,
            _ => run.chat(lane).await,
        }
    }
    run.problems().await;
    let mut all = Fold::new([1, 1]);
    let mut follower = Follower::new(&run.states);
    let mut events = Vec::new();
    for queue in &mut follower.lanes {
        queue.reader.seek(1);
        while let Read::Run(read) = queue.reader.read(READ_MAX.0, READ_MAX.1).expect("read") {
            events.extend(read.events().map(|event| (read.lane, read.epoch, event)));
        }
    }
    events.sort_by_key(|(.., event)| Head::read(&event.event).expect("an event").id);
    for (lane, epoch, event) in events {
        let at = LaneAt { lane, epoch, sequence: event.sequence };
        all.event(at, Head::read(&event.event).ok().as_ref(), &event.event);
    }
    // How far one lane was read ahead of the other tells in how many events a change was counted, and in nothing else.
    let states = |fold: &Fold| {
        let state = |its: &crate::schema::local::SubjectState| {
            (its.subject.clone(), its.state.clone(), its.changes[0].level, its.changes[0].text.clone())
        };
        let mut all: Vec<_> = fold.worst_first().into_iter().map(state).collect();
        all.sort();
        all
    };
    assert_eq!(run.states.with(states), states(&all));
    // And so does a start that folds everything anew.
    let anew = States::open(&run.log, &machine.0.path().join("elsewhere"), run.registry.part("anew"), Arc::new(|| 1));
    let mut follower = Follower::new(&anew);
    let mut step = Step { is_full: true, ..Step::default() };
    while std::mem::take(&mut step.is_full) {
        follower.fold(&anew, &mut step).expect("read");
    }
    assert_eq!(anew.with(states), states(&all));
    assert!(step.passed > 50 && step.events < 300, "{} {}", step.passed, step.events);
    run.stop().await;
}
