//! Reports of losses among the events that arrive: read when they are stored, so that what was lost can be told from
//! what is missing.

use prost::Message;
use serde::Serialize;

use super::{Record, arrival::SEQUENCE_MAX};
use crate::schema::events::{Event, event::EventPayload, system_event::EventType};

/// The kind of every such report, up to its operation.
pub(super) const KIND: &str = "system.loss";

/// Source of what programs of the node emit. They cannot know what the log has lost: what they say of it is an event
/// like any other.
const FOREIGN_SOURCE: &str = "local";

/// The agent's consumer that sends to controllers.
const UPLINK: &str = "uplink";

/// Events that a node will not send any more, as it has reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Identifier of the report.
    pub event_id: String,
    /// When the report was stored, Unix milliseconds.
    pub received_at: i64,
    /// Epoch of the lost events.
    pub epoch: String,
    /// Their lane.
    pub lane: String,
    /// Which consumers lost them, separated by commas; empty for all.
    pub consumer: String,
    /// Why: `retention`, `refused`, …; `op_9` when this version knows no name, empty when nothing was said.
    pub operation: String,
    /// First and last sequence; `None` when the events were never numbered.
    pub range: Option<(u64, u64)>,
    /// How many.
    pub count: u64,
    /// False when the count is a lower bound.
    pub exact: bool,
    /// Unix milliseconds of the oldest.
    pub first_time: i64,
    /// Unix milliseconds of the newest.
    pub last_time: i64,
}

impl Loss {
    /// Reads the report, if the event is one of the agent's own.
    pub(super) fn read(record: &Record, received_at: i64) -> Option<Loss> {
        let operation = record.kind.as_str().strip_prefix(KIND)?.trim_start_matches('.');
        let event = Event::decode(record.bytes.clone()).ok()?;
        if event.source == FOREIGN_SOURCE {
            return None;
        }
        let Some(EventPayload::SystemEvent(system)) = event.event_payload else { return None };
        let Some(EventType::LossEvent(loss)) = system.event_type else { return None };
        let (first, last) = (loss.first_sequence, loss.last_sequence);
        Some(Loss {
            event_id: record.id.clone(),
            received_at,
            epoch: loss.log_epoch,
            lane: loss.lane,
            consumer: loss.consumer,
            operation: operation.to_owned(),
            range: (1 <= first && first <= last && last <= SEQUENCE_MAX).then_some((first, last)),
            count: loss.count,
            exact: loss.count_exact,
            first_time: loss.first_time,
            last_time: loss.last_time,
        })
    }

    /// Whether a controller lost by it: what only a webhook has lost still comes.
    pub fn concerns_controllers(&self) -> bool {
        self.consumer.is_empty() || self.consumer.split(',').any(|consumer| consumer == UPLINK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{
        Payload,
        events::{EventLossPayload, StoragePoolPayload, event_loss_payload::EventLossOperation},
    };

    fn read(payload: impl Payload, source: &str) -> Option<Loss> {
        let event = Event {
            event_id: "report".into(),
            source: source.into(),
            event_payload: Some(payload.into_event_payload()),
            ..Event::default()
        };
        Loss::read(&Record::read(event.encode_to_vec().into()).expect("an event"), 7)
    }

    fn payload() -> EventLossPayload {
        EventLossPayload {
            consumer: "hook,uplink".into(),
            lane: "routine".into(),
            log_epoch: "e1".into(),
            first_sequence: 3,
            last_sequence: 9,
            count: 6,
            count_exact: true,
            operation: EventLossOperation::Retention.into(),
            ..EventLossPayload::default()
        }
    }

    #[test]
    fn a_report_of_the_log_is_read_whatever_its_operation() {
        let loss = read(payload(), "event_log").expect("a report");
        assert_eq!((loss.operation.as_str(), loss.range, loss.count, loss.exact), ("retention", Some((3, 9)), 6, true));
        assert_eq!((loss.event_id.as_str(), loss.received_at, loss.epoch.as_str()), ("report", 7, "e1"));
        let newer = EventLossPayload { operation: 9_001, ..payload() };
        assert_eq!(read(newer, "event_log").expect("a report").operation, "op_9001");
        let silent = EventLossPayload { operation: 0, ..payload() };
        assert_eq!(read(silent, "event_log").expect("a report").operation, "");
    }

    #[test]
    fn sequences_that_are_no_range_are_no_numbers() {
        for (first_sequence, last_sequence) in [(0, 0), (0, 9), (9, 3), (1, u64::MAX)] {
            let loss = read(EventLossPayload { first_sequence, last_sequence, ..payload() }, "event_log");
            assert_eq!(loss.expect("a report").range, None, "{first_sequence} to {last_sequence}");
        }
    }

    #[test]
    fn what_a_program_of_the_node_says_of_losses_is_no_report() {
        assert_eq!(read(payload(), "local"), None);
        assert_eq!(read(StoragePoolPayload::default(), "event_log"), None);
    }

    #[test]
    fn a_loss_of_other_consumers_is_none_of_a_controller() {
        let of = |consumer: &str| read(EventLossPayload { consumer: consumer.into(), ..payload() }, "event_log");
        let concerns = |consumer| of(consumer).expect("a report").concerns_controllers();
        assert!(concerns("") && concerns("uplink") && concerns("hook,uplink"));
        assert!(!concerns("hook") && !concerns("uplink-2"));
    }
}
