//! What every program tells Prometheus of its process: memory, processor time, descriptors. What the system does not
//! say is left out.

use std::fs;

use nix::{
    sys::resource::{Resource, UsageWho, getrlimit, getrusage},
    unistd::{SysconfVar, sysconf},
};

use super::Page;

pub(super) fn write(page: &mut Page) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
        page.foreign("process_cpu_seconds_total", "counter", "Processor time used.", cpu);
    }
    if let Some(bytes) = resident_bytes() {
        page.foreign("process_resident_memory_bytes", "gauge", "Memory in use.", bytes);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        page.foreign("process_open_fds", "gauge", "Descriptors in use.", entries.count() as f64);
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        page.foreign("process_max_fds", "gauge", "Descriptors that may be in use.", soft as f64);
    }
}

/// The second number of `statm`: pages that are in memory.
fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * sysconf(SysconfVar::PAGE_SIZE).ok()?? as f64)
}
