//! What of a generation is gone, and who has been told.
//!
//! Found when a generation is opened: what it should hold, less the frames that are intact. Each stretch is recorded as a
//! loss once; when that record is durable it is noted in the generation's manifest, so that the next start does not
//! record it again. A crash in between records it twice, never not at all.

use std::ops::Range;

use uuid::Uuid;

use super::{
    Lane, Shared,
    generation::Generation,
    loss::{Loss, RECORDS},
    summary::Summary,
};
use crate::{schema::events::event_loss_payload::EventLossOperation, telemetry::message};

/// The most records for what is found in a generation at a time; the last one stands for what follows.
const RECORDS_MAX: usize = 32;

/// What is known to be gone of a generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage {
    /// Ascending.
    missing: Vec<Range<u64>>,
    /// Those of them that nobody has been told of, with the epoch of a frame beside them.
    news: Vec<(Range<u64>, Option<Uuid>)>,
    /// Sequence in the records' lane before which they are recorded, until that is noted.
    recorded: Option<u64>,
}

/// What was found to be gone.
pub(super) struct News {
    pub(super) number: u64,
    summary: Summary,
    ranges: Vec<(Range<u64>, Option<Uuid>)>,
}

impl Damage {
    /// As the manifest has it.
    pub(super) fn recorded(missing: Vec<Range<u64>>) -> Damage {
        Damage { missing, ..Damage::default() }
    }

    /// Whether nothing is gone.
    pub(super) fn is_none(&self) -> bool {
        self.missing.is_empty()
    }

    /// Compares what a generation should hold with what was found in it; `epoch` is for where no frame tells it. Gives
    /// whether there is news.
    pub(super) fn look(&mut self, generation: &Generation, sequences: Range<u64>, epoch: Option<Uuid>) -> bool {
        let Some(salvage) = generation.found() else { return false };
        for range in salvage.missing(sequences).into_iter().flat_map(|range| without(range, &self.missing)) {
            let beside = generation.slot_of(range.start).and_then(|slot| generation.header(slot));
            self.news.push((range, beside.ok().map(|header| header.epoch).or(epoch)));
        }
        self.missing.extend(self.news.iter().map(|(range, _)| range.clone()));
        self.missing.sort_by_key(|range| range.start);
        !self.news.is_empty()
    }

    /// How many sequences from this one on are gone.
    pub(super) fn missing_from(&self, from: u64) -> u64 {
        self.missing.iter().map(|range| range.end.saturating_sub(range.start.max(from))).sum()
    }

    /// What has not been told yet.
    pub(super) fn take_news(&mut self, number: u64, summary: &Summary) -> Option<News> {
        let ranges = std::mem::take(&mut self.news);
        (!ranges.is_empty()).then(|| News { number, summary: summary.clone(), ranges })
    }

    /// Notes that all of it is recorded before this sequence of the records' lane.
    pub(super) fn set_recorded(&mut self, recorded: u64) {
        self.recorded = Some(recorded);
    }

    /// Whether the records have become durable; true once.
    pub(super) fn is_due(&mut self, durable: u64) -> bool {
        self.recorded.take_if(|recorded| *recorded <= durable).is_some()
    }

    /// What may be noted as recorded.
    pub(super) fn noted(&self) -> Vec<Range<u64>> {
        if self.recorded.is_some() || !self.news.is_empty() { Vec::new() } else { self.missing.clone() }
    }
}

/// What is in `range` and in none of `known`, which ascend.
fn without(range: Range<u64>, known: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut left, mut at) = (Vec::new(), range.start);
    for known in known.iter().filter(|known| known.start < range.end && known.end > range.start) {
        if known.start > at {
            left.push(at..known.start);
        }
        at = at.max(known.end);
    }
    if at < range.end {
        left.push(at..range.end);
    }
    left
}

impl Shared {
    /// Records what has been found to be gone of a lane. From whoever found it.
    pub(super) fn report_damage(&self, lane: Lane) {
        let row = &self.rows[lane.index()];
        for news in row.take_news() {
            self.record_damage(lane, &news);
            row.set_recorded(news.number, self.buffer.next_sequence(RECORDS));
        }
    }

    fn record_damage(&self, lane: Lane, news: &News) {
        let passed = self.cursors.passed().map_or(0, |passed| passed[lane.index()]);
        let lost = news.ranges.iter().map(|(range, epoch)| (range.start.max(passed)..range.end, *epoch));
        let lost: Vec<_> = lost.filter(|(range, _)| !range.is_empty()).collect();
        let events: u64 = lost.iter().map(|(range, _)| range.end - range.start).sum();
        tracing::error!(
            message_id = %message::LOG_DAMAGED,
            lane = lane.name(),
            generation = news.number,
            events,
            "a part of the event log is damaged; what is lost is recorded"
        );
        self.count_loss(lane, events);
        let (apart, together) = lost.split_at(lost.len().min(RECORDS_MAX - 1));
        for (range, epoch) in apart {
            self.record_gone(lane, news, range.clone(), range.end - range.start, *epoch);
        }
        if let [(first, epoch), ..] = together {
            let end = together.last().map_or(first.end, |(range, _)| range.end);
            let count = together.iter().map(|(range, _)| range.end - range.start).sum();
            self.record_gone(lane, news, first.start..end, count, *epoch);
        }
    }

    fn record_gone(&self, lane: Lane, news: &News, range: Range<u64>, count: u64, epoch: Option<Uuid>) {
        let written = epoch.unwrap_or_else(|| self.numbering.epoch());
        self.record(&Loss {
            lane,
            epoch: self.numbering.resolve(lane, range.start, written).0,
            cause: EventLossOperation::Damage,
            consumers: self.cursors.behind(lane, range.end),
            summary: Summary {
                first_sequence: range.start,
                next_sequence: range.end,
                min_time: news.summary.min_time,
                max_time: news.summary.max_time,
                ..Summary::default()
            },
            from: range.start,
            carried: (range.end - range.start).saturating_sub(count),
        });
    }

    /// Records that the cursors are gone: something may have been lost with them, nobody knows what.
    pub(super) fn record_lost_cursors(&self) {
        self.record(&Loss {
            lane: Lane::Routine,
            epoch: self.numbering.epoch(),
            cause: EventLossOperation::Damage,
            consumers: Vec::new(),
            summary: Summary::default(),
            from: 0,
            carried: 0,
        });
    }

    /// Notes what is gone where its record is durable. The writer's side.
    pub(super) fn note_damage(&self) {
        for row in &self.rows {
            row.note_damage(self.durable(RECORDS), self.numbering.epoch());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_no_news() {
        assert_eq!(without(10..20, &[]), [10..20, 0..0][..1]);
        assert_eq!(without(10..20, &[0..5, 12..14, 18..30]), [10..12, 14..18]);
        assert_eq!(without(10..20, &[0..15, 15..40]), []);
        assert_eq!(without(10..20, &[0..10, 20..21]), [10..20, 0..0][..1]);
    }
}
