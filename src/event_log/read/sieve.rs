//! What a reader has no use for, told by the head of a frame: whole frames are passed over without being decompressed, or
//! decompressed without an event being read.

use crate::{
    event::{Catalogue, Filter, KindMark},
    event_log::disk::{
        frame::Header,
        summary::{Marks, Summary},
    },
};

/// Which frames may hold events that somebody wants. Never leaves out one that does.
#[derive(Clone, Debug)]
pub struct Sieve {
    /// One bit for each level's number on the wire; bit 15 for numbers beyond.
    pub levels: u16,
    /// One bit for each category's number; bit 31 for numbers beyond.
    pub categories: u32,
    /// One of which is among the kinds; `None` when any will do.
    pub kinds: Option<Vec<KindMark>>,
    /// Unix milliseconds of the oldest and the newest, inclusive.
    pub times: (i64, i64),
    /// What it is that asks for texts.
    pub texts: Option<Filter>,
}

impl Sieve {
    /// Leaves out nothing.
    pub const OPEN: Sieve =
        Sieve { levels: u16::MAX, categories: u32::MAX, kinds: None, times: (i64::MIN, i64::MAX), texts: None };

    /// For whoever wants what a filter takes, of these times.
    pub fn of(filter: &Filter, times: (i64, i64)) -> Sieve {
        let catalogue = Catalogue::compiled();
        Sieve {
            levels: filter.levels(),
            categories: filter.categories(catalogue),
            kinds: filter.kind_marks(catalogue),
            times,
            texts: filter.asks_for_texts().then(|| filter.clone()),
        }
    }

    pub(super) fn takes(&self, header: &Header) -> bool {
        let Header { levels, categories, kinds, min_time, max_time, .. } = *header;
        self.takes_marks(Marks { levels, categories, kinds }, (min_time, max_time))
    }

    /// Of a whole generation.
    pub(super) fn takes_some_of(&self, summary: &Summary) -> bool {
        self.takes_marks(summary.marks, (summary.min_time, summary.max_time))
    }

    fn takes_marks(&self, marks: Marks, (min_time, max_time): (i64, i64)) -> bool {
        let (since, until) = self.times;
        marks.levels & self.levels != 0
            && marks.categories & self.categories != 0
            && min_time <= until
            && max_time >= since
            && self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| marks.kinds.may_hold(*kind)))
    }

    pub(super) fn asks_for_texts(&self) -> bool {
        self.texts.is_some()
    }

    /// Of a frame that was taken, by the bytes of its events.
    pub(super) fn takes_bytes(&self, events: &[u8]) -> bool {
        self.texts.as_ref().is_none_or(|filter| filter.may_stand_in(events))
    }
}
