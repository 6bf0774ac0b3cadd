//! What values of data set properties are called that ZFS keeps as numbers: the history of a pool has the number, and people know
//! the word that they have set.
//!
//! Given a property and its value as the history has it, gives the value as `zfs get` shows it. Always holds: what is not known
//! here stays as it is, so that a property of a newer ZFS is told with its number and never with a wrong word.

use std::borrow::Cow;

/// A number's word stands in its place; an empty one is a number that no property has.
type Words = &'static [&'static str];

const SWITCH: Words = &["off", "on"];
const VISIBILITY: Words = &["hidden", "visible"];
const CACHED: Words = &["none", "metadata", "all"];
const CHECKSUMS: Words = &[
    "",
    "on",
    "off",
    "",
    "",
    "",
    "fletcher2",
    "fletcher4",
    "sha256",
    "",
    "noparity",
    "sha512",
    "skein",
    "edonr",
    "blake3",
];
const COMPRESSIONS: Words = &[
    "", "on", "off", "lzjb", "", "gzip-1", "gzip-2", "gzip-3", "gzip-4", "gzip-5", "gzip", "gzip-7", "gzip-8",
    "gzip-9", "zle", "lz4", "zstd",
];

/// Of a compression: below it the algorithm, from it on the level.
const LEVEL_BITS: u32 = 7;
/// Of the level: from here on the fast ones, one after the other.
const FAST_FROM: u64 = 103;
const FAST: [u16; 21] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 500, 1000];
/// Of deduplication: blocks of the same sum are compared, too.
const VERIFY: u64 = 1 << 8;

/// As people see it.
pub(super) fn shown<'a>(property: &str, value: &'a str) -> Cow<'a, str> {
    let word = value.parse().ok().and_then(|number: u64| word(property, number));
    word.map_or(Cow::Borrowed(value), Cow::Owned)
}

fn word(property: &str, number: u64) -> Option<String> {
    let words: Words = match property {
        "atime" | "relatime" | "devices" | "exec" | "setuid" | "readonly" | "zoned" | "vscan" | "nbmand"
        | "overlay" | "volthreading" | "longname" => SWITCH,
        "compression" => return compression(number),
        "dedup" => return dedup(number),
        "checksum" => CHECKSUMS,
        "snapdir" => &["hidden", "visible", "disabled"],
        "snapdev" => VISIBILITY,
        "primarycache" | "secondarycache" | "prefetch" => CACHED,
        "sync" => &["standard", "always", "disabled"],
        "logbias" => &["latency", "throughput"],
        "canmount" => &["off", "on", "noauto"],
        "xattr" => &["off", "dir", "sa"],
        "acltype" => &["off", "posix", "nfsv4"],
        "aclmode" | "aclinherit" => &["discard", "noallow", "groupmask", "passthrough", "restricted", "passthrough-x"],
        "volmode" => &["default", "full", "dev", "none"],
        "redundant_metadata" => &["all", "most", "some", "none"],
        "direct" => &["disabled", "standard", "always"],
        "dnodesize" if number < 2 => &["legacy", "auto"],
        "quota" | "refquota" | "reservation" | "refreservation" if number == 0 => &["none"],
        "filesystem_limit" | "snapshot_limit" => return (number == u64::MAX).then(|| "none".to_owned()),
        "quota"
        | "refquota"
        | "reservation"
        | "refreservation"
        | "recordsize"
        | "volsize"
        | "dnodesize"
        | "special_small_blocks" => return Some(size(number)),
        _ => return None,
    };
    named(words, number)
}

fn named(words: Words, number: u64) -> Option<String> {
    let word = words.get(usize::try_from(number).ok()?)?;
    (!word.is_empty()).then(|| (*word).to_owned())
}

/// `zstd-7`; the level zstd has by itself is not said.
fn compression(number: u64) -> Option<String> {
    let (algorithm, level) = (number & ((1 << LEVEL_BITS) - 1), number >> LEVEL_BITS);
    let name = named(COMPRESSIONS, algorithm)?;
    match level {
        0 => Some(name),
        1..FAST_FROM => Some(format!("{name}-{level}")),
        fast => {
            let fast = FAST.get(usize::try_from(fast.checked_sub(FAST_FROM)?).ok()?)?;
            Some(format!("{name}-fast-{fast}"))
        }
    }
}

fn dedup(number: u64) -> Option<String> {
    let sum = named(CHECKSUMS, number & (VERIFY - 1))?;
    match number & VERIFY {
        0 => Some(sum),
        _ if sum == "on" => Some("verify".to_owned()),
        _ => Some(sum + ",verify"),
    }
}

/// `300M`: in the greatest unit that divides it, so that it is exact.
fn size(bytes: u64) -> String {
    let units = ["", "K", "M", "G", "T", "P", "E"];
    let (mut number, mut place) = (bytes, 0_usize);
    while number > 0 && number.is_multiple_of(1024) && place < units.len().saturating_sub(1) {
        number /= 1024;
        place = place.saturating_add(1);
    }
    format!("{number}{}", units.get(place).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_of_the_history_is_the_word_that_somebody_has_set() {
        for (property, number, word) in [
            ("compression", "15", "lz4"),
            ("compression", "16", "zstd"),
            ("compression", "912", "zstd-7"),
            ("compression", "13200", "zstd-fast-1"),
            ("compression", "15760", "zstd-fast-1000"),
            ("compression", "10", "gzip"),
            ("checksum", "8", "sha256"),
            ("dedup", "2", "off"),
            ("dedup", "257", "verify"),
            ("dedup", "264", "sha256,verify"),
            ("atime", "0", "off"),
            ("readonly", "1", "on"),
            ("sync", "2", "disabled"),
            ("canmount", "2", "noauto"),
            ("primarycache", "1", "metadata"),
            ("dnodesize", "1", "auto"),
            ("dnodesize", "4096", "4K"),
            ("quota", "314572800", "300M"),
            ("quota", "1610612736", "1536M"),
            ("quota", "1000000001", "1000000001"),
            ("quota", "0", "none"),
            ("recordsize", "65536", "64K"),
            ("special_small_blocks", "0", "0"),
            ("snapshot_limit", "18446744073709551615", "none"),
            ("snapshot_limit", "10", "10"),
            ("copies", "2", "2"),
        ] {
            assert_eq!(shown(property, number), word, "{property}={number}");
        }
    }

    #[test]
    fn what_is_not_known_stays_as_it_is() {
        for (property, value) in [
            ("compression", "17"),
            ("compression", "4"),
            ("compression", "16400"),
            ("compression", "lz4"),
            ("sync", "3"),
            ("checksum", "3"),
            ("mountpoint", "/srv"),
            ("org.example:number", "1"),
            ("quota", "-1"),
            ("quota", ""),
            ("newer", "3"),
        ] {
            assert_eq!(shown(property, value), value, "{property}={value}");
        }
    }

    proptest! {
        #[test]
        fn any_value_of_any_property_is_shown(property in "compression|dedup|checksum|quota|dnodesize|sync|[a-z:]{0,12}", value in ".{0,24}", number: u64) {
            let _ = shown(&property, &value);
            prop_assert!(!shown(&property, &number.to_string()).is_empty());
        }
    }
}
