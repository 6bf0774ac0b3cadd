//! Which events somebody wants: `storage.pool.* level>=warn pool_name=tank`.
//!
//! A word without a comparison is a pattern of kinds: `*` matches anything, dots too, `?` one character; without them it
//! takes the kind and all below it (`storage.pool` takes `storage.pool.created`). Several patterns, apart or with commas, are alternatives.
//! All else are conditions, and all of them must hold:
//!
//! - `level>=warn` by severity, `category=storage`, `kind=…`, `source=…`, `id=…`;
//! - `text~failed`, what the event's sentence says;
//! - `meta.KEY=…`, a metadata value; `pool_name=…`, a field of the payload (`payload.source=…` where the event has one
//!   of that name too), `system_info.os=…` an entry of a map;
//! - `=` and `!=` take `*` and `?` in the value; `~` asks whether the value is part of the text, whatever the case; `<` `<=` `>`
//!   `>=` compare numbers and take `1GiB` for bytes, `2h` for seconds.
//!
//! `!` before a word, or `not`, turns it round. `or` parts alternatives, each of which is a filter of its own; `and` may
//! stand between the words of one.
//!
//! A field that is not set has its default (`graceful=false`, `size_bytes=0`). A list matches when one element does.
//! `!=` is exactly what `=` is not: it holds for events without the field too. Quotes keep spaces together. What can take
//! no event is refused.

mod comparison;
mod condition;
mod field;
mod frames;
mod pattern;
mod words;

use condition::Condition;
pub(super) use field::FieldPath;
use memchr::memmem::Finder;
use pattern::Pattern;

use super::{Catalogue, EventView, Head, Kind, Level};
use crate::words::{did_you_mean, nearest};

/// Patterns and conditions in one filter; more are refused.
const WORDS_MAX: usize = 64;
/// Length of one word; a longer one is refused.
const WORD_BYTES_MAX: usize = 1024;

/// What takes some events and leaves others; the empty filter takes every event.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of them must hold. Empty: every event.
    alternatives: Vec<Group>,
    words: usize,
}

/// What stands between two `or`.
#[derive(Clone, Debug, Default)]
struct Group {
    /// One of them must match, where there are any.
    patterns: Vec<Pattern>,
    /// None of them may.
    left_out: Vec<Pattern>,
    /// Each with what is to come of it.
    conditions: Vec<(Condition, bool)>,
    /// What stands in the bytes of every event that matches.
    texts: Vec<Finder<'static>>,
}

/// What is wrong with a condition, and what would be right.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    message: String,
}

impl FilterError {
    fn new(message: impl Into<String>) -> FilterError {
        FilterError { message: message.into() }
    }
}

impl Filter {
    /// Parses conditions, each a word of its own or several in one text.
    ///
    /// # Errors
    /// When a condition is not understood, or nothing can meet it; the message quotes it.
    pub fn parse<S: AsRef<str>>(conditions: &[S]) -> Result<Filter, FilterError> {
        Filter::parse_by(Catalogue::compiled(), conditions)
    }

    /// Looks for a field as conditions name it: `pool_name`, `part.size` inside a message, `system_info.os` in a map.
    ///
    /// # Errors
    /// When no payload has it, or it is secret; the field, or one of `others`, that was meant.
    pub fn check_field(path: &str, others: &[&str]) -> Result<(), String> {
        field::check(Catalogue::compiled(), path, others)
    }

