//! Hooks: whether the storage daemons that are here tell the agent what happens.

use std::{fs, path::Path};

use super::finding::{Finding, off_thread};
use crate::hooks::{self, Daemon, Enabled, HookState};

/// The most names of a directory of the kernel that are looked at.
const ENTRIES_MAX: usize = 4_096;

pub(super) async fn look() -> Vec<Finding> {
    off_thread(|| {
        let root = Path::new("/");
        judge(&hooks::state(root), |daemon| has_hardware(root, daemon))
    })
    .await
}

/// Whether there is anything that a daemon would tell of. Looks at names in /proc and /sys alone, so that no disk wakes.
fn has_hardware(root: &Path, daemon: Daemon) -> bool {
    let names = |directory: &str| {
        let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
        entries.take(ENTRIES_MAX).map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    match daemon {
        // A directory for each imported pool, beside files.
        Daemon::Zed => names("proc/spl/kstat/zfs").any(|name| root.join("proc/spl/kstat/zfs").join(name).is_dir()),
        Daemon::Smartd => names("sys/block").any(|name| name.starts_with("sd") || name.starts_with("nvme")),
        Daemon::Mdadm => names("sys/block").any(|name| name.starts_with("md")),
    }
}

fn judge(states: &[HookState], has_hardware: impl Fn(Daemon) -> bool) -> Vec<Finding> {
    let present = states.iter().filter(|state| state.present);
    let findings: Vec<Finding> = present.map(|state| one(state, has_hardware(state.daemon))).collect();
    if findings.is_empty() {
        let names: Vec<_> = states.iter().map(|state| state.daemon.name()).collect();
        return vec![Finding::skip(format!("none of {} is here", names.join(", ")))];
    }
    findings
}

fn one(state: &HookState, has_hardware: bool) -> Finding {
    let daemon = state.daemon;
    let enable = format!("rodent hooks enable {daemon}");
    match &state.enabled {
        Enabled::Yes if state.remark.is_empty() => Finding::pass(format!("{daemon} tells the agent what happens")),
        Enabled::Yes => {
            Finding::warn(format!("{daemon} has the hook, which does not work yet: {}", state.remark), "rodent hooks")
        }
        Enabled::No if has_hardware => Finding::warn(
            format!(
                "{daemon} is here with what it watches, and does not tell the agent; collectors see most of it, later"
            ),
            enable,
        ),
        Enabled::No => Finding::pass(format!("{daemon} is here and does not tell the agent; collectors see it later"))
            .advise(enable),
        Enabled::Partly => Finding::warn(format!("{daemon} has parts of the hook"), enable),
        Enabled::Blocked(why) => Finding::warn(format!("{daemon} cannot have the hook: {why}"), "rodent hooks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Mark;

    fn state(present: bool, enabled: Enabled, remark: &str) -> HookState {
        HookState { daemon: Daemon::Zed, present, enabled, place: String::new(), remark: remark.to_owned() }
    }

    #[test]
    fn a_daemon_that_is_here_is_told_with_its_hook_and_what_to_do() {
        let found = |enabled, remark| judge(&[state(true, enabled, remark)], |_| false).remove(0);
        assert_eq!(found(Enabled::Yes, "").mark, Mark::Pass);
        assert_eq!(found(Enabled::Yes, "zed does not run").mark, Mark::Warn);
        assert_eq!(found(Enabled::Partly, "").advice, "rodent hooks enable zed");
        let off = found(Enabled::No, "");
        assert_eq!((off.mark, off.advice.as_str()), (Mark::Pass, "rodent hooks enable zed"));
        assert_eq!(judge(&[state(false, Enabled::No, "")], |_| true)[0].mark, Mark::Skip);
    }

    #[test]
    fn a_hook_that_is_off_beside_its_daemon_and_what_that_watches_is_a_warning() {
        let found = judge(&[state(true, Enabled::No, "")], |_| true);
        assert_eq!((found[0].mark, found[0].advice.as_str()), (Mark::Warn, "rodent hooks enable zed"));
        let root = tempfile::tempdir().expect("a root");
        let has = |daemon| has_hardware(root.path(), daemon);
        assert_eq!(Daemon::ALL.map(has), [false; 3]);
        for place in ["proc/spl/kstat/zfs/tank", "sys/block/nvme0n1", "sys/block/md127"] {
            fs::create_dir_all(root.path().join(place)).expect("made");
        }
        assert_eq!(Daemon::ALL.map(has), [true; 3]);
    }
}
