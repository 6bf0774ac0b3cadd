//! Which exit code each of what goes wrong in a command has.

use std::io;

pub use crate::terminal::Failure;
pub(super) use crate::terminal::{Code, tell};
use crate::{client::ClientError, event_log::LogError, hooks::HookError, visible::visible};

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

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let code = match &error {
            ClientError::NotRunning(_) | ClientError::Unavailable(_) => Code::Unavailable,
            ClientError::NoPermission { .. } | ClientError::Denied(_) => Code::Permission,
            ClientError::Connect { .. } => Code::Io,
            ClientError::Refused(_) => Code::Data,
            ClientError::Failed { .. } => Code::Other,
        };
        Failure::of(code, &error)
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
        Failure::of(code, &error)
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
        Failure::of(code, &error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::other(visible(&format!("{error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_says_is_one_line() {
        let error = ClientError::Refused("\x1b]0;x\x07no\r\nrodent: all is well".into());
        let failure = Failure::from(error);
        assert!(failure.message().chars().all(|c| !crate::visible::is_hidden(c)), "{failure:?}");
    }

    #[test]
    fn what_the_agent_answers_has_the_exit_code_of_its_kind() {
        let code = |error: ClientError| Failure::from(error).code() as u8;
        assert_eq!(code(ClientError::NotRunning("/x".into())), 69);
        assert_eq!(code(ClientError::Refused("no".into())), 65);
        assert_eq!(code(ClientError::Denied("no".into())), 77);
        assert_eq!(code(ClientError::Unavailable("no".into())), 69);
    }
}
