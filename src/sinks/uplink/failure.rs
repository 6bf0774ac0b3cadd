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
}

impl Failure {
    /// Nothing came of it, and trying again may help.
    pub(super) fn retry(error: String) -> Failure {
        Failure { answer: Answer::Retry(Duration::ZERO), error, message: message::CONTROLLER_AWAY }
    }

    /// Trying again will not help until somebody acts.
    pub(super) fn hold(error: String) -> Failure {
        Failure { answer: Answer::Hold, error, message: message::CONTROLLER_REFUSES }
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
        Failure { answer, error: refusal.unwrap_or_else(|| format!("{doing}{}", describe(outcome))), message }
    }

    /// Logs that from now on nothing is delivered.
    pub(super) fn tell(&self, controller: &str) {
        let Failure { answer, error, message } = self;
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
