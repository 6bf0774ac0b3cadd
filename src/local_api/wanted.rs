//! Which events a reader wants, and how cheaply that can be told: whole frames of the log are passed over, the head of an event
//! is read from its bytes, and an event is decoded through the descriptors only when a condition may still hold.

use tonic::Status;
use uuid::Uuid;

use crate::{
    event::{Catalogue, Filter, Head, LossRecord},
    event_log::{Lane, Sieve},
};

/// Conditions of one call, and bytes of them.
const CONDITIONS_MAX: usize = 64;
const CONDITIONS_BYTES_MAX: usize = 4 * 1024;

/// Conditions and a window of time.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// `None` when every event will do.
    filter: Option<Filter>,
    /// What the reader may have at all, by each of these.
    scopes: Vec<Filter>,
    /// Which frames of the log may hold what is wanted. Its times are those of the events, too.
    sieve: Sieve,
}

/// By time, then by identifier: the order between the lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    time: i64,
    id: Uuid,
}

impl Wanted {
    /// `since` and `until` in Unix milliseconds; 0 leaves the end open.
    pub(super) fn parse(conditions: &[String], since: i64, until: i64) -> Result<Wanted, Status> {
        if conditions.len() > CONDITIONS_MAX || conditions.iter().map(String::len).sum::<usize>() > CONDITIONS_BYTES_MAX
        {
            return Err(Status::invalid_argument(format!(
                "at most {CONDITIONS_MAX} conditions and {CONDITIONS_BYTES_MAX} bytes of them are taken"
            )));
        }
        let filter = Filter::parse(conditions).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let times = (if since == 0 { i64::MIN } else { since }, if until == 0 { i64::MAX } else { until });
        let sieve = Sieve::of(&filter, times);
        Ok(Wanted { filter: (!conditions.is_empty()).then_some(filter), scopes: Vec::new(), sieve })
    }

    /// The same, of what the reader may have.
    pub(super) fn within(mut self, scope: Option<Filter>) -> Wanted {
        if let Some(scope) = scope {
            self.sieve.levels &= scope.levels();
            self.sieve.categories &= scope.categories(Catalogue::compiled());
            self.scopes.push(scope);
        }
        self
    }

    /// The same conditions, whatever the time.
    pub(super) fn at_any_time(&self) -> Wanted {
        let sieve = Sieve { times: (i64::MIN, i64::MAX), ..self.sieve.clone() };
        Wanted { sieve, ..self.clone() }
    }

    /// The event's place in the order, if it is wanted.
    pub(super) fn order_of(&self, event: &[u8]) -> Option<Order> {
        // The log holds only what was an event when it was accepted; one that cannot be read comes first, and is shown.
        let head = Head::read(event).ok();
        let time = head.as_ref().map_or(0, |head| head.timestamp);
        let (since, until) = self.sieve.times;
        if !(since..=until).contains(&time) {
            return None;
        }
        let mut filters = self.filter.iter().chain(&self.scopes);
        if !filters.all(|filter| head.as_ref().is_some_and(|head| filter.takes(head, event))) {
            return None;
        }
        let id = head.and_then(|head| Uuid::try_parse(&head.id).ok()).unwrap_or_default();
        Some(Order { time, id })
    }

    /// Whether the event is wanted.
    pub(super) fn takes(&self, event: &[u8]) -> bool {
        self.takes_all() || self.order_of(event).is_some()
    }

    /// Whether every event is.
    pub(super) fn takes_all(&self) -> bool {
        self.filter.is_none() && self.scopes.is_empty() && self.sieve.times == (i64::MIN, i64::MAX)
    }

    /// Which frames may hold what is wanted, or in the lane that they stand in records of losses.
    pub(super) fn sieve_with_records(&self, lane: Lane) -> Sieve {
        let (sieve, bit) =
            (self.sieve.clone(), |number: i32| 1u32.checked_shl(number.unsigned_abs()).unwrap_or(u32::MAX));
        let (level, category) = (bit(LossRecord::LEVEL) as u16, bit(LossRecord::CATEGORY));
        match lane {
            // Of what kind a record is, the log does not note; such a frame may hold any.
            Lane::Urgent => {
                Sieve { levels: sieve.levels | level, categories: sieve.categories | category, texts: None, ..sieve }
            }
            Lane::Routine => sieve,
        }
    }

    /// Which frames of the log may hold what is wanted.
    pub(super) fn sieve(&self) -> &Sieve {
        &self.sieve
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::schema::events::Event;

    fn event(id: u128, timestamp: i64) -> Vec<u8> {
        Event { event_id: Uuid::from_u128(id).to_string(), timestamp, ..Default::default() }.encode_to_vec()
    }

    fn wanted(since: i64, until: i64) -> Wanted {
        Wanted::parse(&[], since, until).expect("no conditions")
    }

    #[test]
    fn the_window_of_time_includes_both_its_ends() {
        let (wanted, event) = (wanted(10, 20), |time| event(1, time));
        assert!(wanted.order_of(&event(9)).is_none() && wanted.order_of(&event(21)).is_none());
        assert!(wanted.order_of(&event(10)).is_some() && wanted.order_of(&event(20)).is_some());
    }

    #[test]
    fn events_are_ordered_by_time_and_then_by_identifier() {
        let order = |id, time| wanted(0, 0).order_of(&event(id, time)).expect("wanted");
        assert!(order(9, 1) < order(1, 2));
        assert!(order(1, 2) < order(2, 2));
    }

    #[test]
    fn conditions_are_bounded() {
        let many = vec!["level>=warn".to_owned(); CONDITIONS_MAX + 1];
        assert_eq!(Wanted::parse(&many, 0, 0).expect_err("too many").code(), tonic::Code::InvalidArgument);
        let long = ["x".repeat(CONDITIONS_BYTES_MAX + 1)];
        assert_eq!(Wanted::parse(&long, 0, 0).expect_err("too long").code(), tonic::Code::InvalidArgument);
    }
}
