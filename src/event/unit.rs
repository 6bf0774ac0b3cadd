//! What the numbers of the schema count, told from the names of their fields, and how people read and write it.

use std::time::{Duration, UNIX_EPOCH};

use bytesize::ByteSize;

/// Above this a time is in milliseconds, for in seconds it would lie past the year 5000.
const UNIX_SECONDS_MAX: i128 = 100_000_000_000;
/// Above this a number of seconds is a point in time, for as a duration it would pass 31 years.
const DURATION_SECONDS_MAX: i128 = 1_000_000_000;
/// The last millisecond that RFC 3339 can write: the end of the year 9999.
const UNIX_MILLISECONDS_MAX: u64 = 253_402_300_799_999;

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
        moment.or_else(|| self.amount(number)).unwrap_or_else(|| number.to_string())
    }

    /// Unix milliseconds of what is a point in time.
    fn moment(self, number: i128) -> Option<i64> {
        let milliseconds = match self {
            Unit::Time => milliseconds(number),
            Unit::Seconds if number >= DURATION_SECONDS_MAX => number.saturating_mul(1000),
            _ => return None,
        };
        i64::try_from(within(milliseconds)?).ok()
    }

    /// What is a size or a span, in one word.
    fn amount(self, number: i128) -> Option<String> {
        match self {
            Unit::Bytes => u64::try_from(number).ok().map(bytes),
            Unit::Seconds if number < DURATION_SECONDS_MAX => u64::try_from(number).ok().map(duration),
            _ => None,
        }
    }

    /// The same as it stands in a sentence: `1.5 GiB`, `3d 4h`, a point in time as `times` writes its Unix milliseconds.
    pub(super) fn say(self, number: i128, times: fn(i64) -> String) -> String {
        if let Some(moment) = self.moment(number) {
            return times(moment);
        }
        let Some(amount) = self.amount(number) else { return grouped(number) };
        let (mut said, mut before) = (String::new(), ' ');
        for c in amount.chars() {
            let parts = match self {
                Unit::Bytes => before.is_ascii_digit() && c.is_ascii_alphabetic(),
                _ => before.is_ascii_lowercase() && c.is_ascii_digit(),
            };
            said.extend(parts.then_some(' ').into_iter().chain([c]));
            before = c;
        }
        said
    }

    /// A number in words of this unit: `1GiB`, `90s`.
    pub(super) fn parse(self, text: &str) -> Option<i128> {
        match self {
            Unit::Bytes => text.parse::<ByteSize>().ok().map(|size| size.as_u64().into()),
            Unit::Seconds => humantime::parse_duration(text).ok().map(|duration| duration.as_secs().into()),
            Unit::Time | Unit::Hours | Unit::Percent | Unit::Celsius => None,
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

/// RFC 3339 in UTC with milliseconds, where the time lies in the years 1970 to 9999.
pub(super) fn rfc3339(milliseconds: i64) -> Option<String> {
    let time = UNIX_EPOCH + Duration::from_millis(within(milliseconds.into())?);
    Some(humantime::format_rfc3339_millis(time).to_string())
}

/// RFC 3339 in UTC to the second; a time that it has no form for stays a number.
pub(super) fn utc(milliseconds: i64) -> String {
    let moment = within(milliseconds.into()).map(|milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds));
    moment.map_or_else(|| milliseconds.to_string(), |moment| humantime::format_rfc3339_seconds(moment).to_string())
}

/// `1,234,567`.
pub fn grouped(number: impl Into<i128>) -> String {
    group(&number.into().to_string())
}

/// A number whose digits before the point are grouped by thousands.
pub(super) fn group(number: &str) -> String {
    let whole = number.find('.').unwrap_or(number.len());
    let mut text = String::with_capacity(number.len() + whole / 3);
    let mut before = ' ';
    for (at, c) in number.char_indices() {
        if at < whole && before.is_ascii_digit() && (whole - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
        before = c;
    }
    text
}

fn within(milliseconds: i128) -> Option<u64> {
    u64::try_from(milliseconds).ok().filter(|m| *m <= UNIX_MILLISECONDS_MAX)
}

/// Unix milliseconds of an RFC 3339 time with `Z` or an offset, from 1970 on.
pub(super) fn parse_rfc3339(text: &str) -> Option<i64> {
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, offset_milliseconds(offset)?)
        }
    };
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let milliseconds = i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    milliseconds.checked_sub(offset)
}

/// `+02:00` or `-05:30`.
fn offset_milliseconds(offset: &str) -> Option<i64> {
    let sign = match offset.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn bytes(number: u64) -> String {
    ByteSize(number).display().iec().to_string().replace(' ', "")
}

/// The two largest units.
fn duration(seconds: u64) -> String {
    let units = [("d", seconds / 86_400), ("h", seconds / 3600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let first = units.iter().position(|(_, count)| *count > 0).unwrap_or(units.len() - 1);
    let shown = units.iter().enumerate().skip(first).take(2).filter(|(i, (_, count))| *count > 0 || *i == first);
    shown.map(|(_, (unit, count))| format!("{count}{unit}")).collect()
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
    fn numbers_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (99_999, "99,999"), (-1_234_567, "-1,234,567")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(
            (group("-100"), group("123456.789"), group("inf")),
            ("-100".into(), "123,456.789".into(), "inf".into())
        );
    }

    #[test]
    fn units_are_read_in_conditions() {
        assert_eq!(Unit::Bytes.parse("1KiB"), Some(1024));
        assert_eq!(Unit::Seconds.parse("2m"), Some(120));
        assert_eq!(Unit::Bytes.parse("lots"), None);
    }

    #[test]
    fn times_go_to_rfc_3339_and_back() {
        let text = rfc3339(1_767_225_600_123).expect("in range");
        assert_eq!(text, "2026-01-01T00:00:00.123Z");
        assert_eq!(parse_rfc3339(&text), Some(1_767_225_600_123));
        assert_eq!(parse_rfc3339("2026-01-01T02:00:00.123+02:00"), Some(1_767_225_600_123));
        assert_eq!(parse_rfc3339("2025-12-31T19:30:00-04:30"), Some(1_767_225_600_000));
        for wrong in ["", "Z", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00+99:00", "ü+1:00"]
        {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
        assert_eq!(rfc3339(-1), None);
        assert_eq!(rfc3339(i64::MAX), None);
    }
}
