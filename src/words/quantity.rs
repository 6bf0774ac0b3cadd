//! Durations, sizes and counts as people write them, and back.

use std::time::Duration;

use bytesize::ByteSize;

/// What a duration looks like, for messages.
pub const DURATION_EXPECTED: &str = "a duration such as 30s, 5m, 1h30m or 500ms (a bare number is seconds)";
/// What a size looks like, for messages.
pub const SIZE_EXPECTED: &str = "a size such as 64MiB, 1GiB or 500MB (a bare number is bytes)";

const BYTE_UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `30` (seconds), `30s`, `1m30s`, `500ms`.
///
/// # Errors
/// For anything else: what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| format!("expected {DURATION_EXPECTED}"))
}

/// `64MiB` (binary), `64MB` (decimal), plain bytes. A unit without its `B` or `i` is refused, for half the world means
/// 1,000,000 with `1M` and the other half 1,048,576.
///
/// # Errors
/// For anything else: what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(number.len()..).unwrap_or_default();
    let mut letters = unit.chars();
    if let (Some(prefix @ ('k' | 'K' | 'm' | 'M' | 'g' | 'G' | 't' | 'T')), None) = (letters.next(), letters.next()) {
        let (number, prefix) = (number.trim_end(), prefix.to_ascii_uppercase());
        return Err(format!("unclear unit: write {number}{prefix}iB (binary) or {number}{prefix}B (decimal)"));
    }
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if !text.starts_with('+') => Ok(bytes),
        _ => Err(format!("expected {SIZE_EXPECTED}")),
    }
}

/// `30s`, `1m30s`: reads back as the same duration.
pub fn exact_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// `64MiB`, `1536MiB`, `1000`: in the largest binary unit that gives a whole number, so it reads back as the same size.
pub fn exact_size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units.into_iter().find(|(_, shift)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
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

/// `850ms`, `12s`, `5m 3s`, `3h 20m`, `4d 2h`: the largest unit, and the next if it is not zero.
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0 if duration.is_zero() => ((0, "s"), (0, "")),
        0 => ((u64::from(duration.subsec_millis()), "ms"), (0, "")),
        1..60 => ((seconds, "s"), (0, "")),
        60..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3_600..86_400 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
    };
    match small.0 {
        0 => format!("{}{}", large.0, large.1),
        _ => format!("{}{} {}{}", large.0, large.1, small.0, small.1),
    }
}

/// `1,234,567`.
pub fn grouped(number: impl Into<i128>) -> String {
    group(&number.into().to_string())
}

/// `1 event`, `1,204 events`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number whose digits before the point are grouped by thousands.
pub fn group(number: &str) -> String {
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
    fn what_is_written_exactly_reads_back_as_the_same() {
        for bytes in [0, 1, 1000, 1024, 3 << 29, 1 << 30, 5 << 40, 4_000_000, u64::MAX] {
            assert_eq!(parse_size(&exact_size(bytes)), Ok(bytes), "{}", exact_size(bytes));
        }
        for millis in [1, 200, 1000, 90_000, 3_600_000, 86_400_000 * 30] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&exact_duration(duration)), Ok(duration));
        }
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
        let cases = [(0, "0s"), (12, "12s"), (60, "1m"), (303, "5m 3s"), (12_000, "3h 20m"), (354_000, "4d 2h")];
        for (seconds, words) in cases {
            assert_eq!(human_duration(Duration::from_secs(seconds)), words);
        }
        assert_eq!(human_duration(Duration::from_millis(850)), "850ms");
        assert!(!human_duration(Duration::MAX).is_empty());
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
}
