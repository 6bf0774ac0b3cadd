//! The record that a consumer refuses an event: what lets it account for the number that it will never get.

use uuid::Uuid;

use crate::{
    event::{EventView, LossRecord, loss_record_cause},
    event_log::{
        draft::Draft,
        error::LogError,
        lane::Lane,
        ledger::loss::{Cause, Loss},
        log::EventLog,
        record::{RECORDS, Record},
    },
};

/// An event that a consumer refuses by itself, under the number with which it was offered.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Who refuses it: the name of its cursor.
    pub consumer: &'a str,
    /// The event's lane.
    pub lane: Lane,
    /// Epoch of its number.
    pub epoch: Uuid,
    /// Its number in the lane.
    pub sequence: u64,
    /// The encoded event.
    pub event: &'a [u8],
}

impl EventLog {
    /// Appends the record of a refusal to the lane [`Lane::Urgent`]; waits while the memory is full. Gives the sequence
    /// after the record, to be secured before the consumer's cursor passes the event; a crash in between records it twice,
    /// never not at all.
    ///
    /// `None` when the event is itself the record of a refusal: who refuses those could be told of each only by the next,
    /// without end. Such a number stays unexplained to the consumer; the event is kept all the same, by who calls this.
    ///
    /// # Errors
    /// When the log is closed or its writer has ended.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing has been appended.
    pub async fn record_refusal(&self, refusal: Refusal<'_>) -> Result<Option<u64>, LogError> {
        let event = EventView::decode(refusal.event).ok();
        if event.as_ref().and_then(loss_record_cause).is_some_and(|cause| cause == Cause::Refused.name()) {
            return Ok(None);
        }
        let loss = refusal.loss(event.as_ref());
        let Record { event: record, timestamp, .. } = Record::new(refusal.consumer, Uuid::now_v7(), &loss);
        let (level, category) = (LossRecord::LEVEL, LossRecord::CATEGORY);
        let draft = Draft { event: &record, level, category, timestamp, kind: None };
        self.append(RECORDS, &[draft]).await.map(Some)
    }
}

impl Refusal<'_> {
    /// What cannot be decoded has no level and no time that could be told.
    fn loss(&self, event: Option<&EventView>) -> Loss {
        let sequences = self.sequence..self.sequence.saturating_add(1);
        let mut loss = Loss::of(self.lane, Cause::Refused, self.epoch, sequences);
        if let Some(event) = event {
            if let Some(count) = loss.levels.get_mut(event.level().to_wire() as usize) {
                *count = 1;
            }
            loss.times = [event.timestamp(); 2];
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        event_log::{
            read::reader::{Read, StoredEvent},
            settings::Settings,
            tests::loss_of,
        },
        schema::events::{Event, EventLevel, EventLossPayload, event_loss_payload::EventLossOperation},
    };

    /// The events of the records' lane.
    fn records(log: &EventLog) -> Vec<StoredEvent> {
        match log.reader(RECORDS, 1).read(99, 99_999).expect("readable") {
            Read::Run(run) => run.events().collect(),
            _ => Vec::new(),
        }
    }

    fn said(stored: &StoredEvent) -> EventLossPayload {
        loss_of(Event::decode(stored.event.clone()).expect("an event")).expect("a record")
    }

    #[tokio::test]
    async fn a_refusal_is_recorded_so_that_the_number_can_be_accounted_for_and_its_own_refusal_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let event = Event { level: EventLevel::Warn.into(), timestamp: 77, ..Event::default() }.encode_to_vec();
        let epoch = Uuid::from_u128(4);
        let refusal = Refusal { consumer: "uplink", lane: Lane::Routine, epoch, sequence: 4711, event: &event };
        let next = log.record_refusal(refusal).await.expect("recorded").expect("a record");
        assert_eq!(log.secure(RECORDS, next).await.expect("durable"), None);
        let written = records(&log);
        let record = said(&written[0]);
        assert_eq!((record.consumer.as_str(), record.lane.as_str()), ("uplink", "routine"));
        assert_eq!((record.first_sequence, record.last_sequence, record.count), (4711, 4711, 1));
        assert_eq!((record.operation(), record.log_epoch), (EventLossOperation::Refused, epoch.to_string()));
        assert_eq!((record.first_time, record.count_exact), (77, true));
        assert_eq!(record.count_by_level, [("warn".to_owned(), 1)].into());

        // The controller refuses the record too.
        let (lane, epoch, event) = (RECORDS, log.epoch(), &written[0].event);
        let again = Refusal { consumer: "uplink", lane, epoch, sequence: written[0].sequence, event };
        assert_eq!(log.record_refusal(again).await.expect("nothing to do"), None);
        assert_eq!(records(&log).len(), 1);

        // What cannot be decoded is accounted for all the same.
        log.record_refusal(Refusal { event: b"\xff", ..refusal }).await.expect("recorded").expect("a record");
        log.commit(RECORDS, next + 1).await.expect("durable");
        assert_eq!(said(&records(&log)[1]).count, 1);
        log.close();
    }
}
