//! What the kernel says and counts: disks that fail to read or write, processes killed for want of memory, its own errors,
//! errors of the memory. Its messages need a privilege (`kernel-log.conf`); what it counts anybody may read.

mod counters;
mod line;
mod log;

pub(super) use self::{
    counters::Counters,
    log::{IsRead, Log},
};
