//! Why an attempt did not deliver, in words that somebody can act on.

use std::time::Duration;

use tonic::Status;

use super::answer::Answer;
use crate::{schema::wire::EventBatchResponse, telemetry::ErrorChain};

/// Why an attempt did not deliver, in words and in kind.
pub(super) struct Failure {
    pub(super) answer: Answer,
    pub(super) error: String,
}

impl Failure {
    /// Nothing came of it, and trying again may help.
    pub(super) fn retry(error: String) -> Failure {
        Failure { answer: Answer::Retry(Duration::ZERO), error }
    }
}

/// What came of a call, in words.
pub(super) fn describe(outcome: &Result<EventBatchResponse, Status>) -> String {
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
