//! Points in time as RFC 3339 writes them, and back. Whatever lies before 1970 or after the year 9999 has no such form.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last millisecond of the year 9999, beyond which RFC 3339 has no form.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

/// Unix milliseconds as RFC 3339 in UTC, to the second: `2026-11-10T09:30:00Z`. What has no such form is given as the
/// number, with `ms`.
pub fn time_utc(unix_ms: i64) -> String {
    rfc3339_seconds(unix_ms).unwrap_or_else(|| format!("{unix_ms}ms"))
}

/// Unix milliseconds as RFC 3339 in UTC, to the second.
pub fn rfc3339_seconds(unix_ms: i64) -> Option<String> {
    moment(unix_ms).map(|time| humantime::format_rfc3339_seconds(time).to_string())
}

/// Unix milliseconds as RFC 3339 in UTC, to the millisecond.
pub fn rfc3339(unix_ms: i64) -> Option<String> {
    moment(unix_ms).map(|time| humantime::format_rfc3339_millis(time).to_string())
}

fn moment(unix_ms: i64) -> Option<SystemTime> {
    let milliseconds = u64::try_from(unix_ms).ok().filter(|milliseconds| *milliseconds <= UNIX_MS_MAX)?;
    Some(UNIX_EPOCH + Duration::from_millis(milliseconds))
}

/// Unix milliseconds of an RFC 3339 time with `Z` or an offset, from 1970 on.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_to_the_second_and_any_number_is_taken() {
        assert_eq!(time_utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(time_utc(1_762_767_000_999), "2025-11-10T09:30:00Z");
        assert_eq!(time_utc(253_402_300_799_999), "9999-12-31T23:59:59Z");
        assert_eq!(time_utc(-1), "-1ms");
        assert_eq!(time_utc(i64::MAX), "9223372036854775807ms");
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
