//! The one message that comes though nothing has changed: once a week that all is well, or what is not. Who gets it knows that they
//! would be told.

use super::Moment;
use crate::{
    schema::local::{StateChange, StateLevel, SubjectState},
    words::grouped,
};

const MINUTES_OF_DAY: i64 = 24 * 60;
const MINUTES_OF_WEEK: i64 = 7 * MINUTES_OF_DAY;
const MINUTE: i64 = 60 * 1000;

/// Two times that are no further apart are the same one: clocks are changed by an hour, and it is kept in minutes when it was.
/// Milliseconds.
pub(super) const SAME_WITHIN: i64 = 61 * MINUTE;

/// As people write them, the first of the week as the machine counts it first.
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// The fewest letters that a day is known by.
const DAY_LETTERS_MIN: usize = 3;

/// A day of the week and a time of day, as the clock on the wall shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekly {
    /// Minutes since Sunday began.
    minute: u16,
}

impl Weekly {
    /// How it is written.
    pub const EXPECTS: &'static str = "a day of the week and a time of day, such as sun 09:00";

    /// Of `sunday 9:00`; three letters of the day suffice.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Weekly, String> {
        let parsed = || {
            let (day, time) = text.trim().split_once(' ')?;
            let day = day.to_ascii_lowercase();
            let day = DAYS.iter().position(|its| day.len() >= DAY_LETTERS_MIN && its.starts_with(&day))?;
            let minute = super::quiet::minutes(time)?;
            Some(Weekly { minute: u16::try_from(day).ok()? * 24 * 60 + minute })
        };
        parsed().ok_or_else(|| format!("expected {}", Weekly::EXPECTS))
    }

    /// When it was last, Unix milliseconds. In the week in which clocks are changed an hour off.
    pub(super) fn last(self, at: Moment) -> i64 {
        let now = i64::from(at.day_of_week) * MINUTES_OF_DAY + i64::from(at.minute_of_day);
        let back = (now - i64::from(self.minute)).rem_euclid(MINUTES_OF_WEEK);
        at.now - at.now.rem_euclid(MINUTE) - back * MINUTE
    }

    /// When it is next.
    pub(super) fn next(self, at: Moment) -> i64 {
        self.last(at) + MINUTES_OF_WEEK * MINUTE
    }
}

/// How things stand, as they are counted.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// When that was asked for, Unix milliseconds.
    pub(super) asked_at: i64,
    /// So many things are well.
    well: usize,
    /// The worst of the others.
    pub(super) worst: Option<StateLevel>,
    /// Each of them, in a line.
    pub(super) wrong: Vec<String>,
}

impl Standing {
    pub(super) fn of(asked_at: i64) -> Standing {
        Standing { asked_at, ..Standing::default() }
    }

    /// Takes in how one thing is. Of what is wrong only what is `wanted`; nobody is told of it otherwise when it `is_silent`.
    pub(super) fn add(&mut self, state: &SubjectState, now: &StateChange, is_wanted: bool, is_silent: bool) {
        if now.level() == StateLevel::Ok {
            self.well += 1;
        } else if is_wanted {
            let known = if state.acknowledgement.is_some() { " (known)" } else { "" };
            let silent = if is_silent { " (silenced)" } else { "" };
            let level = now.level().word();
            self.wrong.push(format!("{}: {}, {level}{known}{silent}: {}", state.subject, state.state, now.text));
            self.worst = self.worst.max(Some(now.level()));
        }
    }

    /// What is said where nothing is wrong.
    pub(super) fn well(&self) -> String {
        match self.well {
            0 => "Nothing is known to be wrong.".to_owned(),
            1 => "Nothing is wrong; 1 thing is known to be well.".to_owned(),
            well => format!("Nothing is wrong; {} things are known to be well.", grouped(well as u64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_an_hour_are_read_as_people_write_them() {
        let minute = |text: &str| Weekly::parse(text).map(|weekly| weekly.minute);
        assert_eq!(minute("sun 0:00"), Ok(0));
        assert_eq!(minute("Monday 09:30"), Ok(24 * 60 + 570));
        assert_eq!(minute(" sat  23:59".trim()), minute("saturday 23:59"));
        for wrong in ["", "sun", "9:00", "su 9:00", "sunnyday 9:00", "sun 24:00", "sun 9", "sun 9:0", "sun 09:00-10:00"]
        {
            assert_eq!(
                minute(wrong),
                Err("expected a day of the week and a time of day, such as sun 09:00".to_owned())
            );
        }
    }
}
