//! What went through the pipeline, counted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    event::{Catalogue, Kind, Level},
    order::Sorted as _,
    schema::local::{CategoryStatus, PipelineStatus},
};

/// Counters of one pipeline, since the agent started.
#[derive(Debug)]
pub struct Counts {
    refused: AtomicU64,
    /// By number of the category; the first is what the schema does not know.
    categories: Vec<OfCategory>,
    /// Those of the schema.
    kinds: HashMap<Kind, AtomicU64>,
    /// What the schema has no name for.
    other_kinds: AtomicU64,
}

/// What a kind is called that the schema has no name for.
const OTHER: &str = "other";

#[derive(Debug, Default)]
struct OfCategory {
    name: String,
    /// By level.
    accepted: [AtomicU64; Level::ALL.len()],
    filtered: AtomicU64,
}

impl Counts {
    /// With a place for each category of the catalogue, in the order of their numbers from 1 on, and for each kind.
    pub(super) fn new(catalogue: &Catalogue) -> Counts {
        let of = |name: &String| OfCategory { name: name.clone(), ..OfCategory::default() };
        Counts {
            refused: AtomicU64::new(0),
            categories: std::iter::once(&OTHER.to_owned()).chain(catalogue.categories()).map(of).collect(),
            kinds: catalogue.kinds().iter().map(|kind| (kind.clone(), AtomicU64::new(0))).collect(),
            other_kinds: AtomicU64::new(0),
        }
    }

    /// `kind` is none where the schema has no name for it.
    pub(super) fn accepted(&self, level: Level, category: i32, kind: Option<&Kind>) {
        let of_kind = kind.and_then(|kind| self.kinds.get(kind)).unwrap_or(&self.other_kinds);
        of_kind.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.of(category).and_then(|its| its.accepted.get(level as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn filtered(&self, category: i32) {
        if let Some(its) = self.of(category) {
            its.filtered.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, category: i32) -> Option<&OfCategory> {
        let known = usize::try_from(category).ok().and_then(|place| self.categories.get(place));
        known.or_else(|| self.categories.first())
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Events that were accepted, of each category and level; none is left out. A category that the schema does not know
    /// is called `other`.
    pub fn accepted_events(&self) -> impl Iterator<Item = (&str, Level, u64)> {
        self.categories.iter().flat_map(|its| {
            let of_level = |(level, count): (Level, &AtomicU64)| (level, count.load(Ordering::Relaxed));
            let counts = Level::ALL.into_iter().zip(&its.accepted).map(of_level);
            counts.map(|(level, count)| (its.name.as_str(), level, count))
        })
    }

    /// Events that were accepted, of each kind of which there were any, by name.
    pub fn accepted_by_kind(&self) -> Vec<(&str, u64)> {
        let other = (OTHER, self.other_kinds.load(Ordering::Relaxed));
        let known = self.kinds.iter().map(|(kind, count)| (kind.as_str(), count.load(Ordering::Relaxed)));
        let mut counts: Vec<_> = known.chain([other]).filter(|(_, count)| *count > 0).collect();
        counts.order_by_key(|(kind, _)| *kind);
        counts
    }

    /// Events that the configured levels and categories left out, of each category.
    pub fn filtered_events(&self) -> impl Iterator<Item = (&str, u64)> {
        self.categories.iter().map(|its| (its.name.as_str(), its.filtered.load(Ordering::Relaxed)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_of_the_schema_is_told_and_what_it_does_not_know_is_other() {
        let known = Catalogue::compiled().categories();
        let counts = Counts::new(Catalogue::compiled());
        let kind = Catalogue::compiled().kinds().first().expect("there are kinds");
        counts.accepted(Level::Info, 1, Some(kind));
        counts.accepted(Level::Error, 1, Some(kind));
        counts.filtered(2);
        for unknown in [0, 31, 32, 107, -1] {
            counts.accepted(Level::Info, unknown, None);
        }
        let status = counts.status();
        let names: Vec<_> = status.categories.iter().map(|category| category.category.as_str()).collect();
        let expected: Vec<_> = known.iter().map(String::as_str).chain(["other"]).collect();
        assert_eq!(names, expected);
        let of = |place: usize| (status.categories[place].accepted_events, status.categories[place].filtered_events);
        assert_eq!((of(0), of(1), of(names.len() - 1)), ((2, 0), (0, 1), (5, 0)));
        assert_eq!((status.accepted_events, status.filtered_events), (7, 1));
        let mut by_kind = counts.accepted_by_kind();
        by_kind.order_by_key(|(_, count)| *count);
        assert_eq!(by_kind, [(kind.as_str(), 2), ("other", 5)]);
        assert_eq!(status.accepted_by_level, [("error".to_owned(), 1), ("info".to_owned(), 6)].into());
    }
}
