//! Why an attempt did not deliver, in words that somebody can act on.

use std::time::Duration;

use tonic::{Code, Status};

use super::answer::Answer;
use crate::{
    schema::wire::EventBatchResponse,
    telemetry::{ErrorChain, message, message::Message},
};

/// Why an attempt did not deliver, in words and in kind.
pub(super) struct Failure {
    pub(super) answer: Answer,
    pub(super) error: String,
    /// What it is called in the journal when it begins.
    pub(super) message: Message,
    pub(super) reason: Reason,
}

/// Classes of reasons: what failed attempts are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The controller has no room now and says so.
    Busy,
    /// Token or certificate: missing, unreadable or not accepted.
    Credentials,
    /// Something in the batch, or its size.
    Refused,
    /// Other events stand under its numbers.
    Fork,
    /// The controller does not understand how it is asked: compression, method, address.
    Unsupported,
    /// The controller failed.
    Error,
    /// The node's own: a batch that could not be put together.
    Local,
}

impl Reason {
    pub(super) const ALL: [Reason; 9] = [
        Reason::Unreachable,
        Reason::Timeout,
        Reason::Busy,
        Reason::Credentials,
        Reason::Refused,
        Reason::Fork,
        Reason::Unsupported,
        Reason::Error,
        Reason::Local,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Reason::Unreachable => "unreachable",
            Reason::Timeout => "timeout",
            Reason::Busy => "busy",
            Reason::Credentials => "credentials",
            Reason::Refused => "refused",
            Reason::Fork => "fork",
            Reason::Unsupported => "unsupported",
            Reason::Error => "error",
            Reason::Local => "local",
        }
    }

    /// Of what came of a call.
    fn of(outcome: &Result<EventBatchResponse, Status>) -> Reason {
        let status = match outcome {
            Ok(response) if response.retry_after_ms > 0 => return Reason::Busy,
            Ok(_) => return Reason::Refused,
            Err(status) => status,
        };
        match status.code() {
            Code::Unavailable | Code::Cancelled => Reason::Unreachable,
            Code::DeadlineExceeded => Reason::Timeout,
            Code::ResourceExhausted => Reason::Busy,
            Code::Unauthenticated | Code::PermissionDenied => Reason::Credentials,
            Code::InvalidArgument | Code::OutOfRange => Reason::Refused,
            Code::FailedPrecondition => Reason::Fork,
            Code::Unimplemented | Code::NotFound => Reason::Unsupported,
            Code::Ok | Code::AlreadyExists | Code::Aborted | Code::Unknown | Code::Internal | Code::DataLoss => {
                Reason::Error
            }
        }
    }
}

impl Failure {
    /// Nothing came of it, and trying again may help.
    pub(super) fn retry(error: String) -> Failure {
        Failure {
            answer: Answer::Retry(Duration::ZERO),
            error,
            message: message::CONTROLLER_AWAY,
            reason: Reason::Unreachable,
        }
    }

    /// Trying again will not help until somebody acts.
    pub(super) fn hold(error: String) -> Failure {
        Failure { answer: Answer::Hold, error, message: message::CONTROLLER_REFUSES, reason: Reason::Local }
    }

    /// What came of a call, after `doing`; or with the words of the controller where it ended the connection itself.
    pub(super) fn of(
        doing: &str,
        answer: Answer,
        outcome: &Result<EventBatchResponse, Status>,
        refusal: Option<String>,
    ) -> Failure {
        let code = outcome.as_ref().err().map(Status::code);
        let message = match (&answer, code) {
            (_, Some(Code::Unauthenticated | Code::PermissionDenied)) => message::CREDENTIALS_REFUSED,
            // It has looked at the certificate.
            _ if refusal.is_some() => message::CREDENTIALS_REFUSED,
            (Answer::Retry(_), _) => message::CONTROLLER_AWAY,
            _ => message::CONTROLLER_REFUSES,
        };
        let reason = if refusal.is_some() { Reason::Credentials } else { Reason::of(outcome) };
        Failure { answer, error: refusal.unwrap_or_else(|| format!("{doing}{}", describe(outcome))), message, reason }
    }

    /// Logs that from now on nothing is delivered.
    pub(super) fn tell(&self, controller: &str) {
        let Failure { answer, error, message, .. } = self;
        match answer {
            Answer::Retry(_) => tracing::warn!(
                message_id = %message,
                controller,
                error,
                "the controller cannot be reached; events are kept and sent later"
            ),
            _ => {
                tracing::error!(message_id = %message, controller, error, "the controller takes no events; they are kept");
            }
        }
    }
}

/// What came of a call, in words.
fn describe(outcome: &Result<EventBatchResponse, Status>) -> String {
    match outcome {
        Ok(response) => format!("the controller did not store the batch: {}", response.message),
        Err(status) => describe_status(status),
    }
}

/// The controller's code for what it refused.
pub(super) fn code_name(outcome: &Result<EventBatchResponse, Status>) -> String {
    match outcome {
        Ok(_) => "success=false".to_owned(),
        Err(status) => format!("{:?}", status.code()),
    }
}

/// A refusal in words, with those of its causes that it does not name itself.
pub(super) fn describe_status(status: &Status) -> String {
    let cause = std::error::Error::source(status).map(|cause| ErrorChain(cause).to_string());
    let cause = cause.filter(|cause| status.message().is_empty() || !cause.ends_with(status.message()));
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    match status.message() {
        "" => format!("{:?}{cause}", status.code()),
        message => format!("{message} ({:?}){cause}", status.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_of_a_call_has_a_class_of_its_reason() {
        let of = |code| Reason::of(&Err(Status::new(code, "")));
        for (code, reason) in [
            (Code::Unavailable, Reason::Unreachable),
            (Code::DeadlineExceeded, Reason::Timeout),
            (Code::ResourceExhausted, Reason::Busy),
            (Code::Unauthenticated, Reason::Credentials),
            (Code::PermissionDenied, Reason::Credentials),
            (Code::InvalidArgument, Reason::Refused),
            (Code::FailedPrecondition, Reason::Fork),
            (Code::Unimplemented, Reason::Unsupported),
            (Code::Internal, Reason::Error),
        ] {
            assert_eq!(of(code), reason, "{code:?}");
        }
        let answered = |retry_after_ms| Ok(EventBatchResponse { retry_after_ms, ..Default::default() });
        assert_eq!(Reason::of(&answered(0)), Reason::Refused);
        assert_eq!(Reason::of(&answered(5)), Reason::Busy);
        let refusal = Some("the certificate has expired".to_owned());
        let failure = Failure::of("", Answer::Hold, &Err(Status::unavailable("")), refusal);
        assert_eq!(failure.reason, Reason::Credentials, "it has looked at the certificate");
    }
}
