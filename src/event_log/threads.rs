//! What the kernel says of this process's threads: what a watchdog must know to tell a slow disk from a loop that is stuck.
//!
//! Reads `/proc/self/task`, of it only what a process may read of itself although its memory is private
//! (`PR_SET_DUMPABLE`): not the counts of bytes. Where there is no `/proc` nothing is known, and no disk is to blame.

use std::{fs, time::Duration};

/// Threads that ask other file systems than the log's: those may be dead for ever, and nobody waits for them.
const BYSTANDERS: &[&str] = &["statvfs"];

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
    let waits = read(&format!("{thread}/status")).lines().find_map(voluntary_switches).unwrap_or(0);
    Glance { runs: state(&stat) == Some("R"), processor: processor(&stat), waits }
}

/// Whether a thread of this process waits for a disk now, in a way that only the disk can end.
pub fn disk_is_awaited() -> bool {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return false };
    threads.flatten().any(|thread| {
        let thread = thread.file_name();
        let thread = thread.to_string_lossy();
        let stat = read(&format!("{thread}/stat"));
        !BYSTANDERS.contains(&name(&stat)) && waits_for_disk(&stat, || read(&format!("{thread}/wchan")))
    })
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
    }
}