    pub(super) fn parse_by<S: AsRef<str>>(catalogue: &Catalogue, conditions: &[S]) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        let (mut group, mut turned, mut joined) = (Group::default(), false, false);
        for text in conditions {
            for word in words::split(text.as_ref())? {
                match word.to_lowercase().as_str() {
                    "or" if joined => return Err(dangling("and")),
                    "or" => filter.close(catalogue, std::mem::take(&mut group), turned)?,
                    "and" if turned => return Err(dangling("not")),
                    "and" if group.is_empty() || joined => return Err(dangling("and")),
                    "and" => joined = true,
                    "not" | "!" => turned = !turned,
                    _ => {
                        filter.count(&word)?;
                        group.add(catalogue, &word, std::mem::take(&mut turned), std::mem::take(&mut joined))?;
                    }
                }
            }
        }
        match group.is_empty() && filter.alternatives.is_empty() && !turned {
            true => Ok(filter),
            false if joined => Err(dangling("and")),
            false => filter.close(catalogue, group, turned).map(|()| filter),
        }
    }

    /// Whether the event meets every condition of one of the alternatives.
    pub fn matches(&self, event: &EventView) -> bool {
        self.alternatives.is_empty() || self.alternatives.iter().any(|group| group.matches(event))
    }

    /// Whether an event with this head may match, as far as its level, its kind and the fields of its payload tell.
    pub fn may_match(&self, head: &Head) -> bool {
        let level = Level::from_wire(head.level_number).unwrap_or(Level::Info);
        let kind = head.kind();
        let has_fields = |group: &Group| match head.subject() {
            Some(subject) => group.has_fields_in(subject),
            None => group.fields().next().is_none(),
        };
        self.alternatives.is_empty()
            || self.alternatives.iter().any(|group| group.may_match(level, kind.as_ref()) && has_fields(group))
    }

    /// Whether a problem of this level and kind meets it, one of which there is no event to be looked at.
    pub fn takes_problem(&self, level: Level, kind: &str) -> bool {
        let kind = Kind::new(kind);
        self.alternatives.is_empty() || self.alternatives.iter().any(|group| group.may_match(level, Some(&kind)))
    }

    /// Whether it asks for more of an event than its level and its kind.
    pub fn asks_for_more_than_kinds_and_levels(&self) -> bool {
        let mut conditions = self.alternatives.iter().flat_map(|group| &group.conditions);
        conditions.any(|(condition, _)| !condition.asks_for_level_or_kind())
    }

    /// Whether an encoded event matches, of which this is the head: decodes it only where its level, its kind and its bytes leave
    /// that open.
    pub fn takes(&self, head: &Head, event: &[u8]) -> bool {
        self.is_empty()
            || (self.may_match(head)
                && self.may_stand_in(event)
                && EventView::decode(event).is_ok_and(|event| self.matches(&event)))
    }

    /// Whether an event of this kind may match.
    pub fn takes_kind(&self, kind: &str) -> bool {
        self.alternatives.is_empty() || self.alternatives.iter().any(|group| group.takes_kind(kind))
    }

    /// Whether it asks for more than kinds.
    pub fn has_conditions(&self) -> bool {
        self.alternatives.iter().any(|group| !group.conditions.is_empty())
    }

    /// Whether it takes every event.
    pub fn is_empty(&self) -> bool {
        self.alternatives.is_empty()
    }

    fn close(&mut self, catalogue: &Catalogue, mut group: Group, turned: bool) -> Result<(), FilterError> {
        match turned {
            true => Err(dangling("not")),
            false if group.is_empty() => Err(dangling("or")),
            false => {
                group.check(catalogue)?;
                group.find_texts();
                self.alternatives.push(group);
                Ok(())
            }
        }
    }

    fn count(&mut self, word: &str) -> Result<(), FilterError> {
        if word.len() > WORD_BYTES_MAX {
            let bytes = word.len();
            return Err(FilterError::new(format!("a filter's word has {bytes} bytes; at most {WORD_BYTES_MAX}")));
        }
        self.words += 1;
        match self.words > WORDS_MAX {
            true => Err(FilterError::new(format!("a filter has at most {WORDS_MAX} words"))),
            false => Ok(()),
        }
    }
}

impl Group {
    /// `joined`: after an `and`.
    fn add(&mut self, catalogue: &Catalogue, word: &str, turned: bool, joined: bool) -> Result<(), FilterError> {
        let bare = word.trim_start_matches('!');
        let turned = turned != ((word.len() - bare.len()) % 2 == 1);
        if let Some(condition) = Condition::parse(catalogue, bare)? {
            self.conditions.push((condition, !turned));
            return Ok(());
        }
        if joined && !turned && !self.patterns.is_empty() {
            let (one, other) = (self.patterns.first().map(Pattern::text).unwrap_or_default(), bare);
            return Err(FilterError::new(format!(
                "no event is of two kinds, {one} and {other}: write `or`, or a comma"
            )));
        }
        let words = bare.split(',').filter(|word| !word.is_empty());
        let patterns = words.map(|word| kind_pattern(catalogue, word)).collect::<Result<Vec<_>, _>>()?;
        if turned { &mut self.left_out } else { &mut self.patterns }.extend(patterns);
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.left_out.is_empty() && self.conditions.is_empty()
    }

    fn may_match(&self, level: Level, kind: Option<&Kind>) -> bool {
        self.takes_level(level) && kind.is_none_or(|kind| self.may_take(kind))
    }

    fn takes_level(&self, level: Level) -> bool {
        self.meets(|condition| condition.holds_for_level(level))
    }

    fn may_take(&self, kind: &Kind) -> bool {
        self.takes_kind(kind.as_str()) && self.meets(|condition| condition.holds_for_kind(kind))
    }

    /// Whether every condition that has an answer comes out as it should.
    fn meets(&self, ask: impl Fn(&Condition) -> Option<bool>) -> bool {
        self.conditions.iter().all(|(condition, wanted)| ask(condition).is_none_or(|holds| holds == *wanted))
    }

