//! What a check found: whether it is as it should be, in one sentence, and what to do where it is not.

use serde::Serialize;

use crate::{client::StatusResponse, schema::local::ConditionStatus, telemetry::message, terminal::Tone};

/// Conditions that a check looks at anew, from outside.
const LOOKED_AT: [&str; 3] = ["clock_unsynchronised", "token_expires", "certificate_expires"];

/// Whether something is as it should be. Ordered by how much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    /// It is.
    Pass,
    /// It could not be looked at, or there is nothing to look at. Says nothing about how it is.
    Skip,
    /// It works, and somebody should look.
    Warn,
    /// It does not work.
    Fail,
}

impl Mark {
    /// Every one, the most harmless first.
    pub(super) const ALL: [Mark; 4] = [Mark::Pass, Mark::Skip, Mark::Warn, Mark::Fail];

    /// `pass`, `skip`, `warn`, `fail`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Mark::Pass => "pass",
            Mark::Skip => "skip",
            Mark::Warn => "warn",
            Mark::Fail => "fail",
        }
    }

    pub(super) fn tone(self) -> Tone {
        match self {
            Mark::Pass => Tone::Good,
            Mark::Skip => Tone::Dim,
            Mark::Warn => Tone::Warn,
            Mark::Fail => Tone::Bad,
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) mark: Mark,
    /// One sentence. Never a secret.
    pub(super) text: String,
    /// What to do: a command to type where there is one; empty when there is nothing to do.
    pub(super) advice: String,
}

impl Finding {
    pub(super) fn pass(text: impl Into<String>) -> Finding {
        Finding { mark: Mark::Pass, text: text.into(), advice: String::new() }
    }

    /// With the reason why it was not looked at.
    pub(super) fn skip(text: impl Into<String>) -> Finding {
        Finding { mark: Mark::Skip, text: text.into(), advice: String::new() }
    }

    pub(super) fn warn(text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { mark: Mark::Warn, text: text.into(), advice: advice.into() }
    }

    pub(super) fn fail(text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { mark: Mark::Fail, text: text.into(), advice: advice.into() }
    }

    /// What to do about something that was skipped.
    #[must_use]
    pub(super) fn advise(self, advice: impl Into<String>) -> Finding {
        Finding { advice: advice.into(), ..self }
    }
}

/// What the agent says of itself that belongs to this check.
pub(super) fn of_agent(status: &StatusResponse, check: &str) -> Vec<Finding> {
    let own = status.conditions.iter().filter(|condition| check_of(&condition.part) == check);
    own.filter(|condition| !LOOKED_AT.contains(&condition.id.as_str())).map(of_condition).collect()
}

fn of_condition(condition: &ConditionStatus) -> Finding {
    let advice = advice(&condition.id);
    match condition.level.as_str() {
        "error" => Finding::fail(condition.text.as_str(), advice),
        "warning" => Finding::warn(condition.text.as_str(), advice),
        _ => Finding::pass(condition.text.as_str()).advise(advice),
    }
}

/// As this program has it, and not as the agent says: root is told what to do by root's own program alone.
fn advice(id: &str) -> &'static str {
    let message = message::ALL.iter().find(|message| message.name.eq_ignore_ascii_case(id));
    // That one is to run this program: its other lines tell where the way ends.
    message.filter(|message| **message != message::CONTROLLER_AWAY).map_or("", |message| message.advice)
}

/// Does a look at files off the async thread. A disk that hangs is then not waited for.
pub(super) async fn off_thread(look: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Vec<Finding> {
    tokio::task::spawn_blocking(look).await.unwrap_or_else(|_| vec![Finding::fail("the look has panicked", "")])
}

/// Each part of the agent belongs to one check.
fn check_of(part: &str) -> &'static str {
    match part {
        "log" | "dead_letters" => "log",
        "uplink" => "controller",
        part if part.starts_with("collectors.") => "collectors",
        _ => "socket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_says_belongs_to_one_check_and_what_to_do_does_not_come_from_it() {
        let condition = |part: &str, id: &str, level: &str| ConditionStatus {
            part: part.to_owned(),
            id: id.to_owned(),
            level: level.to_owned(),
            text: format!("{part} {id}"),
            advice: "chown -R rodent: /etc".to_owned(),
            ..Default::default()
        };
        let status = StatusResponse {
            conditions: vec![
                condition("log", "disk_fails", "error"),
                condition("collectors.storage", "collector_blind", "warning"),
                condition("uplink", "token_expires", "error"),
                condition("what is new", "of_a_newer_agent", "warning"),
                condition("configuration", "settings_of_controller", "notice"),
            ],
            ..Default::default()
        };
        let shown = |check: &str| {
            let found = of_agent(&status, check).into_iter();
            found.map(|it| format!("{} {} → {}", it.mark.name(), it.text, it.advice)).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("log"),
            ["fail log disk_fails → look at the disk of the state directory: `df -h -i`, `dmesg`"]
        );
        let blind =
            "warn collectors.storage collector_blind → mend what does not answer, or leave it out in `collectors`";
        assert_eq!(shown("collectors"), [blind]);
        assert_eq!(shown("controller"), [""; 0], "the token is looked at by a check of its own");
        assert_eq!(
            shown("socket"),
            [
                "warn what is new of_a_newer_agent → ",
                "pass configuration settings_of_controller → nothing where that is meant; `rodent reload` takes them back",
            ]
        );
    }
}
