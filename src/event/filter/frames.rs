//! What a filter leaves of many events without reading one: by the levels, categories and kinds that their frame tells of,
//! and by texts that must stand in their bytes. Never leaves out an event that matches.

use memchr::memmem::Finder;

use super::{Condition, Filter, Group, Pattern, is_beyond_the_schema};
use crate::event::{Catalogue, Kind, KindMark, Level, catalogue::Subject};
use crate::order::Sorted as _;

impl Filter {
    /// One bit for each number of a level that may match, on the wire; bit 15 for numbers beyond.
    pub fn levels(&self) -> u16 {
        let may =
            |level: Level| self.alternatives.is_empty() || self.alternatives.iter().any(|it| it.takes_level(level));
        let bits = Level::ALL.into_iter().filter(|level| may(*level)).map(|level| 1u16 << level.to_wire() as u32);
        // A number that nobody knows counts as info.
        let unknown = if may(Level::Info) { 1 << 15 | 1 } else { 0 };
        bits.fold(unknown, |all, bit| all | bit)
    }

    /// One bit for each number of a category that may match; bit 31 for numbers beyond.
    pub fn categories(&self, catalogue: &Catalogue) -> u32 {
        if self.alternatives.is_empty() || self.alternatives.iter().any(Group::is_beyond_the_schema) {
            return u32::MAX;
        }
        let bit = |subject: &Subject| {
            u32::try_from(subject.category_number).ok().and_then(|it| 1u32.checked_shl(it)).unwrap_or(1 << 31)
        };
        let known = catalogue.subjects.iter().fold(0, |all, subject| all | bit(subject));
        let may = |subject: &Subject| self.alternatives.iter().any(|group| group.may_take_subject(subject));
        let taken = catalogue.subjects.iter().filter(|subject| may(subject));
        // Of a category that nobody knows nothing can be said.
        taken.fold(!known | 1 | 1 << 31, |all, subject| all | bit(subject))
    }

    /// Marks of which an event that matches has one; `None` when it may have any.
    pub fn kind_marks(&self, catalogue: &Catalogue) -> Option<Vec<KindMark>> {
        if self.alternatives.is_empty() {
            return None;
        }
        let marks = self.alternatives.iter().map(|group| group.kind_marks(catalogue));
        marks.collect::<Option<Vec<_>>>().map(|marks| marks.concat())
    }

    /// Whether bytes tell of some events that they do not match.
    pub fn asks_for_texts(&self) -> bool {
        !self.alternatives.is_empty() && self.alternatives.iter().all(|group| !group.texts.is_empty())
    }

    /// Whether an event among these bytes may match, as far as texts tell that must stand there.
    pub fn may_stand_in(&self, bytes: &[u8]) -> bool {
        let stands = |text: &Finder<'_>| text.find(bytes).is_some();
        !self.asks_for_texts() || self.alternatives.iter().any(|group| group.texts.iter().all(stands))
    }
}

impl Group {
    pub(super) fn is_beyond_the_schema(&self) -> bool {
        self.patterns.iter().any(is_beyond_the_schema)
            || self.conditions.iter().any(|(condition, _)| condition.is_beyond_the_schema())
    }

    /// Whether an event with this payload may match.
    pub(super) fn may_take_subject(&self, subject: &Subject) -> bool {
        self.has_fields_in(subject)
            && (self.may_take_unnamed(&format!("{}.op_", subject.name))
                || subject.kinds.values().any(|kind| self.may_take(kind)))
    }

    /// Whether a payload has every field without which nothing matches.
    pub(super) fn has_fields_in(&self, subject: &Subject) -> bool {
        self.fields().all(|path| path.is_in(&subject.message))
    }

    /// The fields without which nothing matches.
    pub(super) fn fields(&self) -> impl Iterator<Item = &super::field::FieldPath> {
        let asked = self.conditions.iter().filter(|(condition, wanted)| condition.asks_for_presence() == *wanted);
        asked.filter_map(|(condition, _)| condition.field())
    }

    /// The texts that stand in the bytes of whatever matches, the longest first.
    pub(super) fn find_texts(&mut self) {
        let mut texts: Vec<&str> =
            self.conditions.iter().flat_map(|(condition, wanted)| condition.texts(*wanted)).collect();
        texts.order_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        self.texts = texts.into_iter().map(|text| Finder::new(text).into_owned()).collect();
    }

    fn kind_marks(&self, catalogue: &Catalogue) -> Option<Vec<KindMark>> {
        let is_of_any_kind = || {
            let prefixes = catalogue.categories().iter().map(|category| format!("{category}.event_"));
            prefixes.chain(["event_".to_owned()]).any(|prefix| self.may_take_unnamed(&prefix))
        };
        // A payload that has no name here may have had one where it was written. It has no field that is known.
        if self.is_beyond_the_schema() || (self.fields().next().is_none() && is_of_any_kind()) {
            return None;
        }
        let mut marks = vec![KindMark::UNNAMED];
        for subject in catalogue.subjects.iter().filter(|subject| self.has_fields_in(subject)) {
            if self.may_take_unnamed(&format!("{}.op_", subject.name)) {
                marks.push(subject.mark_of_all());
            } else {
                let kinds = subject.kinds.iter().filter(|(_, kind)| self.may_take(kind));
                marks.extend(kinds.map(|(operation, _)| subject.mark(*operation)));
            }
        }
        Some(marks)
    }

    /// Whether it may take a kind that begins like this and goes on with a number.
    fn may_take_unnamed(&self, prefix: &str) -> bool {
        (self.patterns.is_empty() || self.patterns.iter().any(|pattern| may_match_unnamed(pattern, prefix)))
            && self.meets(|condition| holds_for_unnamed(condition, prefix))
    }
}

/// `None` when that depends on the number.
fn holds_for_unnamed(condition: &Condition, prefix: &str) -> Option<bool> {
    condition.asks_for_category().then(|| condition.holds_for_kind(&Kind::new(prefix))).flatten()
}

/// Whether a pattern may take what begins like this and goes on with a number.
fn may_match_unnamed(pattern: &Pattern, prefix: &str) -> bool {
    let text = pattern.text();
    let Some((head, _)) = text.split_once(crate::words::WILDCARDS) else {
        let below = prefix.strip_prefix(text).is_some_and(|rest| rest.starts_with('.'));
        return below || text.starts_with(prefix);
    };
    let tail = text.rsplit(crate::words::WILDCARDS).next().unwrap_or_default();
    (prefix.starts_with(head) || head.starts_with(prefix))
        && tail.chars().next_back().is_none_or(|c| c.is_ascii_digit())
}
