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
    ledger::{
        loss::{Cause, Loss},
        ranges::{common, without},
    },
    record::RECORDS,
    summary::Summary,
};
use crate::telemetry::message;

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

    /// Sequences that are gone, and are recorded or about to be. Ascending.
    pub(super) fn missing(&self) -> &[Range<u64>] {
        &self.missing
    }

    /// How many.
    pub(super) fn events(&self) -> u64 {
        common(&(0..u64::MAX), &self.missing)
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

impl Shared {
    /// Records what has been found to be gone of a lane. From whoever found it.
    pub(super) fn report_damage(&self, lane: Lane) {
        let row = &self.rows[lane.index()];
        for news in row.take_news() {
            self.record_damage(lane, &news);
            self.tell();
            row.set_recorded(news.number, self.buffer.next_sequence(RECORDS));
        }
    }

    fn record_damage(&self, lane: Lane, news: &News) {
        let gone: Vec<_> = news.ranges.iter().map(|(range, _)| range.clone()).collect();
        let (apart, together) = news.ranges.split_at(news.ranges.len().min(RECORDS_MAX - 1));
        let mut events = 0;
        for (range, epoch) in apart {
            events += self.lose_damaged(lane, news, std::slice::from_ref(range), *epoch);
        }
        if let [(_, epoch), ..] = together {
            events += self.lose_damaged(lane, news, &gone[apart.len()..], *epoch);
        }
        tracing::error!(
            message_id = %message::LOG_DAMAGED,
            lane = lane.name(),
            generation = news.number,
            events,
            "a part of the event log is damaged; what is lost is recorded"
        );
    }

    fn lose_damaged(&self, lane: Lane, news: &News, gone: &[Range<u64>], epoch: Option<Uuid>) -> u64 {
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else { return 0 };
        let written = epoch.unwrap_or_else(|| self.numbering.epoch());
        let epoch = self.numbering.resolve(lane, first.start, written).0;
        let times = [news.summary.min_time, news.summary.max_time];
        let loss = Loss { times, ..Loss::of(lane, Cause::Damage, epoch, first.start..last.end) };
        if !self.ledger.has_consumers() {
            // Whoever comes, and finds it gone, finds the record too.
            let count = gone.iter().map(|range| range.end - range.start).sum();
            self.record(&Loss { count, ..loss });
            self.count_loss(lane, count);
            return count;
        }
        self.lose(&loss, gone, &[])
    }

    /// Notes what is gone where its record is durable. The writer's side.
    pub(super) fn note_damage(&self) {
        for row in &self.rows {
            row.note_damage(self.durable(RECORDS), self.numbering.epoch());
        }
    }
}
