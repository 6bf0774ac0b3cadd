//! What the kernel says of this process's threads: what a watchdog must know to tell a slow disk from a loop that is stuck.
//!
//! Reads `/proc/self/task`, of it only what a process may read of itself although its memory is private
//! (`PR_SET_DUMPABLE`): not the counts of bytes. Where there is no `/proc` nothing is known, and no disk is to blame.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

/// Threads that ask other file systems than the log's: those may be dead for ever, and nobody waits for them.
const BYSTANDERS: &[&str] = &["statvfs"];

/// The thread that waits for the disk in the writer's stead; as long as a thread's name may be.
pub(super) const FLUSHER: &str = "event-log-flush";

/// Who brings groups of events to the disk for the writer, as the names begin: that thread, and those of the database.
const FLUSHERS: [&str; 2] = [FLUSHER, "sled-io"];

/// Who is found waiting for the same thing after this time does not move. On a disk that is merely busy somebody is found
/// waiting at almost every look, each time for something else.
const SAME_WAIT_MIN: Duration = Duration::from_secs(1);

/// Length of a clock tick: the kernel's interface has a hundred a second.
const TICK: Duration = Duration::from_millis(10);

/// One thread at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    /// Whether it runs, or would if it were its turn.
    pub(super) runs: bool,
    /// The processor time that it has had.
    pub(super) processor: Duration,
    /// How often it has waited for something so far.
    pub(super) waits: u64,
}

/// Looks at a thread of this process; nothing of one that is not there.
pub(super) fn glance(thread: i32) -> Glance {
    let stat = read(&format!("{thread}/stat"));
    Glance { runs: state(&stat) == Some("R"), processor: processor(&stat), waits: waits(&thread.to_string()) }
}

/// Whether a thread of this process waits for a disk now, in a way that only the disk can end.
pub fn disk_is_awaited() -> bool {
    disk_waits().next().is_some()
}

/// Whether the log's own threads are at the disk now: then the writer, who waits for them, gets on with them.
pub(super) fn disk_is_flushed_to() -> bool {
    disk_waits().any(|(_, name)| FLUSHERS.iter().any(|flusher| name.starts_with(flusher)))
}

/// The threads that wait for a disk now, and their names.
fn disk_waits() -> impl Iterator<Item = (String, String)> {
    fs::read_dir("/proc/self/task").into_iter().flatten().flatten().filter_map(|thread| {
        let thread = thread.file_name().to_string_lossy().into_owned();
        let stat = read(&format!("{thread}/stat"));
        let waits = !BYSTANDERS.contains(&name(&stat)) && waits_for_disk(&stat, || read(&format!("{thread}/wchan")));
        waits.then(|| (thread, name(&stat).to_owned()))
    })
}

/// How often a thread has waited for something so far.
fn waits(thread: &str) -> u64 {
    read(&format!("{thread}/status")).lines().find_map(voluntary_switches).unwrap_or(0)
}

/// Which threads wait for a disk, and since when they have been seen to.
#[derive(Debug, Default)]
pub struct DiskWaits {
    /// By thread: the count of its waits, and when it was first seen in this one.
    seen: BTreeMap<String, (u64, Instant)>,
}

impl DiskWaits {
    /// Whether a thread waits for a disk and does not move: it was seen in the same wait a while ago. To be asked again and
    /// again.
    pub fn look(&mut self, now: Instant) -> bool {
        self.note(now, disk_waits().map(|(thread, _)| (waits(&thread), thread)))
    }

