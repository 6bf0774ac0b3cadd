//! Why a command did not do its work, and with which exit code of sysexits it says so.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{client::ClientError, event_log::LogError, hooks::HookError, telemetry::ErrorChain, visible::visible};

/// Exit codes, as `sysexits.h` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// Anything that has no code of its own.
    Other = 1,
    /// The words of the command line.
    Usage = 64,
    /// What was to be processed.
    Data = 65,
    /// An input that is not there.
    NoInput = 66,
    /// The agent cannot be reached, or cannot do it now.
    Unavailable = 69,
    /// Reading or writing.
    Io = 74,
    /// Who may do what.
    Permission = 77,
    /// The configuration.
    Config = 78,
}

/// What exit codes mean where a command does not say more, for the man pages.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (Code::Other as u8, "anything that has no code of its own"),
    (Code::Usage as u8, "the command line is not understood"),
    (Code::Data as u8, "what was to be processed is wrong"),
    (Code::NoInput as u8, "an input is not there"),
    (Code::Unavailable as u8, "the agent cannot be reached, or cannot do it now"),
    (Code::Io as u8, "reading or writing failed"),
    (Code::Permission as u8, "this user may not do it"),
    (Code::Config as u8, "the configuration is wrong"),
];

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// A line on standard error, with what nobody sees in it spelt out. Who has closed that does not want to be told.
pub(super) fn tell(line: &str) {
    let _ = writeln!(anstream::stderr(), "{}", visible(line));
}

/// Why a command did not do its work: one line for people, and an exit code.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    /// In one line or several of our own; empty when there is nothing to say.
    message: String,
}

impl Failure {
    fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// In somebody else's words, which make one line whatever they hold.
    fn quoting(code: Code, words: &str) -> Failure {
        Failure::new(code, visible(words))
    }

    /// The words of the command line do not make sense. Exit code 64.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Code::Usage, message)
    }

    /// What was given is wrong. Exit code 65.
    pub fn data(message: impl Into<String>) -> Failure {
        Failure::new(Code::Data, message)
    }

    /// An input is not there. Exit code 66.
    pub fn no_input(message: impl Into<String>) -> Failure {
        Failure::new(Code::NoInput, message)
    }

    /// Something that is needed does not answer. Exit code 69.
    pub fn unavailable(message: impl Into<String>) -> Failure {
        Failure::new(Code::Unavailable, message)
    }

    /// It may not be done, by this user or there. Exit code 77.
    pub fn permission(message: impl Into<String>) -> Failure {
        Failure::new(Code::Permission, message)
    }

    /// The configuration is wrong. Exit code 78.
    pub fn config(message: impl Into<String>) -> Failure {
        Failure::new(Code::Config, message)
    }

    /// Anything else. Exit code 1.
    pub fn other(message: impl Into<String>) -> Failure {
        Failure::new(Code::Other, message)
    }

    /// Says it on standard error and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            format!("rodent: {}", self.message).lines().for_each(tell);
        }
        self.code.into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let code = match &error {
            ClientError::NotRunning(_) | ClientError::Unavailable(_) => Code::Unavailable,
            ClientError::NoPermission { .. } | ClientError::Denied(_) => Code::Permission,
            ClientError::Connect { .. } => Code::Io,
            ClientError::Refused(_) => Code::Data,
            ClientError::Failed { .. } => Code::Other,
        };
        Failure::quoting(code, &ErrorChain(&error).to_string())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Failure {
        let code = match &error {
            LogError::InUse(_) | LogError::Closed(_) => Code::Unavailable,
            LogError::Damaged { .. } | LogError::Format { .. } => Code::Data,
            LogError::Storage { .. } => Code::Io,
            LogError::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Code::NoInput,
                io::ErrorKind::PermissionDenied => Code::Permission,
                _ => Code::Io,
            },
        };
        Failure::quoting(code, &ErrorChain(&error).to_string())
    }
}

impl From<HookError> for Failure {
    fn from(error: HookError) -> Failure {
        let code = match &error {
            HookError::Absent(..) | HookError::ByHand(_) => Code::Unavailable,
            HookError::Blocked(_) => Code::Other,
            HookError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Code::Permission,
            HookError::Io { .. } => Code::Io,
        };
        Failure::quoting(code, &ErrorChain(&error).to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::quoting(Code::Io, &error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::quoting(Code::Other, &format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_says_is_one_line() {
        let error = ClientError::Refused("\x1b]0;x\x07no\r\nrodent: all is well".into());
        let failure = Failure::from(error);
        assert!(failure.message.chars().all(|c| !crate::visible::is_hidden(c)), "{failure:?}");
    }

    #[test]
    fn what_the_agent_answers_has_the_exit_code_of_its_kind() {
        let code = |error: ClientError| Failure::from(error).code as u8;
        assert_eq!(code(ClientError::NotRunning("/x".into())), 69);
        assert_eq!(code(ClientError::Refused("no".into())), 65);
        assert_eq!(code(ClientError::Denied("no".into())), 77);
        assert_eq!(code(ClientError::Unavailable("no".into())), 69);
    }
}
