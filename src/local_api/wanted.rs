//! Which events a reader wants, and how cheaply that can be told: whole frames of the log are passed over, the head of an event
//! is read from its bytes, and an event is decoded through the descriptors only when a condition may still hold.

use tonic::Status;
use uuid::Uuid;

use crate::{
    event::{Catalogue, EventView, Filter, Head},
    event_log::Sieve,
};

/// Conditions of one call, and bytes of them.
const CONDITIONS_MAX: usize = 64;
const CONDITIONS_BYTES_MAX: usize = 4 * 1024;

/// Conditions and a window of time.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// `None` when every event will do.
    filter: Option<Filter>,
    /// Unix milliseconds, inclusive.
    since: i64,
    until: i64,
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
        Ok(Wanted {
            filter: (!conditions.is_empty()).then_some(filter),
            since: if since == 0 { i64::MIN } else { since },
            until: if until == 0 { i64::MAX } else { until },
        })
    }

    /// The same conditions, whatever the time.
    pub(super) fn at_any_time(&self) -> Wanted {
        Wanted { since: i64::MIN, until: i64::MAX, ..self.clone() }
    }

    /// The event's place in the order, if it is wanted.
    pub(super) fn order_of(&self, event: &[u8]) -> Option<Order> {
        // The log holds only what was an event when it was accepted; one that cannot be read comes first, and is shown.
        let head = Head::read(event).ok();
        let time = head.as_ref().map_or(0, |head| head.timestamp);
        if !(self.since..=self.until).contains(&time) {
            return None;
        }
        if let Some(filter) = &self.filter {
            let head = head.as_ref()?;
            if !filter.may_match(head) || !EventView::decode(event).is_ok_and(|event| filter.matches(&event)) {
                return None;
            }
        }
        let id = head.and_then(|head| Uuid::try_parse(&head.id).ok()).unwrap_or_default();
        Some(Order { time, id })
    }

    /// Which frames of the log may hold what is wanted.
    pub(super) fn sieve(&self) -> Sieve {
        let (levels, categories) = self
            .filter
            .as_ref()
            .map_or((u16::MAX, u32::MAX), |filter| (filter.levels(), filter.categories(Catalogue::compiled())));
        // An event whose time cannot be read is shown all the same.
        Sieve { levels, categories, times: (self.since, self.until) }
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
