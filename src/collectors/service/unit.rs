//! A service's state as systemd's properties tell it. Pure.

use crate::host::systemd_bus::{Properties, Value};

/// What is known of a unit. Times are microseconds of the monotonic clock, 0 for never.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnitState {
    pub(super) active: String,
    pub(super) sub: String,
    /// Why it ended, in systemd's words; `success` while it runs.
    pub(super) result: String,
    pub(super) main_pid: i64,
    /// Of the last main process, also when it has ended.
    pub(super) last_pid: i64,
    /// Exit status of the last main process, or the number of the signal that ended it.
    pub(super) exit_status: i64,
    /// How it ended: `CLD_EXITED`, `CLD_KILLED`, `CLD_DUMPED`; 0 while it runs.
    pub(super) exit_code: i64,
    /// Automatic restarts since the last start by hand.
    pub(super) restarts: i64,
    /// Random and new with each start, in hexadecimal.
    pub(super) invocation: String,
    /// Number of the job that is under way or waits, 0 when there is none.
    pub(super) job: i64,
    pub(super) changed_at: i64,
    pub(super) active_enter: i64,
    pub(super) active_exit: i64,
    pub(super) inactive_enter: i64,
    pub(super) inactive_exit: i64,
}

/// Where in its life a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is up.
    Running,
    /// It is not, as intended.
    Ended,
    /// It is not, by a fault. It may be about to be started again.
    Failed,
    /// On its way to one of the others.
    Changing,
}

impl UnitState {
    /// Takes new values over; what is not among them stays.
    pub(super) fn update(&mut self, properties: &Properties) {
        for (name, value) in properties {
            match (name.as_str(), value) {
                ("ActiveState", Value::Text(text)) => self.active.clone_from(text),
                ("SubState", Value::Text(text)) => self.sub.clone_from(text),
                ("Result", Value::Text(text)) => self.result.clone_from(text),
                ("InvocationID", Value::Bytes(bytes)) => {
                    self.invocation = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                }
                (name, Value::Number(number)) => self.update_number(name, *number),
                _ => {}
            }
        }
    }

    fn update_number(&mut self, name: &str, number: i64) {
        let field = match name {
            "MainPID" => &mut self.main_pid,
            "ExecMainPID" => &mut self.last_pid,
            "ExecMainStatus" => &mut self.exit_status,
            "ExecMainCode" => &mut self.exit_code,
            "NRestarts" => &mut self.restarts,
            "Job" => &mut self.job,
            "StateChangeTimestampMonotonic" => &mut self.changed_at,
            "ActiveEnterTimestampMonotonic" => &mut self.active_enter,
            "ActiveExitTimestampMonotonic" => &mut self.active_exit,
            "InactiveEnterTimestampMonotonic" => &mut self.inactive_enter,
            "InactiveExitTimestampMonotonic" => &mut self.inactive_exit,
            _ => return,
        };
        *field = number;
    }

    pub(super) fn phase(&self) -> Phase {
        match (self.active.as_str(), self.sub.as_str()) {
            ("active" | "reloading" | "refreshing", _) => Phase::Running,
            ("failed", _) => Phase::Failed,
            // Some versions of systemd pass through "inactive" on the way to an automatic restart.
            ("inactive", sub) if sub.ends_with("-before-auto-restart") => Phase::Changing,
            ("inactive", _) => Phase::Ended,
            ("activating", sub) if sub.starts_with("auto-restart") && self.result != "success" => Phase::Failed,
            _ => Phase::Changing,
        }
    }
}
