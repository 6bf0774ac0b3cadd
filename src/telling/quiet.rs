//! The hours at which nobody wants to be told: `22:00-07:00`, as the clock on the wall shows.

use super::Moment;
use crate::schema::local::{StateLevel, SubjectState};

const MINUTES_OF_DAY: u16 = 24 * 60;
const MINUTE: i64 = 60 * 1000;

/// From one minute of the day to another, perhaps over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    from: u16,
    to: u16,
}

/// One of them that is over, Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Night {
    start: i64,
    pub(super) end: i64,
}

impl Quiet {
    /// How it is written.
    pub const EXPECTS: &'static str = "two times of day, such as 22:00-07:00";

    /// Of two times of day.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Quiet, String> {
        let parsed = text.split_once('-').and_then(|(from, to)| Some(Quiet { from: minutes(from)?, to: minutes(to)? }));
        parsed.filter(|quiet| quiet.from != quiet.to).ok_or_else(|| format!("expected {}", Quiet::EXPECTS))
    }

    pub(super) fn holds(self, minute_of_day: u16) -> bool {
        match self.from < self.to {
            true => (self.from..self.to).contains(&minute_of_day),
            false => minute_of_day >= self.from || minute_of_day < self.to,
        }
    }

    /// The end of those that hold now. On the days on which clocks are changed an hour off: then it still holds, or a digest
    /// comes so much later.
    pub(super) fn ends_at(self, at: Moment) -> i64 {
        at.now - at.now.rem_euclid(MINUTE) + i64::from(ahead(at.minute_of_day, self.to)) * MINUTE
    }

    /// The last that are over.
    pub(super) fn last(self, at: Moment) -> Night {
        let end = at.now - at.now.rem_euclid(MINUTE) - i64::from(ahead(self.to, at.minute_of_day)) * MINUTE;
        Night { start: end - i64::from(ahead(self.from, self.to)) * MINUTE, end }
    }
}

/// Minutes since midnight of `22:00`.
pub(super) fn minutes(time: &str) -> Option<u16> {
    let (hour, minute) = time.trim().split_once(':')?;
    let is_number = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let (hour, minute) =
        (Some(hour).filter(|it| is_number(it))?, Some(minute).filter(|it| is_number(it) && it.len() == 2)?);
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

/// Minutes from one time of day to the next of another.
fn ahead(from: u16, to: u16) -> u16 {
    (to + MINUTES_OF_DAY - from) % MINUTES_OF_DAY
}

impl Night {
    /// Whether it went wrong and was well again in these hours.
    pub(super) fn has_healed(&self, state: &SubjectState) -> bool {
        let within = |time: i64| (self.start..self.end).contains(&time);
        match state.changes.as_slice() {
            [now, before, ..] => {
                now.level() == StateLevel::Ok
                    && before.level() != StateLevel::Ok
                    && within(before.wrong_since)
                    && within(now.since)
            }
            _ => false,
        }
    }
}
