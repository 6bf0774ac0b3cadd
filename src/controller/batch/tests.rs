use proptest::prelude::*;

use super::*;
use crate::schema::events::Event;

fn event() -> impl Strategy<Value = Event> {
    let metadata = prop::collection::btree_map(".{0,6}", ".{0,6}", 0..3);
    (".{0,40}", any::<i32>(), ".{0,10}", any::<i64>(), metadata).prop_map(
        |(event_id, level, source, timestamp, metadata)| Event {
            event_id,
            level,
            source,
            timestamp,
            metadata,
            ..Event::default()
        },
    )
}

fn batch() -> impl Strategy<Value = EventBatch> {
    (prop::collection::vec(event(), 0..6), any::<i64>(), ".{0,40}", ".{0,20}", any::<(u64, u64)>()).prop_map(
        |(events, batch_timestamp, batch_id, node_id, (first_sequence, last_sequence))| EventBatch {
            events,
            batch_timestamp,
            batch_id,
            node_id,
            lane: "routine".into(),
            first_sequence,
            last_sequence,
            ..EventBatch::default()
        },
    )
}

/// What prost makes of the same bytes.
fn decoded(batch: &Batch) -> Result<EventBatch, prost::DecodeError> {
    let events = batch.events.iter().map(|bytes| Event::decode(bytes.clone())).collect::<Result<_, _>>()?;
    Ok(EventBatch { events, ..batch.head.clone() })
}

fn has_groups(bytes: &[u8]) -> bool {
    // A wrong reading of where keys stand only skips more cases.
    bytes.iter().any(|byte| matches!(byte & 7, 3 | 4))
}

proptest! {
    #[test]
    fn a_batch_is_cut_as_prost_decodes_it(batch in batch()) {
        let cut = Batch::split(batch.encode_to_vec().into()).expect("a batch");
        prop_assert_eq!(decoded(&cut).expect("events"), batch.clone());
        for (bytes, event) in cut.events.iter().zip(&batch.events) {
            prop_assert_eq!(bytes, &event.encode_to_vec());
        }
    }

    #[test]
    fn damaged_requests_are_refused_when_prost_refuses_them(
        batch in batch(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = batch.encode_to_vec();
        for (place, byte) in changes {
            if let Some(target) = (!bytes.is_empty()).then(|| place.index(bytes.len())) {
                bytes[target] = byte;
            }
        }
        bytes.truncate(bytes.len().min(end.index(bytes.len() * 2 + 1)));
        let ours = Batch::split(bytes.clone().into()).ok().and_then(|cut| decoded(&cut).ok());
        let theirs = EventBatch::decode(bytes.as_slice()).ok();
        if ours.is_some() || !has_groups(&bytes) {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn any_bytes_are_cut_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let ours = Batch::split(bytes.clone().into()).ok().and_then(|cut| decoded(&cut).ok());
        if let Some(ours) = ours {
            prop_assert_eq!(ours, EventBatch::decode(bytes.as_slice()).expect("prost takes it too"));
        }
    }
}

#[test]
fn unknown_fields_stay_in_the_events_bytes() {
    let mut event = Event { event_id: "a".into(), ..Event::default() }.encode_to_vec();
    // Field 2047, length-delimited, "new".
    event.extend([0xfa, 0x7f, 3, b'n', b'e', b'w']);
    let mut request = vec![0x0a, u8::try_from(event.len()).expect("short")];
    request.extend(&event);
    // Field 2000 of the batch itself.
    request.extend([0x82, 0x7d, 1, b'x']);
    let cut = Batch::split(request.into()).expect("a batch");
    assert_eq!(cut.events, [event]);
}

#[test]
fn what_exceeds_a_bound_is_named() {
    let event = |bytes: usize| prost_field(1, &vec![0; bytes]);
    let refusal = |request: Vec<u8>| Batch::split(request.into()).expect_err("refused");
    assert_eq!(refusal(event(0).repeat(EVENTS_MAX + 1)), BatchError::TooManyEvents);
    assert_eq!(Batch::split(event(0).repeat(EVENTS_MAX).into()).expect("at the bound").events.len(), EVENTS_MAX);
    let large = [event(1), event(EVENT_BYTES_MAX + 1)].concat();
    assert_eq!(refusal(large), BatchError::EventTooLarge { index: 1, bytes: EVENT_BYTES_MAX + 1 });
    assert_eq!(refusal(prost_field(2000, &[0; HEAD_BYTES_MAX])), BatchError::HeadTooLarge);
    assert_eq!(refusal([event(1), vec![0x0a, 5, 0]].concat()), BatchError::Malformed { offset: 3 });
    assert_eq!(refusal(vec![0x08, 1]), BatchError::Malformed { offset: 0 });
    assert!(matches!(refusal(prost_field(3, &[0xff])), BatchError::Head(_)));
}

/// One length-delimited field.
fn prost_field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encode_length_delimiter((number << 3 | 2) as usize, &mut field).expect("a Vec grows");
    prost::encode_length_delimiter(value.len(), &mut field).expect("a Vec grows");
    field.extend_from_slice(value);
    field
}
