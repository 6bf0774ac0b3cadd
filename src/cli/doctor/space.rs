//! The file system that the event log lies on: whether there is room for what the log may still grow to.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{finding::Finding, patient::Patient};
use crate::{
    agent::probe::{self, Space},
    terminal::{grouped, human_bytes},
};

/// With less than this the log gives up its reserve before long, bytes.
const AVAILABLE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// With less than this no generation can be made, a directory of a handful of files.
const AVAILABLE_INODES_MIN: u64 = 1_000;

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    let place = nearest(&patient.state_directory());
    let space = match probe::space(&place).await {
        Ok(space) => space,
        Err(error) => return vec![Finding::fail(error, format!("findmnt -T {}", place.display()))],
    };
    let log = patient.status.as_ref().ok().and_then(|status| status.log.clone()).unwrap_or_default();
    let configured = patient.config.as_ref().map_or(0, |loaded| loaded.config.events.max_disk);
    let max = if log.disk_bytes_max > 0 { log.disk_bytes_max } else { configured };
    judge(&place, space, max.saturating_sub(log.disk_bytes))
}

/// The directory, or the one above it that is there already.
fn nearest(directory: &Path) -> PathBuf {
    let there = directory.ancestors().find(|ancestor| ancestor.is_dir());
    there.unwrap_or(Path::new("/")).to_path_buf()
}

/// `growth`: by how much the log may still grow, bytes.
fn judge(place: &Path, space: Space, growth: u64) -> Vec<Finding> {
    let name = place.display();
    let available = human_bytes(space.available_bytes);
    let mut findings = Vec::new();
    if space.available_bytes < AVAILABLE_BYTES_MIN {
        findings
            .push(Finding::fail(format!("only {available} are free at {name}"), format!("df -h {name}; make room")));
    } else if space.available_bytes < growth {
        findings.push(Finding::warn(
            format!("the log may grow by {}, and {available} are free at {name}", human_bytes(growth)),
            "make room, or lower `events.max_disk`",
        ));
    }
    // File systems that make inodes as they need them tell none at all.
    if space.inodes > 0 && space.available_inodes < AVAILABLE_INODES_MIN {
        findings.push(Finding::fail(
            format!("only {} inodes are free at {name}", grouped(space.available_inodes)),
            format!("df -i {name}; remove small files"),
        ));
    }
    if findings.is_empty() {
        let inodes = match space.inodes {
            0 => String::new(),
            _ => format!(", {} inodes", grouped(space.available_inodes)),
        };
        let of = human_bytes(space.total_bytes);
        findings.push(Finding::pass(format!("{available} of {of} are free at {name}{inodes}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Mark;

    fn marks(available_bytes: u64, inodes: u64, available_inodes: u64, growth: u64) -> Vec<Mark> {
        let space = Space { available_bytes, inodes, available_inodes, ..Space::default() };
        judge(Path::new("/var"), space, growth).iter().map(|finding| finding.mark).collect()
    }

    #[test]
    fn too_little_room_fails_and_too_little_for_what_may_come_warns() {
        assert_eq!(marks(10 << 30, 100_000, 50_000, 1 << 30), [Mark::Pass]);
        assert_eq!(marks(500 << 20, 100_000, 50_000, 1 << 30), [Mark::Warn]);
        assert_eq!(marks(1 << 20, 100_000, 50_000, 0), [Mark::Fail]);
        assert_eq!(marks(10 << 30, 100_000, 10, 0), [Mark::Fail]);
        assert_eq!(marks(10 << 30, 0, 0, 0), [Mark::Pass], "no inodes are told where there is no bound");
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_looked_at_where_it_will_be() {
        assert_eq!(nearest(Path::new("/proc/nowhere/at/all")), Path::new("/proc"));
    }
}
