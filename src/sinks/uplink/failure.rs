//! What an attempt came to that did not deliver, in words that somebody can act on.

use std::time::Duration;

use tonic::{Code, Status};

use super::answer::is_strain;
use crate::{
    consumers::{DeliveryFailure, Reason, Then},
    schema::wire::EventBatchResponse,
    telemetry::ErrorChain,
};

/// Nothing came of it, and trying again may help.
pub(super) fn retry(reason: Reason, error: String) -> DeliveryFailure {
    DeliveryFailure { then: Then::Later(Duration::ZERO), error, code: String::new(), reason, is_strain: false }
}

/// What came of a call that was not taken, after `doing`; or with the words of the controller where it ended the connection
/// itself.
pub(super) fn failure(
    doing: &str,
    then: Then,
    outcome: &Result<EventBatchResponse, Status>,
    refusal: Option<String>,
) -> DeliveryFailure {
    // It has looked at the certificate.
    let reason = if refusal.is_some() { Reason::Credentials } else { reason_of(outcome) };
    DeliveryFailure {
        then,
        error: refusal.unwrap_or_else(|| format!("{doing}{}", describe(outcome))),
        code: code_name(outcome),
        reason,
        is_strain: outcome.as_ref().is_err_and(is_strain),
    }
}

/// The class of what came of a call.
fn reason_of(outcome: &Result<EventBatchResponse, Status>) -> Reason {
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

/// What came of a call, in words.
fn describe(outcome: &Result<EventBatchResponse, Status>) -> String {
    match outcome {
        Ok(response) => format!("the controller did not store the batch: {}", response.message),
        Err(status) => describe_status(status),
    }
}

/// The controller's code for what it refused.
fn code_name(outcome: &Result<EventBatchResponse, Status>) -> String {
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
        let of = |code| reason_of(&Err(Status::new(code, "")));
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
        assert_eq!(reason_of(&answered(0)), Reason::Refused);
        assert_eq!(reason_of(&answered(5)), Reason::Busy);
        let refusal = Some("the certificate has expired".to_owned());
        let failure = failure("", Then::Hold, &Err(Status::unavailable("")), refusal);
        assert_eq!(failure.reason, Reason::Credentials, "it has looked at the certificate");
    }
}
