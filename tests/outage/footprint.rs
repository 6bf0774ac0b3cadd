//! What a process holds: descriptors, threads, memory.

use std::fs;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// Resident, bytes.
    pub(crate) memory: u64,
}

impl Footprint {
    /// Of the process of this number.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn of(process: u32) -> Footprint {
        let count = |what: &str| fs::read_dir(format!("/proc/{process}/{what}")).expect("the process is there").count();
        let statm = fs::read_to_string(format!("/proc/{process}/statm")).expect("the process is there");
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second is resident");
        Footprint { descriptors: count("fd"), threads: count("task"), memory: pages * PAGE_BYTES }
    }
}

/// Of the machines that we run on.
const PAGE_BYTES: u64 = 4096;
