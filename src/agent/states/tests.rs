use std::fs;

use prost::Message as _;

use super::*;
use crate::{
    event::json,
    event_log::{Draft, Settings},
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
        let text = serde_json::json!({"level": level, "kind": kind, "payload": {field: name}}).to_string();
        let event = Event { timestamp: 5, source: "storage".into(), ..json::from_str(&text).expect("an event") };
        let event = Event { event_id: uuid::Uuid::now_v7().to_string(), ..event };
        let bytes = event.encode_to_vec();
        let draft = Draft {
            event: &bytes,
            level: event.level,
            category: event.category,
            timestamp: event.timestamp,
            kind: None,
        };
        let next = self.log.append(lane, &[draft]).await.expect("appended");
        self.log.commit(lane, next).await.expect("durable");
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
    let mut unwritten = Unwritten { events: 1, since: None };
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
    assert!(standing[0].text.contains("1 that are wrong have no room"), "{}", standing[0].text);
    let all = run.states.with(|fold| fold.worst(SUBJECTS_MAX).len());
    assert_eq!(all, SUBJECTS_MAX);
    assert_eq!(run.states.with(|fold| fold.worst(1)[0].changes[0].level()), StateLevel::Error);
    run.stop().await;
}