    fn note(&mut self, now: Instant, waiting: impl Iterator<Item = (u64, String)>) -> bool {
        let seen = std::mem::take(&mut self.seen);
        self.seen = waiting
            .map(|(waits, thread)| {
                let same = seen.get(&thread).filter(|(before, _)| *before == waits);
                let since = same.map_or(now, |(_, since)| *since);
                (thread, (waits, since))
            })
            .collect();
        self.seen.values().any(|(_, since)| now.saturating_duration_since(*since) >= SAME_WAIT_MIN)
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(format!("/proc/self/task/{file}")).unwrap_or_default()
}

/// Uninterruptible sleep is the kernel's own wait for a device. A file system in user space is waited for otherwise.
fn waits_for_disk(stat: &str, place: impl FnOnce() -> String) -> bool {
    match state(stat) {
        Some("D") => true,
        Some("S") => {
            let place = place();
            place.contains("request_wait_answer") || place.contains("fuse")
        }
        _ => false,
    }
}

/// Field 2 of proc_pid_stat(5); in parentheses, and may hold anything.
fn name(stat: &str) -> &str {
    stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(name, _)| name)
}

/// Field 3.
fn state(stat: &str) -> Option<&str> {
    after_name(stat).next()
}

/// Fields 14 and 15.
fn processor(stat: &str) -> Duration {
    let ticks = after_name(stat).skip(11).take(2).filter_map(|field| field.parse::<u32>().ok());
    ticks.map(|ticks| TICK.saturating_mul(ticks)).sum()
}

fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

/// `voluntary_ctxt_switches: 150` of proc_pid_status(5).
fn voluntary_switches(line: &str) -> Option<u64> {
    line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "12 (a) b) D 1 12 12 0 -1 4194304 10 0 0 0 250 50 0 0 20 0";

    #[test]
    fn the_kernels_words_are_read_whatever_a_thread_is_called() {
        assert_eq!((name(STAT), state(STAT)), ("a) b", Some("D")));
        assert_eq!(processor(STAT), Duration::from_secs(3));
        assert_eq!(voluntary_switches("voluntary_ctxt_switches:\t150"), Some(150));
        assert_eq!(voluntary_switches("nonvoluntary_ctxt_switches:\t150"), None);
        assert_eq!((name(""), state(""), processor("")), ("", None, Duration::ZERO));
    }

    #[test]
    fn a_thread_in_uninterruptible_sleep_or_behind_a_user_space_file_system_waits_for_a_disk() {
        let at = |place: &'static str| move || place.to_owned();
        assert!(waits_for_disk("1 (x) D 1", at("")));
        assert!(waits_for_disk("1 (x) S 1", at("request_wait_answer")));
        for place in ["futex_wait_queue", "do_epoll_wait", "0", ""] {
            assert!(!waits_for_disk("1 (x) S 1", at(place)), "{place}");
        }
        // Held by a debugger, stopped, or busy: nothing that a disk would end.
        for state in ["t", "T", "R"] {
            assert!(!waits_for_disk(&format!("1 (x) {state} 1"), at("request_wait_answer")), "{state}");
        }
    }

    #[test]
    fn this_thread_is_seen_to_run_and_to_wait() {
        let own = nix::unistd::gettid().as_raw();
        let before = glance(own);
        assert!(before.runs);
        std::thread::sleep(Duration::from_millis(1));
        assert!(glance(own).waits > before.waits);
        assert_eq!(glance(-1), Glance::default());
        disk_is_awaited();
        DiskWaits::default().look(Instant::now());
    }

    #[test]
    fn only_who_is_found_in_the_same_wait_again_waits_for_a_disk_that_does_not_answer() {
        let (start, mut waits) = (Instant::now(), DiskWaits::default());
        let mut look = |milliseconds, waiting: &[(u64, &str)]| {
            let waiting = waiting.iter().map(|(waits, thread)| (*waits, (*thread).to_owned()));
            waits.note(start + Duration::from_millis(milliseconds), waiting)
        };
        // Busy: somebody waits at each look, but never for the same.
        assert!((0..10).all(|second| !look(second * 2000, &[(second, "12"), (7, ["13", "14"][second as usize % 2])])));
        assert!(!look(30_000, &[(50, "12")]), "the first look at a wait");
        assert!(!look(30_010, &[(50, "12"), (3, "13")]), "two looks at once say nothing");
        assert!(look(31_000, &[(50, "12")]), "the same wait");
        assert!(look(33_000, &[(50, "12"), (4, "13")]) && !look(35_000, &[(51, "12")]) && !look(37_000, &[]));
    }
}
