//! One condition: what is looked at, how it is compared, and with what.

use super::{
    FilterError, Pattern,
    comparison::{Comparison, divide},
    field::FieldPath,
};
use crate::{
    event::{Catalogue, EventView, Kind, Level},
    words,
};

/// `level>=warn`, `pool_name=tank`.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    subject: Subject,
    comparison: Comparison,
    value: Pattern,
}

/// What a condition looks at.
#[derive(Clone, Debug)]
enum Subject {
    Level(Level),
    Category,
    Kind,
    Source,
    Id,
    /// The sentence.
    Text,
    Metadata(String),
    Field(FieldPath),
}

impl Condition {
    /// `None` for a word without a comparison.
    pub(super) fn parse(catalogue: &Catalogue, word: &str) -> Result<Option<Condition>, FilterError> {
        let at_fault = |message: String| FilterError::new(format!("\"{word}\": {message}"));
        if let Some((key, value)) = word.split_once("!~").or_else(|| word.split_once("!=~")) {
            return Err(at_fault(format!("write !{key}~{value}")));
        }
        let Some((key, comparison, value)) = divide(word) else { return Ok(None) };
        if let Some(value) = value.strip_prefix(['=', '~']) {
            return Err(at_fault(format!("write {key}={value} for the whole text, {key}~{value} for a part of it")));
        }
        let mut value = Pattern::new(value);
        let subject = match key {
            "" => return Err(at_fault("what is compared is missing".into())),
            "level" => Subject::Level(value.text().parse().map_err(|e| at_fault(format!("{e}")))?),
            "category" => {
                value = Pattern::new(&value.text().to_lowercase());
                check_category(catalogue, &value).map_err(at_fault)?;
                Subject::Category
            }
            "kind" if comparison == Comparison::Contains => Subject::Kind,
            "kind" => {
                value = super::kind_pattern(catalogue, value.text())?;
                Subject::Kind
            }
            "source" => Subject::Source,
            "id" => Subject::Id,
            "text" => Subject::Text,
            "lane" => return Err(at_fault("an event does not say in which lane it lies: level>=error comes close, and payload.lane is that of a loss record".into())),
            _ => match key.strip_prefix("meta.") {
                Some(key) => Subject::Metadata(key.to_owned()),
                None => Subject::Field(FieldPath::parse(catalogue, key, comparison, &value).map_err(at_fault)?),
            },
        };
        if comparison.is_by_order() && !matches!(subject, Subject::Level(_) | Subject::Field(_)) {
            return Err(at_fault(format!("{key} is text: compare with =, != or ~, not {}", comparison.symbol())));
        }
        if comparison == Comparison::Contains && matches!(subject, Subject::Level(_)) {
            return Err(at_fault("a level is compared with =, !=, <, <=, > or >=".into()));
        }
        if comparison == Comparison::Contains {
            value = Pattern::new(&value.text().to_lowercase());
        }
        Ok(Some(Condition { subject, comparison, value }))
    }

    pub(super) fn holds(&self, event: &EventView) -> bool {
        let matches = |text: &str| self.comparison.matches(&self.value, text);
        let is = match &self.subject {
            Subject::Level(_) => return self.holds_for_level(event.level()) == Some(true),
            Subject::Category | Subject::Kind => return self.holds_for_kind(&event.kind()) == Some(true),
            Subject::Source => matches(event.source()),
            Subject::Id => matches(event.id()),
            Subject::Text => matches(&event.sentence()),
            Subject::Metadata(key) => event.metadata(key).is_some_and(matches),
            Subject::Field(path) => {
                event.payload().is_some_and(|payload| path.matches(payload, self.comparison, &self.value))
            }
        };
        is != (self.comparison == Comparison::NotEqual)
    }

    /// Whether an event of this level meets it; `None` when it does not ask for the level.
    pub(super) fn holds_for_level(&self, level: Level) -> Option<bool> {
        let Subject::Level(wanted) = &self.subject else { return None };
        Some(self.comparison.accepts(level.cmp(wanted)) != (self.comparison == Comparison::NotEqual))
    }

    /// Whether an event of this kind meets it; `None` when it does not ask for the kind.
    pub(super) fn holds_for_kind(&self, kind: &Kind) -> Option<bool> {
        let is = match &self.subject {
            Subject::Category => self.comparison.matches(&self.value, kind.category()),
            Subject::Kind if self.comparison == Comparison::Contains => {
                self.comparison.matches(&self.value, kind.as_str())
            }
            Subject::Kind => self.value.matches_at_dots(kind.as_str()),
            _ => return None,
        };
        Some(is != (self.comparison == Comparison::NotEqual))
    }

    pub(super) fn asks_for_level_or_kind(&self) -> bool {
        matches!(self.subject, Subject::Level(_) | Subject::Category | Subject::Kind)
    }

    /// Whether it asks for a kind that this version may have no name for.
    pub(super) fn is_beyond_the_schema(&self) -> bool {
        matches!(self.subject, Subject::Kind) && super::is_beyond_the_schema(&self.value)
    }

    /// The field of a payload that it asks for.
    pub(super) fn field(&self) -> Option<&FieldPath> {
        match &self.subject {
            Subject::Field(path) => Some(path),
            _ => None,
        }
    }

    /// Whether the first part of a kind is all that it asks for.
    pub(super) fn asks_for_category(&self) -> bool {
        matches!(self.subject, Subject::Category)
    }

    /// Texts that stand in the bytes of whatever meets it, or where it is not `wanted`, of whatever does not.
    pub(super) fn texts(&self, wanted: bool) -> Vec<&str> {
        let is_equal = match self.comparison {
            Comparison::Equal => wanted,
            Comparison::NotEqual => !wanted,
            _ => false,
        };
        let key = match &self.subject {
            _ if !is_equal => return Vec::new(),
            Subject::Source | Subject::Id => "",
            Subject::Metadata(key) => key.as_str(),
            Subject::Field(path) if path.is_text() => "",
            _ => return Vec::new(),
        };
        let pieces = self.value.text().split(words::WILDCARDS);
        pieces.chain([key]).filter(|piece| !piece.is_empty()).collect()
    }

    /// Whether only an event that has the field can meet it.
    pub(super) fn asks_for_presence(&self) -> bool {
        self.comparison != Comparison::NotEqual
    }
}

fn check_category(catalogue: &Catalogue, value: &Pattern) -> Result<(), String> {
    if value.has_wildcard() || catalogue.categories().iter().any(|name| name == value.text()) {
        return Ok(());
    }
    let nearest = words::nearest(value.text(), catalogue.categories().iter().map(String::as_str));
    let all = catalogue.categories().join(", ");
    Err(format!("no category is called \"{}\" among {all}{}", value.text(), words::did_you_mean(nearest)))
}
