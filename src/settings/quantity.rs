//! Durations and sizes as people write them, and back.

use std::{fmt::Write as _, time::Duration};

use bytesize::ByteSize;

/// What a duration looks like, for messages.
pub(super) const DURATION_EXPECTED: &str = "a duration such as 30s, 5m, 1h30m or 500ms (a bare number is seconds)";
/// What a size looks like, for messages.
pub(super) const SIZE_EXPECTED: &str = "a size such as 64MiB, 1GiB or 500MB (a bare number is bytes)";

/// `30` (seconds), `30s`, `1m30s`, `500ms`. The error says what was expected.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| format!("expected {DURATION_EXPECTED}"))
}

/// `30s`, `1m 30s`: reads back as the same duration without its blanks.
pub(super) fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// `64MiB` (binary), `64MB` (decimal), plain bytes. A unit without its `B` or `i` is refused, for half the world means
/// 1,000,000 with `1M` and the other half 1,048,576. The error says what was expected.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(number.len()..).unwrap_or_default();
    if let [prefix @ ('k' | 'K' | 'm' | 'M' | 'g' | 'G' | 't' | 'T')] = unit.chars().collect::<Vec<_>>()[..] {
        let (number, prefix) = (number.trim_end(), prefix.to_ascii_uppercase());
        return Err(format!("unclear unit: write {number}{prefix}iB (binary) or {number}{prefix}B (decimal)"));
    }
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if !text.starts_with('+') => Ok(bytes),
        _ => Err(format!("expected {SIZE_EXPECTED}")),
    }
}

/// `64MiB`, `1536MiB`, `1000`: in the largest binary unit that gives a whole number, so it reads back as the same size.
pub(super) fn format_size(bytes: u64) -> String {
    let mut text = String::new();
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            let _ = write!(text, "{}{unit}", bytes >> shift);
            return text;
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_a_unit() {
        let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(millis("30"), Ok(30_000));
        assert_eq!(millis("30s"), Ok(30_000));
        assert_eq!(millis("1m30s"), Ok(90_000));
        assert_eq!(millis("1m 30s"), Ok(90_000));
        assert_eq!(millis("500ms"), Ok(500));
        for wrong in ["", "s", "-1s", "30x", "1.5.5s", "99999999999999999999", "99999999999999999999h", "٣٠s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_as_what_their_unit_says() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("64 MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("4MB"), Ok(4_000_000));
        assert_eq!(parse_size("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["", "MiB", "-1", "+5", "1XiB", "0x10", "1e6", "1GiB2", "ⅣMiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_unit_that_means_two_things_is_refused_with_both() {
        assert_eq!(parse_size("4M").unwrap_err(), "unclear unit: write 4MiB (binary) or 4MB (decimal)");
        assert_eq!(parse_size("1 g").unwrap_err(), "unclear unit: write 1GiB (binary) or 1GB (decimal)");
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        for bytes in [0, 1, 1000, 1024, 3 << 29, 1 << 30, 5 << 40, 4_000_000, u64::MAX] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes), "{}", format_size(bytes));
        }
        for millis in [1, 200, 1000, 90_000, 3_600_000, 86_400_000 * 30] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
