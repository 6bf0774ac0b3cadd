//! What of a generation is gone, and who has been told.
//!
//! Found when a generation is opened: what it should hold, less the frames that are intact. Each stretch is recorded as a
//! loss once; when that record is durable it is noted in the generation's manifest, so that the next start does not
//! record it again. A crash in between records it twice, never not at all.

use std::ops::Range;

use uuid::Uuid;

use crate::event_log::{
    disk::{generation::Generation, summary::Summary},
    ranges::{common, without},
};
use crate::order::Sorted as _;

/// What is known to be gone of a generation.
#[derive(Clone, Debug, Default)]
pub(in crate::event_log) struct Damage {
    /// Ascending.
    missing: Vec<Range<u64>>,
    /// Those of them that nobody has been told of, with the epoch of a frame beside them.
    news: Vec<(Range<u64>, Option<Uuid>)>,
    /// Sequence in the records' lane before which they are recorded, until that is noted.
    recorded: Option<u64>,
    /// Those of them of which a record tells that names no consumer, as far as this process knows.
    told_to_all: Vec<Range<u64>>,
}

/// What was found to be gone.
pub(in crate::event_log) struct News {
    pub(in crate::event_log) number: u64,
    pub(in crate::event_log) summary: Summary,
    pub(in crate::event_log) ranges: Vec<(Range<u64>, Option<Uuid>)>,
}

impl Damage {
    /// As the manifest has it.
    pub(in crate::event_log) fn recorded(missing: Vec<Range<u64>>) -> Damage {
        Damage { missing, ..Damage::default() }
    }

    /// Whether nothing is gone.
    pub(in crate::event_log) fn is_none(&self) -> bool {
        self.missing.is_empty()
    }

    /// Compares what a generation should hold with what was found in it; `epoch` is for where no frame tells it. Gives
    /// whether there is news.
    pub(in crate::event_log) fn look(
        &mut self,
        generation: &Generation,
        sequences: Range<u64>,
        epoch: Option<Uuid>,
    ) -> bool {
        let Some(salvage) = generation.found() else { return false };
        for range in salvage.missing(sequences).into_iter().flat_map(|range| without(range, &self.missing)) {
            let beside = generation.slot_of(range.start).and_then(|slot| generation.header(slot));
            self.news.push((range, beside.ok().map(|header| header.epoch).or(epoch)));
        }
        self.missing.extend(self.news.iter().map(|(range, _)| range.clone()));
        self.missing.order_by_key(|range| range.start);
        !self.news.is_empty()
    }

    /// Sequences that are gone, and are recorded or about to be. Ascending.
    pub(in crate::event_log) fn missing(&self) -> &[Range<u64>] {
        &self.missing
    }

    /// How many.
    pub(in crate::event_log) fn events(&self) -> u64 {
        common(&(0..u64::MAX), &self.missing)
    }

    /// Those that whoever comes has been told of already.
    pub(in crate::event_log) fn told_to_all(&mut self) -> &mut Vec<Range<u64>> {
        &mut self.told_to_all
    }

    /// What has not been told yet.
    pub(in crate::event_log) fn take_news(&mut self, number: u64, summary: &Summary) -> Option<News> {
        let ranges = std::mem::take(&mut self.news);
        (!ranges.is_empty()).then(|| News { number, summary: summary.clone(), ranges })
    }

    /// Notes that all of it is recorded before this sequence of the records' lane.
    pub(in crate::event_log) fn set_recorded(&mut self, recorded: u64) {
        self.recorded = Some(recorded);
    }

    /// Whether the records have become durable; true once.
    pub(in crate::event_log) fn is_due(&mut self, durable: u64) -> bool {
        self.recorded.take_if(|recorded| *recorded <= durable).is_some()
    }

    /// What may be noted as recorded.
    pub(in crate::event_log) fn noted(&self) -> Vec<Range<u64>> {
        if self.recorded.is_some() || !self.news.is_empty() { Vec::new() } else { self.missing.clone() }
    }
}
