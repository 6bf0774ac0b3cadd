//! What went through the pipeline, counted.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    event::{Level, kind},
    schema::local::PipelineStatus,
};

/// Categories that are counted apart; those beyond count under 0.
const CATEGORIES: usize = 32;

/// Counters of one pipeline, since the agent started.
#[derive(Debug, Default)]
pub struct Counts {
    filtered: AtomicU64,
    refused: AtomicU64,
    levels: [AtomicU64; Level::ALL.len()],
    categories: [AtomicU64; CATEGORIES],
}

impl Counts {
    pub(super) fn accepted(&self, level: Level, category: i32) {
        self.levels[level as usize].fetch_add(1, Ordering::Relaxed);
        let category = usize::try_from(category).ok().and_then(|number| self.categories.get(number));
        category.unwrap_or(&self.categories[0]).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn filtered(&self) {
        self.filtered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters, for `rodent status`.
    pub fn status(&self) -> PipelineStatus {
        let level = |level: Level| (level.name().to_owned(), self.levels[level as usize].load(Ordering::Relaxed));
        let levels: BTreeMap<_, _> = Level::ALL.into_iter().map(level).filter(|(_, count)| *count > 0).collect();
        let names = std::iter::once("other").chain(kind::categories().iter().map(String::as_str));
        PipelineStatus {
            accepted_events: levels.values().sum(),
            filtered_events: self.filtered.load(Ordering::Relaxed),
            refused_events: self.refused.load(Ordering::Relaxed),
            accepted_by_level: levels,
            accepted_by_category: names
                .zip(&self.categories)
                .map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}
