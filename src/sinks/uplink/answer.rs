//! What a controller's answer to a batch means: one table.
//!
//! | answer | meaning |
//! |---|---|
//! | success, ALREADY_EXISTS | taken |
//! | UNAVAILABLE, DEADLINE_EXCEEDED, ABORTED, CANCELLED, UNKNOWN, INTERNAL, DATA_LOSS, no answer at all, and one that cannot be read here | again, later |
//! | RESOURCE_EXHAUSTED with a word on when, or for the first time, or for one event | again, later |
//! | RESOURCE_EXHAUSTED for the second time without such a word: how an oversize message looks | smaller |
//! | DEADLINE_EXCEEDED for the second time, for a large batch: how a thin line looks | smaller |
//! | INVALID_ARGUMENT, OUT_OF_RANGE, `success=false` | smaller; one event alone is refused for good |
//! | `success=false` with a word on when | again, then |
//! | FAILED_PRECONDITION | other numbers |
//! | UNIMPLEMENTED to what was compressed | again at once, less compressed |
//! | UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED, NOT_FOUND | hold |

use std::time::Duration;

use tonic::{Code, Status};

use crate::{
    consumers::Then,
    schema::{rpc, wire::EventBatchResponse},
};

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Events in the batch.
    pub(super) events: u64,
    /// Whether the message was compressed.
    pub(super) compressed: bool,
    /// Answers in a row, before this one, that may mean that the batch is too much at a time.
    pub(super) strained: u32,
}

/// The longest wait that a controller may ask for; what it asks beyond is cut to this.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// A batch of no more events is never halved for being slow: a controller that does not answer at all is slow for every one.
const SLOW_EVENTS_MIN: u64 = 20;

/// Classifies the outcome of a `SendEvents`: stored, and nothing more before this; or what to do.
pub(super) fn classify(outcome: &Result<EventBatchResponse, Status>, asked: Asked) -> Result<Duration, Then> {
    match outcome {
        Ok(EventBatchResponse { success, retry_after_ms, .. }) => {
            let after = Duration::from_millis(*retry_after_ms).min(RETRY_AFTER_MAX);
            match success {
                true => Ok(after),
                false if after.is_zero() => Err(Then::Smaller),
                false => Err(Then::Later(after)),
            }
        }
        Err(status) => classify_status(status, asked),
    }
}

fn classify_status(status: &Status, asked: Asked) -> Result<Duration, Then> {
    let after = retry_after(status);
    match status.code() {
        Code::Ok | Code::AlreadyExists => Ok(Duration::ZERO),
        Code::ResourceExhausted if is_strain(status) && asked.strained > 0 && asked.events > 1 => Err(Then::Smaller),
        Code::DeadlineExceeded if asked.strained > 0 && asked.events > SLOW_EVENTS_MIN => Err(Then::Smaller),
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::DataLoss
        // No server's limit lies below one event: here it is about load.
        | Code::ResourceExhausted => Err(Then::Later(after.unwrap_or_default())),
        Code::InvalidArgument | Code::OutOfRange => Err(Then::Smaller),
        Code::FailedPrecondition => Err(Then::Renumber),
        Code::Unimplemented if asked.compressed => Err(Then::Again),
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::NotFound => Err(Then::Hold),
    }
}

/// Whether the batch may have been too much at a time: too large, or too long on its way.
pub(super) fn is_strain(status: &Status) -> bool {
    let exhausted = status.code() == Code::ResourceExhausted && retry_after(status).is_none();
    exhausted || status.code() == Code::DeadlineExceeded
}

fn retry_after(status: &Status) -> Option<Duration> {
    rpc::retry_after(status.details()).map(|after| after.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked { events: 500, compressed: false, strained: 0 };

    fn answer(code: Code, asked: Asked) -> Result<Duration, Then> {
        classify(&Err(Status::new(code, "")), asked)
    }

    fn response(success: bool, retry_after_ms: u64) -> Result<Duration, Then> {
        classify(&Ok(EventBatchResponse { success, retry_after_ms, ..Default::default() }), ASKED)
    }

    fn with_retry_info(code: Code, seconds: u64, asked: Asked) -> Result<Duration, Then> {
        let details = rpc::retry_after_details(code as i32, "later", Duration::from_secs(seconds));
        classify(&Err(Status::with_details(code, "later", details.into())), asked)
    }

    #[test]
    fn only_success_is_delivery() {
        assert_eq!(response(true, 0), Ok(Duration::ZERO));
        assert_eq!(response(true, 20), Ok(Duration::from_millis(20)));
        assert_eq!(response(false, 0), Err(Then::Smaller));
        assert_eq!(response(false, 1500), Err(Then::Later(Duration::from_millis(1500))));
        assert_eq!(response(false, u64::MAX), Err(Then::Later(RETRY_AFTER_MAX)));
        assert_eq!(answer(Code::AlreadyExists, ASKED), Ok(Duration::ZERO));
    }

    #[test]
    fn what_may_pass_by_itself_is_tried_again() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted, Code::Cancelled, Code::Unknown] {
            assert_eq!(answer(code, ASKED), Err(Then::Later(Duration::ZERO)), "{code:?}");
        }
        for code in [Code::Internal, Code::DataLoss, Code::ResourceExhausted] {
            assert_eq!(answer(code, ASKED), Err(Then::Later(Duration::ZERO)), "{code:?}");
        }
    }

    #[test]
    fn a_server_that_says_when_is_heeded_within_bounds() {
        for code in [Code::Unavailable, Code::ResourceExhausted] {
            assert_eq!(with_retry_info(code, 7, ASKED), Err(Then::Later(Duration::from_secs(7))), "{code:?}");
            assert_eq!(with_retry_info(code, 1 << 40, ASKED), Err(Then::Later(RETRY_AFTER_MAX)), "{code:?}");
        }
    }

    #[test]
    fn exhausted_twice_without_a_word_on_when_means_too_large() {
        let again = Asked { strained: 1, ..ASKED };
        assert_eq!(answer(Code::ResourceExhausted, again), Err(Then::Smaller));
        assert_eq!(with_retry_info(Code::ResourceExhausted, 1, again), Err(Then::Later(Duration::from_secs(1))));
        let single = Asked { events: 1, ..again };
        assert_eq!(
            answer(Code::ResourceExhausted, single),
            Err(Then::Later(Duration::ZERO)),
            "one event is never too large"
        );
    }

    #[test]
    fn a_large_batch_that_is_late_twice_is_sent_in_halves_and_a_small_one_again() {
        let again = Asked { strained: 1, ..ASKED };
        assert_eq!(answer(Code::DeadlineExceeded, again), Err(Then::Smaller));
        let small = Asked { events: SLOW_EVENTS_MIN, ..again };
        assert_eq!(answer(Code::DeadlineExceeded, small), Err(Then::Later(Duration::ZERO)));
    }

    #[test]
    fn what_is_wrong_with_the_batch_is_looked_for_in_halves() {
        for code in [Code::InvalidArgument, Code::OutOfRange] {
            assert_eq!(answer(code, ASKED), Err(Then::Smaller), "{code:?}");
        }
    }

    #[test]
    fn what_somebody_must_change_is_held() {
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented, Code::NotFound] {
            assert_eq!(answer(code, ASKED), Err(Then::Hold), "{code:?}");
        }
        assert_eq!(answer(Code::FailedPrecondition, ASKED), Err(Then::Renumber));
    }

    #[test]
    fn an_encoding_that_is_not_known_is_given_up() {
        let compressed = Asked { compressed: true, ..ASKED };
        assert_eq!(answer(Code::Unimplemented, compressed), Err(Then::Again));
    }
}
