//! What the numbers of the schema count, told from the names of their fields, and how people read and write it.

use std::time::Duration;

use crate::words::{grouped, human_bytes, human_duration, parse_duration, parse_rfc3339, parse_size, rfc3339_seconds};

/// Above this a time is in milliseconds, for in seconds it would lie past the year 5000.
const UNIX_SECONDS_MAX: i128 = 100_000_000_000;
/// Above this a number of seconds is a point in time, for as a duration it would pass 31 years.
const DURATION_SECONDS_MAX: i128 = 1_000_000_000;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// `size_bytes`, `bytes_used`, `file_size`.
    Bytes,
    /// `uptime_seconds`.
    Seconds,
    /// `expiry_time` in Unix seconds, `first_time` and `started_at` in Unix milliseconds.
    Time,
    /// `power_on_hours`.
    Hours,
    /// `used_percent`, `usage_percentage`.
    Percent,
    /// `temperature`.
    Celsius,
}

impl Unit {
    /// The unit that a field's name tells.
    pub(super) fn of(field: &str) -> Option<Unit> {
        match field {
            _ if field.split('_').any(|word| word == "bytes") || field.ends_with("_size") => Some(Unit::Bytes),
            _ if field.ends_with("_seconds") => Some(Unit::Seconds),
            _ if field.ends_with("_time") || field.ends_with("_at") => Some(Unit::Time),
            _ if field.ends_with("_hours") => Some(Unit::Hours),
            _ if field.split('_').any(|word| word == "percent" || word == "percentage") => Some(Unit::Percent),
            _ if field.split('_').any(|word| word == "temperature") => Some(Unit::Celsius),
            _ => None,
        }
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes",
            Unit::Seconds => "seconds",
            Unit::Time => "time",
            Unit::Hours => "hours",
            Unit::Percent => "percent",
            Unit::Celsius => "degrees Celsius",
        }
    }

    /// A value that people may write where the number is asked for.
    pub(super) fn example(self) -> Option<&'static str> {
        match self {
            Unit::Bytes => Some("1GiB"),
            Unit::Seconds => Some("90s"),
            Unit::Time => Some("2027-01-01"),
            Unit::Hours | Unit::Percent | Unit::Celsius => None,
        }
    }

    /// `1.5GiB`, `3d4h`, `2026-01-31T12:00:00Z`: one word. A value out of the unit's range stays a number.
    pub(super) fn show(self, number: i128) -> String {
        let moment = self.moment(number).map(utc);
        let amount = || self.amount(number).map(|amount| amount.replace(' ', ""));
        moment.or_else(amount).unwrap_or_else(|| number.to_string())
    }

    /// The same as it stands in a sentence: `1.5 GiB`, `3d 4h`, a point in time as `times` writes its Unix milliseconds.
    pub(super) fn say(self, number: i128, times: fn(i64) -> String) -> String {
        let moment = self.moment(number).map(times);
        moment.or_else(|| self.amount(number)).unwrap_or_else(|| grouped(number))
    }

    /// Unix milliseconds of what is a point in time that can be written as one.
    fn moment(self, number: i128) -> Option<i64> {
        let milliseconds = match self {
            Unit::Time => milliseconds(number),
            Unit::Seconds if number >= DURATION_SECONDS_MAX => number.saturating_mul(1000),
            _ => return None,
        };
        i64::try_from(milliseconds).ok().filter(|milliseconds| rfc3339_seconds(*milliseconds).is_some())
    }

    /// What is a size or a span.
    fn amount(self, number: i128) -> Option<String> {
        let count = u64::try_from(number).ok();
        match self {
            Unit::Bytes => count.map(human_bytes),
            Unit::Seconds if number < DURATION_SECONDS_MAX => count.map(Duration::from_secs).map(human_duration),
            _ => None,
        }
    }

    /// A number in words of this unit: `1GiB`, `90s`; a time is none, and other units have no words.
    ///
    /// # Errors
    /// For anything else: what was expected.
    pub(super) fn parse(self, text: &str) -> Result<i128, String> {
        match self {
            Unit::Bytes => parse_size(text).map(i128::from),
            Unit::Seconds => parse_duration(text).map(|duration| duration.as_secs().into()),
            Unit::Time => Err("expected a time such as 2027-01-01 or 2027-01-01T12:00:00Z".to_owned()),
            Unit::Hours | Unit::Percent | Unit::Celsius => Err("expected a bare number".to_owned()),
        }
    }
}

