//! Severity. The enum's numbers on the wire are not an order (ESSENTIAL 5, DEBUG 6, TRACE 7), so the order stands
//! here, once.

use std::{fmt, str::FromStr};

use crate::schema::{events::EventLevel, local::StateLevel};

/// How much an event matters, least first. [`Level::Essential`] passes every filter.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For finding faults.
    Debug,
    /// Something happened, as it should.
    Info,
    /// Unexpected, and carried on.
    Warn,
    /// Someone must look.
    Error,
    /// Someone must look now.
    Critical,
    /// Belongs to the record whatever the filter says.
    Essential,
}

impl Level {
    /// Every level, least first.
    pub const ALL: [Level; 7] =
        [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical, Level::Essential];

    /// The name in text, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
            Level::Essential => "essential",
        }
    }

    /// From the number on the wire; `None` for UNSPECIFIED and for numbers that this version does not know.
    pub fn from_wire(number: i32) -> Option<Level> {
        Some(match EventLevel::try_from(number).ok()? {
            EventLevel::Unspecified => return None,
            EventLevel::Trace => Level::Trace,
            EventLevel::Debug => Level::Debug,
            EventLevel::Info => Level::Info,
            EventLevel::Warn => Level::Warn,
            EventLevel::Error => Level::Error,
            EventLevel::Critical => Level::Critical,
            EventLevel::Essential => Level::Essential,
        })
    }

    /// The value on the wire.
    pub fn to_wire(self) -> EventLevel {
        match self {
            Level::Trace => EventLevel::Trace,
            Level::Debug => EventLevel::Debug,
            Level::Info => EventLevel::Info,
            Level::Warn => EventLevel::Warn,
            Level::Error => EventLevel::Error,
            Level::Critical => EventLevel::Critical,
            Level::Essential => EventLevel::Essential,
        }
    }
}

impl From<StateLevel> for Level {
    /// That of an event which tells of a state so bad.
    fn from(state: StateLevel) -> Level {
        match state {
            StateLevel::Ok => Level::Info,
            StateLevel::Warn => Level::Warn,
            StateLevel::Error => Level::Error,
            StateLevel::Critical => Level::Critical,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No level has this name.
#[derive(Debug, thiserror::Error)]
#[error("no level is called `{0}`; use trace, debug, info, warn, error, critical or essential")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    /// By name in any case; `warning` and the schema's `EVENT_LEVEL_…` are understood too.
    fn from_str(text: &str) -> Result<Level, UnknownLevel> {
        let lower = text.trim().to_ascii_lowercase();
        let name = lower.strip_prefix("event_level_").unwrap_or(&lower);
        let name = if name == "warning" { "warn" } else { name };
        Level::ALL.into_iter().find(|level| level.name() == name).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_by_severity_and_not_by_number() {
        assert!(Level::Trace < Level::Debug && Level::Debug < Level::Info && Level::Info < Level::Warn);
        assert!(Level::Error < Level::Critical && Level::Critical < Level::Essential);
    }

    #[test]
    fn every_level_of_the_schema_comes_back_from_its_number_and_its_name() {
        for level in Level::ALL {
            assert_eq!(Level::from_wire(level.to_wire() as i32), Some(level));
            assert_eq!(level.to_wire().as_str_name().to_lowercase().parse::<Level>().expect("a name"), level);
            assert_eq!(level.name().to_uppercase().parse::<Level>().expect("a name"), level);
        }
        assert_eq!(Level::from_wire(0), None);
        assert_eq!(Level::from_wire(99), None);
        assert!("loud".parse::<Level>().is_err());
    }
}
