//! The conservation law where a controller refuses events: what was accepted is delivered or a dead letter, and every
//! number of every lane is one that arrived or one that a record which arrived accounts for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use rodent::{
    consumers::Threshold,
    dead_letters::Letter,
    event_log::{ClockState, Lane},
    schema::{
        events::{
            Event, EventLossPayload, event::EventPayload, event_loss_payload::EventLossOperation,
            system_event::EventType,
        },
        wire::EventBatch,
    },
};

use crate::uplink::{Scene, refuse};

/// Never three of them in a row.
const POISON: [&str; 6] = ["event-3", "event-17", "event-18", "event-31", "event-59", "event-104"];

#[tokio::test]
async fn what_is_accepted_is_delivered_or_a_dead_letter_and_every_number_is_accounted_for() {
    let threshold = Threshold { batch_size: 8, batch_timeout: Duration::from_millis(50) };
    let scene = Scene::empty(threshold, (0..1000).map(|_| refuse(&POISON)).collect()).await;
    // An agent that was killed after it had kept this one, and before its cursor passed it.
    scene.dead_letters.add(&kept_before(&scene, 17)).expect("kept");
    scene.append(Lane::Routine, 0..60).await;
    scene.append(Lane::Urgent, 100..110).await;
    passed(&scene).await;

    let batches: Vec<_> = scene.seen().into_iter().filter(is_taken).collect();
    let mut delivered: BTreeMap<String, u64> = BTreeMap::new();
    batches.iter().flat_map(|batch| &batch.events).for_each(|event| {
        *delivered.entry(event.event_id.clone()).or_default() += 1;
    });
    let letters = letters(&scene);
    let kept: BTreeSet<_> = letters.iter().map(|letter| event_of(letter).event_id).collect();
    assert_eq!(kept, POISON.map(str::to_owned).into());
    for number in (0..60).chain(100..110) {
        let id = format!("event-{number}");
        let times = delivered.get(&id).copied().unwrap_or(0);
        assert_eq!((times, kept.contains(&id)), if kept.contains(&id) { (0, true) } else { (1, false) }, "{id}");
    }

    for lane in Lane::ALL {
        let of_lane = batches.iter().filter(|batch| batch.lane == lane.name());
        let arrived: BTreeSet<_> = of_lane.flat_map(|batch| batch.first_sequence..=batch.last_sequence).collect();
        let recorded: BTreeSet<_> = records(&batches).filter(|record| record.lane == lane.name()).map(number).collect();
        let dead: BTreeSet<_> = letters.iter().filter(|letter| letter.lane == lane).map(|l| l.sequence).collect();
        assert_eq!(recorded, dead, "{lane:?}: each dead letter has its record, and nothing else has");
        let accounted: Vec<_> = arrived.union(&recorded).copied().collect();
        assert_eq!(accounted, (1..scene.log.next_sequence(lane)).collect::<Vec<_>>(), "{lane:?}");
        assert!(arrived.is_disjoint(&recorded), "{lane:?}");
    }
    scene.end().await;
}

/// Waits until the cursor has passed everything, the records too.
async fn passed(scene: &Scene) {
    let behind = |lane: Lane| scene.cursor.next(lane) < scene.log.next_sequence(lane);
    for _ in 0..6000 {
        if !Lane::ALL.into_iter().any(behind) && scene.dead_letters.count() == POISON.len() as u64 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the cursor stands at {:?}", Lane::ALL.map(|lane| scene.cursor.next(lane)));
}

/// The letter of the event of a number, which is the first of the routine lane but for that.
fn kept_before(scene: &Scene, number: u64) -> Letter {
    let event = Event { event_id: format!("event-{number}"), timestamp: 1, ..Event::default() };
    Letter {
        consumer: "uplink".into(),
        event: event.encode_to_vec().into(),
        lane: Lane::Routine,
        epoch: scene.log.epoch(),
        sequence: number + 1,
        boot_id: uuid::Uuid::from_u128(5),
        clock: ClockState::Unknown,
        refused_at: 1,
        refusals: 1,
        code: "InvalidArgument".to_owned(),
        message: "before the kill".to_owned(),
        target: "ctl:8443".to_owned(),
    }
}

fn letters(scene: &Scene) -> Vec<Letter> {
    let ids = scene.dead_letters.list().expect("readable");
    ids.iter().map(|(id, _)| scene.dead_letters.get(id).expect("intact")).collect()
}

fn event_of(letter: &Letter) -> Event {
    Event::decode(Bytes::clone(&letter.event)).expect("an event")
}

/// Whether the controller answered with success.
fn is_taken(batch: &EventBatch) -> bool {
    !batch.events.iter().any(|event| POISON.contains(&event.event_id.as_str()))
}

/// The records of refusals that arrived.
fn records(batches: &[EventBatch]) -> impl Iterator<Item = EventLossPayload> {
    batches.iter().flat_map(|batch| &batch.events).filter_map(|event| match &event.event_payload {
        Some(EventPayload::SystemEvent(system)) => match &system.event_type {
            Some(EventType::LossEvent(loss)) => Some(loss.clone()),
            _ => None,
        },
        _ => None,
    })
}

fn number(record: EventLossPayload) -> u64 {
    assert_eq!((record.operation(), record.consumer.as_str()), (EventLossOperation::Refused, "uplink"));
    assert_eq!((record.first_sequence, record.count, record.count_exact), (record.last_sequence, 1, true));
    record.first_sequence
}
