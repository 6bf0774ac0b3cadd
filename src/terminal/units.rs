//! Times, spans and sizes in words. All from outside may be any number: none of these panics.

use std::time::{Duration, UNIX_EPOCH};

/// The last millisecond of the year 9999, beyond which RFC 3339 has no form.
const UNIX_MS_MAX: i64 = 253_402_300_799_999;

const BYTE_UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Unix milliseconds as RFC 3339 in UTC, to the second: `2026-11-10T09:30:00Z`. What lies before 1970 or after 9999 is
/// given as the number, with `ms`.
pub fn time_utc(unix_ms: i64) -> String {
    match u64::try_from(unix_ms) {
        Ok(ms) if unix_ms <= UNIX_MS_MAX => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
        }
        _ => format!("{unix_ms}ms"),
    }
}

/// `412 B`, `1.5 MiB`: powers of 1024.
pub fn human_bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = BYTE_UNITS.iter();
    let mut unit = units.next();
    // What would print as 1024.0 is one of the next unit.
    while value >= 1023.95 && units.len() > 0 {
        value /= 1024.0;
        unit = units.next();
    }
    format!("{value:.1} {}", unit.copied().unwrap_or_default())
}

/// `850ms`, `12s`, `5m 3s`, `3h 20m`, `4d 2h`: the two largest units that are not zero.
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let (large, small) = match seconds {
        0..60 => ((seconds, "s"), (0, "")),
        60..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3_600..86_400 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
    };
    match small.0 {
        0 => format!("{}{}", large.0, large.1),
        _ => format!("{}{} {}{}", large.0, large.1, small.0, small.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_to_the_second_and_any_number_is_taken() {
        assert_eq!(time_utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(time_utc(1_762_767_000_999), "2025-11-10T09:30:00Z");
        assert_eq!(time_utc(UNIX_MS_MAX), "9999-12-31T23:59:59Z");
        assert_eq!(time_utc(-1), "-1ms");
        assert_eq!(time_utc(i64::MAX), "9223372036854775807ms");
    }

    #[test]
    fn sizes_go_by_powers_of_1024() {
        let cases =
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), ((1 << 20) - 1, "1.0 MiB"), (u64::MAX, "16.0 EiB")];
        for (bytes, words) in cases {
            assert_eq!(human_bytes(bytes), words);
        }
    }

    #[test]
    fn spans_name_their_two_largest_units() {
        let cases = [(0, "0ms"), (12, "12s"), (60, "1m"), (303, "5m 3s"), (12_000, "3h 20m"), (354_000, "4d 2h")];
        for (seconds, words) in cases {
            assert_eq!(human_duration(Duration::from_secs(seconds)), words);
        }
        assert_eq!(human_duration(Duration::from_millis(850)), "850ms");
        assert!(!human_duration(Duration::MAX).is_empty());
    }
}
