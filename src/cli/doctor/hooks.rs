//! Hooks: whether the storage daemons that are here tell the agent what happens.

use std::path::Path;

use super::{check::off_thread, finding::Finding};
use crate::hooks::{self, Enabled, HookState};

pub(super) async fn look() -> Vec<Finding> {
    off_thread(|| judge(&hooks::state(Path::new("/")))).await
}

fn judge(states: &[HookState]) -> Vec<Finding> {
    let present = states.iter().filter(|state| state.present);
    let findings: Vec<Finding> = present.map(one).collect();
    if findings.is_empty() {
        let names: Vec<_> = states.iter().map(|state| state.daemon.name()).collect();
        return vec![Finding::skip(format!("none of {} is here", names.join(", ")))];
    }
    findings
}

fn one(state: &HookState) -> Finding {
    let daemon = state.daemon;
    let enable = format!("rodent hooks enable {daemon}");
    match &state.enabled {
        Enabled::Yes if state.remark.is_empty() => Finding::pass(format!("{daemon} tells the agent what happens")),
        Enabled::Yes => {
            Finding::warn(format!("{daemon} has the hook, which does not work yet: {}", state.remark), "rodent hooks")
        }
        // Whoever installed the package may not want it: collectors see most of it, later.
        Enabled::No => Finding::pass(format!("{daemon} is here and does not tell the agent; collectors see it later"))
            .advise(enable),
        Enabled::Partly => Finding::warn(format!("{daemon} has parts of the hook"), enable),
        Enabled::Blocked(why) => Finding::warn(format!("{daemon} cannot have the hook: {why}"), "rodent hooks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::finding::Mark, hooks::Daemon};

    fn state(present: bool, enabled: Enabled, remark: &str) -> HookState {
        HookState { daemon: Daemon::Zed, present, enabled, place: String::new(), remark: remark.to_owned() }
    }

    #[test]
    fn a_daemon_that_is_here_is_told_with_its_hook_and_what_to_do() {
        let found = |enabled, remark| judge(&[state(true, enabled, remark)]).remove(0);
        assert_eq!(found(Enabled::Yes, "").mark, Mark::Pass);
        assert_eq!(found(Enabled::Yes, "zed does not run").mark, Mark::Warn);
        assert_eq!(found(Enabled::Partly, "").advice, "rodent hooks enable zed");
        let off = found(Enabled::No, "");
        assert_eq!((off.mark, off.advice.as_str()), (Mark::Pass, "rodent hooks enable zed"));
        assert_eq!(judge(&[state(false, Enabled::No, "")])[0].mark, Mark::Skip);
    }
}
