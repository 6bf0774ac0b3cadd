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
                    self.invocation = crate::words::hexadecimal(bytes);
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
        match self.active.as_str() {
            "active" | "reloading" | "refreshing" => Phase::Running,
            "failed" => Phase::Failed,
            "inactive" => Phase::Ended,
            // It has ended, and only waits to be started again.
            "activating" if self.sub.starts_with("auto-restart") => match self.result.as_str() {
                "success" => Phase::Ended,
                _ => Phase::Failed,
            },
            _ => Phase::Changing,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value as Json;

    use super::*;

    /// The signals of one unit, as `busctl monitor --json=short` prints them; whether each ends what is told of a change.
    pub(in crate::collectors::service) fn signals(jsonl: &str) -> Vec<(Properties, bool)> {
        jsonl
            .lines()
            .map(|line| {
                let signal: Json = serde_json::from_str(line).unwrap();
                let [interface, properties, _] = signal["payload"]["data"].as_array().unwrap().as_slice() else {
                    panic!("{line}")
                };
                let read = |(name, value): (&String, &Json)| Some((name.clone(), value_of(&value["data"])?));
                let properties = properties.as_object().unwrap().iter().filter_map(read).collect();
                (properties, interface == "org.freedesktop.systemd1.Unit")
            })
            .collect()
    }

    fn value_of(json: &Json) -> Option<Value> {
        match json {
            Json::String(text) => Some(Value::Text(text.clone())),
            Json::Number(number) => Some(Value::Number(number.as_i64().unwrap_or(i64::MAX))),
            // A job is a pair of number and path; an invocation a row of bytes.
            Json::Array(items) if items.last().is_some_and(Json::is_string) => value_of(&items[0]),
            Json::Array(items) => {
                Some(Value::Bytes(items.iter().map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect()))
            }
            _ => None,
        }
    }

    /// From what `systemctl show` prints.
    pub(in crate::collectors::service) fn unit_of_show(text: &str) -> UnitState {
        let mut unit = UnitState::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = match (name, value.parse()) {
                ("InvocationID", _) => {
                    let digits = value.as_bytes().chunks(2).map(|digits| std::str::from_utf8(digits).unwrap());
                    Value::Bytes(digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect())
                }
                (_, Ok(number)) => Value::Number(number),
                _ => Value::Text(value.into()),
            };
            unit.update(&Properties::from([(name.to_owned(), value)]));
        }
        unit
    }

    #[test]
    fn all_that_is_used_is_read_from_the_properties_of_a_running_service() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/systemd/systemctl-show.txt");
        let unit = unit_of_show(&std::fs::read_to_string(path).unwrap());
        assert_eq!((unit.active.as_str(), unit.sub.as_str(), unit.result.as_str()), ("active", "running", "success"));
        assert_eq!((unit.main_pid, unit.last_pid, unit.restarts, unit.job), (36, 36, 0, 0));
        assert_eq!(unit.invocation, "00741aec90ad4309ba9b7b730fafd86a");
        assert_eq!((unit.active_enter, unit.inactive_exit, unit.changed_at), (5408942667, 5408671924, 5408942667));
    }

    #[test]
    fn a_failed_run_that_waits_for_its_restart_has_failed() {
        let mut unit = UnitState { active: "activating".into(), sub: "auto-restart".into(), ..UnitState::default() };
        unit.result = "exit-code".into();
        assert_eq!(unit.phase(), Phase::Failed);
        unit.result = "success".into();
        assert_eq!(unit.phase(), Phase::Ended);
        unit.sub = "start-pre".into();
        assert_eq!(unit.phase(), Phase::Changing);
    }
}
