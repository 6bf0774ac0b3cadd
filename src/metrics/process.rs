//! What every program tells of its process: memory, processor time, descriptors, when it started. What the system does
//! not say is left out.

use std::fs;

use nix::{
    sys::resource::{Resource, UsageWho, getrlimit, getrusage},
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};

use super::{Family, Page};

static CPU: Family = Family::counter("process_cpu_seconds_total", &[], "Processor time used, of all threads.");
static RESIDENT: Family = Family::gauge("process_resident_memory_bytes", &[], "Memory in use.");
static VIRTUAL: Family = Family::gauge("process_virtual_memory_bytes", &[], "Address space in use.");
static OPEN: Family = Family::gauge("process_open_fds", &[], "Descriptors in use.");
static OPEN_MAX: Family = Family::gauge("process_max_fds", &[], "Descriptors that may be in use.");
static THREADS: Family = Family::gauge("process_threads", &[], "Threads.");
static STARTED: Family = Family::gauge("process_start_time_seconds", &[], "When the process started, Unix time.");

/// All of them.
pub const FAMILIES: [&Family; 7] = [&CPU, &RESIDENT, &VIRTUAL, &OPEN, &OPEN_MAX, &THREADS, &STARTED];

/// Writes them for this process.
pub fn write(page: &mut Page) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        page.one(&CPU, seconds(usage.user_time()) + seconds(usage.system_time()));
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        page.one(&OPEN, entries.count() as f64);
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        page.one(&OPEN_MAX, soft as f64);
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some(stat) = Stat::parse(&stat) else { return };
    page.one(&THREADS, stat.threads);
    page.one(&VIRTUAL, stat.virtual_bytes);
    if let Ok(Some(page_bytes)) = sysconf(SysconfVar::PAGE_SIZE) {
        page.one(&RESIDENT, stat.resident_pages * page_bytes as f64);
    }
    if let (Some(booted), Ok(Some(ticks))) = (boot_time(), sysconf(SysconfVar::CLK_TCK)) {
        // The two clocks are read one after the other: in whole seconds it says the same each time.
        page.one(&STARTED, (booted + stat.started_ticks / ticks as f64).round());
    }
}

/// What is taken from proc_pid_stat(5).
#[derive(Debug, PartialEq)]
struct Stat {
    threads: f64,
    /// After the boot.
    started_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Stat> {
        let field = |number| stat_field(stat, number)?.parse().ok();
        Some(Stat {
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// The field of `/proc/PID/stat` with this number, from 3 on, as proc_pid_stat(5) counts them.
pub fn stat_field(stat: &str, number: usize) -> Option<&str> {
    // The second, the name in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)
}

/// When the machine started, Unix seconds. Not out of /proc/stat, which a unit may hide (`ProcSubset=pid`).
fn boot_time() -> Option<f64> {
    let seconds = |clock| clock_gettime(clock).ok().map(|time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9);
    Some(seconds(ClockId::CLOCK_REALTIME)? - seconds(ClockId::CLOCK_BOOTTIME)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Format;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 12 0 3456 789000 321 18446744073709551615";
        let expected = Stat { threads: 12.0, started_ticks: 3456.0, virtual_bytes: 789_000.0, resident_pages: 321.0 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn the_clocks_say_what_the_kernel_says_of_its_start() {
        let stat = fs::read_to_string("/proc/stat").expect("a file");
        let said = stat.lines().find_map(|line| line.strip_prefix("btime ")).expect("a line");
        let said: f64 = said.trim().parse().expect("a number");
        let booted = boot_time().expect("two clocks");
        assert!((booted - said).abs() < 2.0, "{booted} {said}");
    }

    #[test]
    fn this_process_has_all_of_it() {
        let mut page = Page::new(Format::Text);
        write(&mut page);
        let page = page.finish();
        for family in FAMILIES {
            let value = page.lines().find_map(|line| line.strip_prefix(family.name)?.strip_prefix(' '));
            assert!(value.is_some_and(|value| value.parse::<f64>().is_ok_and(|value| value > 0.0)), "{page}");
        }
    }
}
