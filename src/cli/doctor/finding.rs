//! What a check found: whether it is as it should be, in one sentence, and what to do where it is not.

use serde::Serialize;

use crate::terminal::Tone;

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
