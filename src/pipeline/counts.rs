//! What went through the pipeline, counted.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    event::{Level, kind},
    schema::local::{CategoryStatus, PipelineStatus},
};

/// Categories that are counted apart; those beyond count under 0.
const CATEGORIES: usize = 32;

/// Counters of one pipeline, since the agent started.
#[derive(Debug, Default)]
pub struct Counts {
    refused: AtomicU64,
    /// By category, then by level.
    accepted: [[AtomicU64; Level::ALL.len()]; CATEGORIES],
    filtered: [AtomicU64; CATEGORIES],
}

impl Counts {
    pub(super) fn accepted(&self, level: Level, category: i32) {
        self.accepted[place(category)][level as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn filtered(&self, category: i32) {
        self.filtered[place(category)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Events that were accepted, of each category and level; none is left out. A category that the schema does not know
    /// is called `other`.
    pub fn accepted_events(&self) -> impl Iterator<Item = (&'static str, Level, u64)> {
        categories().zip(&self.accepted).flat_map(|(name, counts)| {
            let of_level = move |(level, count): (Level, &AtomicU64)| (name, level, count.load(Ordering::Relaxed));
            Level::ALL.into_iter().zip(counts).map(of_level)
        })
    }

    /// Events that the configured levels and categories left out, of each category.
    pub fn filtered_events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        categories().zip(&self.filtered).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// Events, or requests of several, that are no acceptable ones.
    pub fn refused_events(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The counters, for `rodent status`.
    pub fn status(&self) -> PipelineStatus {
        let (mut levels, mut accepted) = (BTreeMap::new(), BTreeMap::new());
        for (category, level, count) in self.accepted_events().filter(|(_, _, count)| *count > 0) {
            *levels.entry(level.name().to_owned()).or_default() += count;
            *accepted.entry(category.to_owned()).or_default() += count;
        }
        let of = |(category, filtered_events): (&str, u64)| CategoryStatus {
            category: category.to_owned(),
            accepted_events: accepted.get(category).copied().unwrap_or_default(),
            filtered_events,
        };
        let mut categories: Vec<_> = self.filtered_events().map(of).collect();
        // `other` has the number 0, and comes last.
        categories.rotate_left(1);
        PipelineStatus {
            accepted_events: levels.values().sum(),
            filtered_events: categories.iter().map(|category| category.filtered_events).sum(),
            refused_events: self.refused_events(),
            accepted_by_level: levels,
            accepted_by_category: accepted,
            categories,
        }
    }
}

/// Names by number; 0 is what the schema does not know.
fn categories() -> impl Iterator<Item = &'static str> {
    std::iter::once("other").chain(kind::categories().iter().map(String::as_str))
}

fn place(category: i32) -> usize {
    usize::try_from(category).ok().filter(|number| *number <= kind::categories().len().min(CATEGORIES - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_of_the_schema_is_told_and_what_it_does_not_know_is_other() {
        let counts = Counts::default();
        assert!(kind::categories().len() < CATEGORIES, "there is a place for each");
        counts.accepted(Level::Info, 1);
        counts.accepted(Level::Error, 1);
        counts.filtered(2);
        for unknown in [0, 31, 32, 107, -1] {
            counts.accepted(Level::Info, unknown);
        }
        let status = counts.status();
        let names: Vec<_> = status.categories.iter().map(|category| category.category.as_str()).collect();
        let expected: Vec<_> = kind::categories().iter().map(String::as_str).chain(["other"]).collect();
        assert_eq!(names, expected);
        let of = |place: usize| (status.categories[place].accepted_events, status.categories[place].filtered_events);
        assert_eq!((of(0), of(1), of(names.len() - 1)), ((2, 0), (0, 1), (5, 0)));
        assert_eq!((status.accepted_events, status.filtered_events), (7, 1));
        assert_eq!(status.accepted_by_level, [("error".to_owned(), 1), ("info".to_owned(), 6)].into());
    }
}
