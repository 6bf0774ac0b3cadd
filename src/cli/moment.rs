//! Points in time as people give them on a command line: how long ago, or a date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix milliseconds of `1h`, `2days`, `2026-11-21`, `2026-11-21T09:30:00Z`. Dates are UTC, as all times that we print.
///
/// # Errors
/// When the text is neither; says what would be.
pub(super) fn parse(text: &str, now: SystemTime) -> Result<i64, String> {
    let moment = match humantime::parse_duration(text) {
        Ok(ago) => now.checked_sub(ago),
        Err(_) => humantime::parse_rfc3339_weak(text).or_else(|_| parse_day(text)).ok(),
    };
    let since = moment.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_millis()).ok()).ok_or_else(|| {
        format!("`{text}` is no point in time; write how long ago (1h, 30min, 2days) or when (2026-11-21, 2026-11-21T09:30:00Z)")
    })
}

fn parse_day(text: &str) -> Result<SystemTime, humantime::TimestampError> {
    humantime::parse_rfc3339_weak(&format!("{text}T00:00:00"))
}

/// How long ago a moment was; `None` for one that never was (0). What lies ahead of our clock is now.
pub(super) fn ago(unix_ms: i64, now: SystemTime) -> Option<Duration> {
    let ms = u64::try_from(unix_ms).ok().filter(|ms| *ms > 0)?;
    Some(now.duration_since(UNIX_EPOCH + Duration::from_millis(ms)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_before_now_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_762_767_000);
        assert_eq!(parse("1h", now), Ok(1_762_763_400_000));
        assert_eq!(parse("2025-11-10", now), Ok(1_762_732_800_000));
        assert_eq!(parse("2025-11-10T09:30:00Z", now), Ok(1_762_767_000_000));
        assert_eq!(parse("2025-11-10 09:30:00", now), Ok(1_762_767_000_000));
    }

    #[test]
    fn what_is_no_moment_is_quoted_with_what_would_be_one() {
        let now = UNIX_EPOCH + Duration::from_secs(10);
        let error = parse("yesterday", now).expect_err("no moment");
        assert!(error.starts_with("`yesterday` is no point in time; write how long ago (1h"), "{error}");
        parse("1h", now).expect_err("before 1970");
    }
}
