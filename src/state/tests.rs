use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::{checkpoint, *};
use crate::{
    event::{Head, Level, json},
    event_log::{Gap, Lane},
    schema::{
        Payload as _,
        events::{Event, SystemProblemPayload, system_problem_payload::SystemProblemOperation},
        local::{self, SubjectState},
    },
};

mod bounds;
mod silences;
mod stories;

const EPOCH: Uuid = Uuid::from_u128(7);

/// A fold and where its lanes are.
#[derive(Clone)]
struct Told {
    fold: Fold,
    next: [u64; 2],
}

impl Told {
    fn nothing() -> Told {
        Told { fold: Fold::new([1, 1]), next: [1, 1] }
    }

    fn take(&mut self, lane: Lane, event: &Event) -> bool {
        let sequence = self.next[lane.index()];
        self.next[lane.index()] += 1;
        let bytes = event.encode_to_vec();
        let head = Head::read(&bytes).ok();
        self.fold.event(LaneAt { lane, epoch: EPOCH, sequence }, head.as_ref(), &bytes)
    }

    fn lose(&mut self, lane: Lane, events: u64) {
        let from = self.next[lane.index()];
        self.next[lane.index()] += events;
        self.fold.gap(lane, Gap { from, to: from + events });
    }

    /// Through a file and back.
    fn again(self) -> Told {
        let checkpoint = Checkpoint::parse(&checkpoint::bytes(self.fold.clone(), 77)).expect("whole");
        assert!(checkpoint.is_current && checkpoint.written_at == 77);
        Told { fold: checkpoint.fold, ..self }
    }

    /// What `rodent problems` says, a word of level and the names.
    fn problems(&self) -> String {
        let line = |state: &SubjectState| {
            let now = &state.changes[0];
            let mark = match (&state.acknowledgement, state.carried_from != 0 || state.lost_since != 0) {
                (Some(_), _) => " known",
                (None, true) => " ?",
                (None, false) => "",
            };
            format!("{} {} {} since {}{mark}", now.level().word(), state.state, state.subject, now.wrong_since)
        };
        self.fold.worst(100).into_iter().map(line).collect::<Vec<_>>().join("; ")
    }

    fn state(&self, subject: &str, state: &str) -> SubjectState {
        self.fold.of_subject(subject).find(|its| its.state == state).cloned().expect("it is known")
    }
}

/// An identifier that grows with time, as the agent makes them.
fn id(time: i64, number: u32) -> String {
    let time = u128::from(time.unsigned_abs()) << 80;
    Uuid::from_u128(time | 7 << 76 | u128::from(number) << 64 & (0xfff << 64) | 0b10 << 62).to_string()
}

/// `error storage.pool.degraded tank`, at a time, of a collector unless `source` says otherwise.
fn event(time: i64, line: &str, source: &str) -> Event {
    let [level, kind, name] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("three words: {line}") };
    let field = match kind.rsplit_once('.').expect("a kind").0 {
        "storage.pool" => "pool_name",
        "storage.disk" => "device_id",
        "storage.dataset" => "dataset_name",
        "network.interface" => "interface_name",
        "service.status" => "service_name",
        "usage.threshold" => "threshold_name",
        _ => "subject",
    };
    let text = serde_json::json!({"level": level, "kind": kind, "payload": {field: name}}).to_string();
    let event = json::from_str(&text).expect("an event");
    Event { event_id: id(time, 0), timestamp: time, source: source.to_owned(), ..event }
}

fn acknowledged(time: i64, subject: &str, state: &str, level: Level) -> Event {
    let payload = SystemProblemPayload {
        subject: subject.to_owned(),
        state: state.to_owned(),
        note: "ordered".to_owned(),
        actor: "root".to_owned(),
        known_level: level.to_wire().into(),
        operation: SystemProblemOperation::Acknowledged.into(),
        ..SystemProblemPayload::default()
    };
    Event {
        event_id: id(time, 1),
        timestamp: time,
        level: Level::Essential.to_wire().into(),
        source: "agent".to_owned(),
        event_payload: Some(payload.into_event_payload()),
        ..Event::default()
    }
}

