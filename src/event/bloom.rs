//! Which kinds are among many events, in 16 bytes: a Bloom filter over the numbers under which payloads and operations stand
//! in the schema. Numbers, not names: whoever reads may know another version of the schema, or other payloads.
//!
//! The log writes these bits to disk, so how they are made never changes.

/// Kinds that share one set of bits: of the low half one tells the payload, of the high half one the payload with its operation.
const HALF: u8 = 64;

/// An odd number whose multiples spread over 64 bits: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What one event's kind sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindMark {
    subject: u8,
    kind: Option<u8>,
}

impl KindMark {
    /// Of a payload that whoever reads the event has no name for, or of none.
    pub const UNNAMED: KindMark = KindMark { subject: 0, kind: None };

    /// Of a payload by the numbers of its fields, in the event and in the wrapper, and of its operation.
    pub(super) fn of(wrapper: u32, member: u32, operation: i32) -> KindMark {
        let numbers = u64::from(wrapper) << 32 | u64::from(member);
        let kind = spread(spread_all(numbers) ^ u64::from(operation.cast_unsigned()));
        KindMark { kind: Some(kind), ..KindMark::of_subject(wrapper, member) }
    }

    /// Of a payload, whatever its operation.
    pub(super) fn of_subject(wrapper: u32, member: u32) -> KindMark {
        let numbers = u64::from(wrapper) << 32 | u64::from(member);
        KindMark { subject: 1 + spread(numbers) % (HALF - 1), kind: None }
    }
}

fn spread_all(numbers: u64) -> u64 {
    numbers.wrapping_mul(SPREAD)
}

/// Less than [`HALF`].
fn spread(numbers: u64) -> u8 {
    (spread_all(numbers) >> 58) as u8
}

/// The kinds of many events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindBloom(u128);

impl KindBloom {
    /// Any may be among them.
    pub const ANY: KindBloom = KindBloom(u128::MAX);

    /// Of these events; whose kind is not known may be of any.
    pub fn of(marks: impl IntoIterator<Item = Option<KindMark>>) -> KindBloom {
        marks.into_iter().fold(KindBloom::default(), |all, mark| mark.map_or(KindBloom::ANY, |mark| all.with(mark)))
    }

    /// Whether an event that sets this mark may be among them.
    pub fn may_hold(self, mark: KindMark) -> bool {
        let asked = KindBloom::default().with(mark).0;
        self.0 & asked == asked
    }

    /// Of these events and of those.
    #[must_use]
    pub fn and_of(self, other: KindBloom) -> KindBloom {
        KindBloom(self.0 | other.0)
    }

    /// As it is stored.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// The opposite.
    pub fn from_bytes(bytes: [u8; 16]) -> KindBloom {
        KindBloom(u128::from_le_bytes(bytes))
    }

    fn with(self, mark: KindMark) -> KindBloom {
        let kind = mark.kind.map_or(0, |kind| 1u128 << (HALF + kind));
        KindBloom(self.0 | 1u128 << mark.subject | kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_among_them_may_be_and_little_else_may() {
        let marks: Vec<_> =
            (10..20).flat_map(|wrapper| (100..110).map(move |member| KindMark::of(wrapper, member, 4))).collect();
        let (mut held, mut missed) = (0, 0);
        for some in marks.windows(5) {
            let bloom = KindBloom::of(some.iter().copied().map(Some));
            assert!(some.iter().all(|mark| bloom.may_hold(*mark)));
            assert_eq!(KindBloom::from_bytes(bloom.to_bytes()), bloom);
            let others = marks.iter().filter(|mark| !some.contains(mark));
            others.for_each(|mark| *if bloom.may_hold(*mark) { &mut held } else { &mut missed } += 1);
        }
        assert!(held * 20 < missed, "{held} of {missed}");
    }

    #[test]
    fn the_bits_are_those_that_lie_on_disks_already() {
        let bloom = |mark| u128::from_le_bytes(KindBloom::of([Some(mark)]).to_bytes());
        assert_eq!(bloom(KindMark::UNNAMED), 1);
        assert_eq!(bloom(KindMark::of(11, 102, 4)), 1 << 33 | 1 << (64 + 22));
        assert_eq!(bloom(KindMark::of_subject(11, 102)), 1 << 33);
        assert_eq!(KindBloom::of([Some(KindMark::UNNAMED), None]), KindBloom::ANY);
    }
}