    fn takes_kind(&self, kind: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches_at_dots(kind));
        (self.patterns.is_empty() || any(&self.patterns)) && !any(&self.left_out)
    }

    fn matches(&self, event: &EventView) -> bool {
        let by_kind = !self.patterns.is_empty() || !self.left_out.is_empty();
        (!by_kind || self.takes_kind(event.kind().as_str()))
            && self.conditions.iter().all(|(condition, wanted)| condition.holds(event) == *wanted)
    }

    /// Each may be right, and together they take nothing: a field that no kind of these has, two levels, a category and a kind of
    /// another one.
    ///
    /// # Errors
    /// Says what it is.
    fn check(&self, catalogue: &Catalogue) -> Result<(), FilterError> {
        if !Level::ALL.into_iter().any(|level| self.takes_level(level)) {
            return Err(FilterError::new("no level meets what is asked of it; write `or` between alternatives"));
        }
        if !self.is_beyond_the_schema() && !catalogue.kinds().iter().any(|kind| self.may_take(kind)) {
            return Err(FilterError::new("no kind meets what is asked of it; write `or` between alternatives"));
        }
        if self.patterns.is_empty() || self.patterns.iter().any(is_beyond_the_schema) {
            return Ok(());
        }
        let subjects: Vec<_> = catalogue
            .subjects
            .iter()
            .filter(|its| its.kinds.values().any(|kind| self.takes_kind(kind.as_str())))
            .collect();
        if let Some(name) = self.fields().find(|path| !subjects.iter().any(|its| path.is_in(&its.message))) {
            let words: Vec<_> = self.patterns.iter().map(Pattern::text).collect();
            return Err(FilterError::new(format!("no event of {} has a field {name}", words.join(" or "))));
        }
        Ok(())
    }
}

fn dangling(word: &str) -> FilterError {
    FilterError::new(match word {
        "not" => "`not` stands before a condition: it is missing".to_owned(),
        word => format!("`{word}` stands between conditions: a condition is missing beside it"),
    })
}

/// Whether it may mean a kind that this version has no name for: `storage.pool.op_107`, `event_20`.
fn is_beyond_the_schema(pattern: &Pattern) -> bool {
    let is_number =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'*' | b'?'));
    let names_a_number =
        |part: &str| part.strip_prefix("op_").or_else(|| part.strip_prefix("event_")).is_some_and(is_number);
    pattern.text() == "unknown" || pattern.text().split('.').any(names_a_number)
}

/// What somebody may have meant by a word that is no kind.
fn advice(catalogue: &Catalogue, word: &str) -> Option<String> {
    let is_compared = || {
        ["level", "kind", "category", "source", "text"].contains(&word)
            || catalogue.subjects.iter().any(|subject| subject.message.get_field_by_name(word).is_some())
    };
    Some(match word {
        "||" | "|" => "write `or`".to_owned(),
        "&&" | "&" => "write `and`".to_owned(),
        _ if word.contains(['(', ')']) => {
            "there are no parentheses: write the alternatives out, with `or` between them".to_owned()
        }
        _ if word.contains(['≥', '≤']) => "write >= or <=".to_owned(),
        _ if word.contains(':') => "a field and its value are compared with =, !=, ~, <, <=, > or >=".to_owned(),
        _ if is_compared() => {
            format!("a comparison has no spaces in it and stands in quotes, for the shell: '{word}=…'")
        }
        _ if word.parse::<Level>().is_ok() => format!("a level is asked for by 'level>={word}'"),
        _ => return None,
    })
}

/// A pattern of kinds. One that can take no kind of the schema is a slip, unless it says that it knows better.
fn kind_pattern(catalogue: &Catalogue, word: &str) -> Result<Pattern, FilterError> {
    let pattern = Pattern::new(&word.to_lowercase());
    if is_beyond_the_schema(&pattern) || catalogue.kinds().iter().any(|kind| pattern.matches_at_dots(kind.as_str())) {
        return Ok(pattern);
    }
    let names = || catalogue.kinds().iter().map(Kind::as_str).chain(catalogue.categories().iter().map(String::as_str));
    if let Some(advice) = advice(catalogue, word) {
        return Err(FilterError::new(format!("no kind is called \"{word}\"; {advice}")));
    }
    let bare = word.trim_end_matches(['*', '.']);
    let near = |word: &str| nearest(word, names()).or_else(|| catalogue.nearest(word).map(Kind::as_str));
    let below = (bare.len() < word.len() && !bare.contains('*')).then(|| near_subject(catalogue, bare)).flatten();
    let meant = below.map(|name| format!("{name}.*")).or_else(|| near(word).map(str::to_owned));
    let advice = match meant.as_deref() {
        None if !word.contains(['*', '.']) => format!("; what sentences say is asked for by text~{word}"),
        meant => did_you_mean(meant),
    };
    Err(FilterError::new(format!("no kind is called \"{word}\"{advice}")))
}

/// The category, or category and subject, that is spelt most like this.
fn near_subject<'a>(catalogue: &'a Catalogue, word: &str) -> Option<&'a str> {
    let subjects = catalogue.subjects.iter().map(|subject| subject.name.as_str());
    nearest(word, subjects.chain(catalogue.categories().iter().map(String::as_str)))
}

#[cfg(test)]
mod tests;