/// What may come next.
#[derive(Clone, Debug)]
enum Next {
    Event(Lane, Box<Event>),
    Lost(Lane, u64),
}

fn next_strategy() -> impl Strategy<Value = Next> {
    let kinds = prop::sample::select(vec![
        "error storage.pool.degraded",
        "critical storage.pool.faulted",
        "info storage.pool.online",
        "info storage.pool.exported",
        "warn storage.pool.scrub_completed",
        "info storage.pool.scrub_completed",
        "essential storage.pool.online",
        "warn network.interface.down",
        "info network.interface.up",
        "info system.host.heartbeat",
    ]);
    let lane = prop::sample::select(Lane::ALL.to_vec());
    let name = prop::sample::select(vec!["tank", "pond", "lake"]);
    let source = prop::sample::select(vec!["storage", "local"]);
    let told = (lane.clone(), kinds, name.clone(), source, 1i64..1_000).prop_map(|(lane, kind, name, source, time)| {
        Next::Event(lane, event(time, &format!("{kind} {name}"), source).into())
    });
    let known = (lane.clone(), name, 1i64..1_000)
        .prop_map(|(lane, name, time)| Next::Event(lane, acknowledged(time, name, "pool health", Level::Error).into()));
    let lost = (lane, 1u64..9).prop_map(|(lane, events)| Next::Lost(lane, events));
    prop_oneof![12 => told, 2 => known, 1 => lost]
}

fn go_on(told: &mut Told, next: &[Next]) {
    for next in next {
        match next {
            Next::Event(lane, event) => drop(told.take(*lane, event)),
            Next::Lost(lane, events) => told.lose(*lane, *events),
        }
    }
}

proptest! {
    #[test]
    fn any_cut_of_the_stream_with_a_checkpoint_between_gives_the_same_as_the_whole(
        all in prop::collection::vec(next_strategy(), 0..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let mut whole = Told::nothing();
        go_on(&mut whole, &all);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut parts, mut from) = (Told::nothing(), 0);
        for cut in cuts {
            go_on(&mut parts, &all[from..cut]);
            (parts, from) = (parts.again(), cut);
        }
        go_on(&mut parts, &all[from..]);
        prop_assert_eq!(whole.fold, parts.fold);
    }

    /// Each lane keeps its order; how far one is read ahead of the other makes no difference to how things are.
    #[test]
    fn the_lanes_may_be_read_in_any_turn(
        kinds in prop::collection::vec((next_strategy(), any::<bool>()), 0..40),
    ) {
        let mut lanes: [Vec<Event>; 2] = Default::default();
        let mut in_time = Told::nothing();
        for (time, (next, _)) in (1..).zip(&kinds) {
            let Next::Event(lane, event) = next else { continue };
            let event = Event { event_id: id(time, 0), timestamp: time, ..*event.clone() };
            in_time.take(*lane, &event);
            lanes[lane.index()].push(event);
        }
        let mut in_turns = Told::nothing();
        let mut queues = lanes.map(std::collections::VecDeque::from);
        for (_, urgent_first) in &kinds {
            let turns = if *urgent_first { [Lane::Urgent, Lane::Routine] } else { [Lane::Routine, Lane::Urgent] };
            let Some(lane) = turns.into_iter().find(|lane| !queues[lane.index()].is_empty()) else { break };
            let event = queues[lane.index()].pop_front().expect("not empty");
            in_turns.take(lane, &event);
        }
        let now = |told: &Told| {
            let all = told.fold.subjects.values();
            all.map(|its| (its.subject.clone(), its.state.clone(), its.changes[0].level, its.changes[0].text.clone()))
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(now(&in_time), now(&in_turns));
    }

    #[test]
    fn no_bytes_are_folded_into_anything_that_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut fold = Fold::new([1, 1]);
        let head = Head::read(&bytes).ok();
        fold.event(LaneAt { lane: Lane::Urgent, epoch: EPOCH, sequence: 1 }, head.as_ref(), &bytes);
        prop_assert_eq!(fold.next_sequence(Lane::Urgent), 2);
        let _ = Checkpoint::parse(&bytes);
    }
}
