//! Points in time as people give them on a command line: how long ago, or a date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::TimeZone;

/// Unix milliseconds of `1h`, `2days`, `2026-11-21`, `2026-11-21 09:30:00` by this clock, `2026-11-21T09:30:00Z`.
///
/// # Errors
/// When the text is neither; says what would be.
pub fn parse(text: &str, now: SystemTime, clock: TimeZone) -> Result<i64, String> {
    let milliseconds = |moment: SystemTime| i64::try_from(moment.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok();
    let moment = match humantime::parse_duration(text) {
        Ok(ago) => now.checked_sub(ago).and_then(milliseconds),
        Err(_) => humantime::parse_rfc3339(text).ok().and_then(milliseconds).or_else(|| {
            let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
            let seconds = if time.len() == "09:30".len() { ":00" } else { "" };
            clock.parse(date, &format!("{time}{seconds}"))
        }),
    };
    moment.ok_or_else(|| {
        format!("`{text}` is no point in time; write how long ago (1h, 30min, 2days) or when (2026-11-21, \"2026-11-21 09:30:00\", 2026-11-21T09:30:00Z)")
    })
}

/// How long ago a moment was; `None` for one that never was (0). What lies ahead of our clock is now.
pub fn ago(unix_ms: i64, now: SystemTime) -> Option<Duration> {
    let ms = u64::try_from(unix_ms).ok().filter(|ms| *ms > 0)?;
    Some(now.duration_since(UNIX_EPOCH + Duration::from_millis(ms)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_before_now_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_762_767_000);
        assert_eq!(parse("1h", now, TimeZone::Utc), Ok(1_762_763_400_000));
        assert_eq!(parse("2025-11-10", now, TimeZone::Utc), Ok(1_762_732_800_000));
        assert_eq!(parse("2025-11-10T09:30:00Z", now, TimeZone::Utc), Ok(1_762_767_000_000));
        assert_eq!(parse("2025-11-10 09:30:00", now, TimeZone::Utc), Ok(1_762_767_000_000));
    }

    #[test]
    fn what_is_no_moment_is_quoted_with_what_would_be_one() {
        let now = UNIX_EPOCH + Duration::from_secs(10);
        let error = parse("yesterday", now, TimeZone::Utc).expect_err("no moment");
        assert!(error.starts_with("`yesterday` is no point in time; write how long ago (1h"), "{error}");
        parse("1h", now, TimeZone::Utc).expect_err("before 1970");
    }
}
