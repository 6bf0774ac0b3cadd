//! Tests of frames.

use proptest::prelude::*;

use super::*;

fn encode(events: &[Vec<u8>]) -> Vec<Encoded> {
    let mut fields = Vec::new();
    let entries: Vec<_> = (0i64..)
        .zip(events)
        .map(|(time, event)| {
            push_event(&mut fields, event);
            Entry { end: fields.len() as u32, time, level: 1, category: 2, kind: Some(KindMark::UNNAMED) }
        })
        .collect();
    let with = Circumstances {
        lane: Lane::Routine,
        epoch: Uuid::from_u128(7),
        boot_id: Uuid::from_u128(8),
        clock: ClockState::Synchronised,
    };
    let mut out = Vec::new();
    Encoder::new().expect("memory").encode(with, 100, &fields, 0, &entries, &mut out).expect("memory");
    out
}

fn decode(frames: &[Encoded]) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    for frame in frames {
        let frame = Frame::decode(&frame.bytes).expect("an intact frame");
        let mut at = 0;
        for end in frame.ends {
            let (begin, e) = event_at(&frame.fields, at).expect("an event");
            assert_eq!(e, end as usize);
            events.push(frame.fields[begin..e].to_vec());
            at = e;
        }
    }
    events
}

proptest! {
    #[test]
    fn events_come_back_as_they_went_in(events in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..60)) {
        let frames = encode(&events);
        let mut next = 100;
        for frame in &frames {
            prop_assert!(frame.bytes.len() <= FRAME_BYTES_MAX);
            prop_assert_eq!(frame.header.first_sequence, next);
            next = frame.header.next_sequence();
        }
        prop_assert_eq!(next, 100 + events.len() as u64);
        prop_assert_eq!(decode(&frames), events);
    }

    #[test]
    fn a_flipped_bit_is_noticed(byte in 0usize..1000, bit in 0u8..8) {
        let frame = encode(&[vec![7; 500], (0..=255).collect()]).remove(0);
        for mut bytes in [frame.of_version_1(), frame.bytes] {
            let byte = byte % bytes.len();
            bytes[byte] ^= 1 << bit;
            prop_assert!(Frame::decode(&bytes).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Frame::decode(&bytes).is_err());
        let mut behind_magic = MAGIC.to_vec();
        behind_magic.extend(bytes);
        prop_assert!(Frame::decode(&behind_magic).is_err());
    }
}

#[test]
fn the_largest_event_fits_a_frame_even_if_it_cannot_be_compressed() {
    let mut event = vec![0; crate::event::EVENT_BYTES_MAX];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut event).expect("random bytes");
    let frames = encode(&[event.clone(), event.clone()]);
    assert!(frames.iter().all(|frame| frame.bytes.len() <= FRAME_BYTES_MAX));
    assert_eq!(decode(&frames), [event.clone(), event]);
}

#[test]
fn every_truncation_is_noticed() {
    let frame = encode(&[vec![1, 2, 3], vec![4; 300]]).remove(0);
    for bytes in [frame.of_version_1(), frame.bytes] {
        assert!((0..bytes.len()).all(|length| Frame::decode(&bytes[..length]).is_err()));
    }
}

#[test]
fn a_frame_of_version_1_is_read_and_numbered_anew_as_it_is_and_may_hold_any_kind() {
    let frame = encode(&[vec![1, 2, 3], vec![4; 300]]).remove(0);
    let bytes = frame.of_version_1();
    assert_eq!(bytes.len(), frame.bytes.len() - 16);
    let (old, new) = (Frame::decode(&bytes).expect("intact"), Frame::decode(&frame.bytes).expect("intact"));
    assert_eq!((&old.fields, &old.ends), (&new.fields, &new.ends));
    assert_eq!((old.header.kinds, old.header.frame_bytes()), (KindBloom::ANY, bytes.len()));
    assert_eq!(new.header.kinds, KindBloom::of([Some(KindMark::UNNAMED)]));
    for (mut header, bytes) in [(old.header, bytes), (new.header, frame.bytes)] {
        let renumbered = Frame::decode(&header.renumber(Uuid::from_u128(9), &bytes)).expect("intact");
        assert_eq!((renumbered.header.epoch, &renumbered.fields), (Uuid::from_u128(9), &new.fields));
        assert_eq!((renumbered.header.kinds, renumbered.header.frame_bytes()), (header.kinds, bytes.len()));
    }
}
