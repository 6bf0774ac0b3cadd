//! How the machine is doing at this moment, for the controller's first look.

use std::{thread, time::Duration};

use nix::sys::statvfs::statvfs;

use crate::{host::Host, schema::wire::SystemInfo};

/// How long the processors are watched.
const SAMPLE: Duration = Duration::from_millis(200);

/// Measures processors, memory and the root file system, in percent. What cannot be read is 0 and named in the warnings.
/// Blocking for [`SAMPLE`].
pub(super) fn measure(host: &Host) -> SystemInfo {
    let mut warnings = Vec::new();
    let mut or_warn = |value: Option<f64>, what: &str| {
        value.unwrap_or_else(|| {
            warnings.push(format!("{what} cannot be measured"));
            0.0
        })
    };
    let cpu_usage = or_warn(cpu_usage(host), "processor usage");
    let memory_usage = or_warn(host.read("/proc/meminfo").ok().and_then(|text| memory_usage(&text)), "memory usage");
    let disk_usage = or_warn(disk_usage(), "disk usage");
    SystemInfo { cpu_usage, memory_usage, disk_usage, warnings, errors: Vec::new() }
}

fn cpu_usage(host: &Host) -> Option<f64> {
    let before = cpu_times(&host.read("/proc/stat").ok()?)?;
    thread::sleep(SAMPLE);
    let after = cpu_times(&host.read("/proc/stat").ok()?)?;
    Some(percent(after.0.saturating_sub(before.0), after.1.saturating_sub(before.1)))
}

/// Busy and total time of all processors, in ticks.
fn cpu_times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest times are contained in user and nice.
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let idle: u64 = ticks.get(3..5)?.iter().sum();
    let total: u64 = ticks.iter().sum();
    Some((total.saturating_sub(idle), total))
}

fn memory_usage(meminfo: &str) -> Option<f64> {
    let kib = |name: &str| {
        meminfo.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, available) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    Some(percent(total.saturating_sub(available), total))
}

fn disk_usage() -> Option<f64> {
    let space = statvfs("/").ok()?;
    Some(percent(space.blocks().saturating_sub(space.blocks_free()), space.blocks()))
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let meminfo = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    250 kB\n";
        assert_eq!(memory_usage(meminfo), Some(75.0));
        assert_eq!(memory_usage("MemTotal: x"), None);
    }

    #[test]
    fn waiting_for_disks_is_not_being_busy() {
        assert_eq!(cpu_times("cpu  10 0 20 60 10 0 0 0 5 0\ncpu0 …"), Some((30, 100)));
        assert_eq!(cpu_times("cpu  10"), None);
    }
}