/// A point in time in milliseconds, which may be written in seconds.
pub(super) fn milliseconds(number: i128) -> i128 {
    if number >= UNIX_SECONDS_MAX { number } else { number.saturating_mul(1000) }
}

/// Unix milliseconds of an RFC 3339 time, or of a day in UTC: `2027-01-01`.
pub(super) fn parse_moment(text: &str) -> Option<i64> {
    parse_rfc3339(text).or_else(|| parse_rfc3339(&format!("{text}T00:00:00Z")))
}

/// RFC 3339 in UTC to the second; a time that it has no form for stays a number.
pub(super) fn utc(milliseconds: i64) -> String {
    rfc3339_seconds(milliseconds).unwrap_or_else(|| milliseconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_field_tells_its_unit() {
        assert_eq!(Unit::of("size_bytes"), Some(Unit::Bytes));
        assert_eq!(Unit::of("bytes_used"), Some(Unit::Bytes));
        assert_eq!(Unit::of("uptime_seconds"), Some(Unit::Seconds));
        assert_eq!(Unit::of("expiry_time"), Some(Unit::Time));
        assert_eq!(Unit::of("started_at"), Some(Unit::Time));
        assert_eq!(Unit::of("power_on_hours"), Some(Unit::Hours));
        assert_eq!(Unit::of("percent_complete"), Some(Unit::Percent));
        assert_eq!(Unit::of("temperature"), Some(Unit::Celsius));
        assert_eq!(Unit::of("pid"), None);
    }

    #[test]
    fn numbers_are_shown_as_one_word() {
        assert_eq!(Unit::Bytes.show(1 << 40), "1.0TiB");
        assert_eq!(Unit::Bytes.show(-1), "-1");
        assert_eq!(Unit::Seconds.show(0), "0s");
        assert_eq!(Unit::Seconds.show(61), "1m1s");
        assert_eq!(Unit::Seconds.show(3 * 86_400), "3d");
        assert_eq!(Unit::Seconds.show(3 * 86_400 + 4 * 3600 + 5), "3d4h");
        assert_eq!(Unit::Seconds.show(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(Unit::Time.show(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(Unit::Time.show(1_767_225_600_999), "2026-01-01T00:00:00Z");
        assert_eq!(Unit::Time.show(i128::from(i64::MAX)), i64::MAX.to_string());
        assert_eq!(Unit::Time.show(i128::from(i64::MIN)), i64::MIN.to_string());
    }

    #[test]
    fn in_a_sentence_number_and_unit_stand_apart() {
        assert_eq!(Unit::Bytes.say(3 << 39, utc), "1.5 TiB");
        assert_eq!(Unit::Seconds.say(93_784, utc), "1d 2h");
        assert_eq!(Unit::Bytes.say(-1, utc), "-1");
        assert_eq!(Unit::Hours.say(43_800, utc), "43,800");
    }

    #[test]
    fn points_in_time_are_told_by_the_clock_of_whoever_reads() {
        let local: fn(i64) -> String = |milliseconds| format!("{milliseconds} here");
        assert_eq!(Unit::Time.say(1_767_225_600, utc), "2026-01-01T00:00:00Z");
        assert_eq!(Unit::Time.say(1_767_225_600, local), "1767225600000 here");
        assert_eq!(Unit::Seconds.say(1_767_225_600, local), "1767225600000 here");
        assert_eq!(Unit::Time.say(i128::from(i64::MAX), local), "9,223,372,036,854,775,807");
    }

    #[test]
    fn units_are_read_in_conditions() {
        assert_eq!(Unit::Bytes.parse("1KiB"), Ok(1024));
        assert_eq!(Unit::Seconds.parse("2m"), Ok(120));
        for unclear in ["lots", "1M"] {
            assert!(Unit::Bytes.parse(unclear).is_err(), "{unclear}");
        }
    }
}
