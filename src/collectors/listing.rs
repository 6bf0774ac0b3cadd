//! Names and sizes as payloads carry them.

use crate::{event::and_more, host::Host};

/// How many names a payload lists. With very long ones an event is cut further, by the pipeline.
pub(super) const LISTED_MAX: usize = 100;

/// The first of many names, and how many more there are.
pub(super) fn first(names: impl ExactSizeIterator<Item = String>) -> (Vec<String>, u32) {
    let more = names.len().saturating_sub(LISTED_MAX);
    (names.take(LISTED_MAX).collect(), u32::try_from(more).unwrap_or(u32::MAX))
}

/// The same where no field of its own tells how many more: the last name does.
pub(super) fn listed(names: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let (mut listed, more) = first(names);
    if more > 0 {
        listed.push(and_more(more.into()));
    }
    listed
}

/// `2 pools: backup, tank`
pub(super) fn counted(names: Vec<String>, noun: &str) -> String {
    let (count, plural) = (names.len(), if names.len() == 1 { "" } else { "s" });
    let names = listed(names.into_iter()).join(", ");
    if count == 0 { format!("no {noun}s") } else { format!("{count} {noun}{plural}: {names}") }
}

/// Why those beyond the bound of what is followed are not, and what to do; `None` where there are none. `are` says what they do
/// (`mounted`), `key` which setting leaves some out.
pub(super) fn beyond(count: usize, most: usize, are: &str, key: &str) -> Option<String> {
    let why = || format!("more than {most} are {are}, {count} are not followed; leave some out: collectors.{key}");
    (count > 0).then(why)
}

/// How near the bound of what is followed is, from a quarter of it on: who has so many may get more.
pub(super) fn near(count: usize, most: usize) -> Option<String> {
    (count >= most / 4).then(|| format!("{count} are followed, and {most} can be"))
}

/// Where a block device lies, of which the kernel writes the name with `!` for `/`.
pub(super) fn device_path(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}

/// The same as people mount it: a volume of the device mapper by its name.
pub(super) fn source_of(host: &Host, name: &str) -> String {
    match host.read(&format!("/sys/class/block/{name}/dm/name")) {
        Ok(volume) => format!("/dev/mapper/{}", volume.trim()),
        Err(_) => device_path(name),
    }
}

/// A size as the wire has it.
pub(super) fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_bound_is_told_with_what_to_do() {
        let why = "more than 4096 are mounted, 3 are not followed; leave some out: collectors.storage.mounts.exclude";
        assert_eq!(beyond(3, 4096, "mounted", "storage.mounts.exclude").as_deref(), Some(why));
        assert_eq!(beyond(0, 4096, "mounted", "storage.mounts.exclude"), None);
    }

    #[test]
    fn how_near_a_bound_is_is_told_before_it_is_reached() {
        assert_eq!(near(4_300, 16_384).as_deref(), Some("4300 are followed, and 16384 can be"));
        assert_eq!(near(1_000, 16_384), None);
    }
}
