//! What a controller's answer to a batch means: one table.

use std::time::Duration;

use tonic::{Code, Status};

use crate::schema::wire::EventBatchResponse;

/// What to do with a batch after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is stored: move the cursor.
    Delivered,
    /// Send the same again, not before this.
    Retry(Duration),
    /// Something in it is not acceptable, or it is too large: send smaller ones.
    Halve,
    /// Its numbers stand for other events there: give what is not delivered other numbers.
    Fork,
    /// Sending again will not help until somebody acts: keep everything, say so, look again at long intervals.
    Hold,
}

/// The longest wait that a controller may ask for; what it asks beyond is cut to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Classifies the outcome of a `SendEvents`.
pub(super) fn classify(outcome: &Result<EventBatchResponse, Status>) -> Answer {
    match outcome {
        Ok(response) if response.success => Answer::Delivered,
        Ok(response) if response.retry_after_ms > 0 => {
            Answer::Retry(Duration::from_millis(response.retry_after_ms).min(RETRY_AFTER_MAX))
        }
        Ok(_) => Answer::Halve,
        Err(status) => classify_code(status.code()),
    }
}

fn classify_code(code: Code) -> Answer {
    match code {
        Code::Ok | Code::AlreadyExists => Answer::Delivered,
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::DataLoss
        | Code::ResourceExhausted => Answer::Retry(Duration::ZERO),
        Code::InvalidArgument | Code::OutOfRange => Answer::Halve,
        Code::FailedPrecondition => Answer::Fork,
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::NotFound => Answer::Hold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: Code) -> Answer {
        classify(&Err(Status::new(code, "")))
    }

    #[test]
    fn only_success_is_delivery() {
        let response =
            |success, retry_after_ms| Ok(EventBatchResponse { success, retry_after_ms, ..Default::default() });
        assert_eq!(classify(&response(true, 0)), Answer::Delivered);
        assert_eq!(classify(&response(false, 0)), Answer::Halve);
        assert_eq!(classify(&response(false, 1500)), Answer::Retry(Duration::from_millis(1500)));
        assert_eq!(classify(&response(false, u64::MAX)), Answer::Retry(RETRY_AFTER_MAX));
    }

    #[test]
    fn every_code_has_its_meaning() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted, Code::Cancelled, Code::Unknown] {
            assert_eq!(answer(code), Answer::Retry(Duration::ZERO), "{code:?}");
        }
        for code in [Code::Internal, Code::DataLoss, Code::ResourceExhausted] {
            assert_eq!(answer(code), Answer::Retry(Duration::ZERO), "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::OutOfRange] {
            assert_eq!(answer(code), Answer::Halve, "{code:?}");
        }
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented, Code::NotFound] {
            assert_eq!(answer(code), Answer::Hold, "{code:?}");
        }
        assert_eq!(answer(Code::FailedPrecondition), Answer::Fork);
        assert_eq!(answer(Code::AlreadyExists), Answer::Delivered);
    }
}
