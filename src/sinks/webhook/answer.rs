//! What a receiver answered, or why it did not. Always holds: of an answer at most [`ANSWER_BYTES_MAX`] are read, and what people
//! see of it is visible text of one line.

use std::{error::Error, future::poll_fn, pin::Pin};

use http_body::Body as _;
use hyper::{Response, StatusCode, body::Incoming, header::RETRY_AFTER};

use crate::{telemetry::ErrorChain, visible::is_hidden};

/// The most that is read of an answer, bytes. A longer one is cut off with its connection.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The most of it that is shown to people, characters.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// What it asks to be waited for, as it wrote it.
    pub(super) retry_after: Option<String>,
    pub(super) body: Vec<u8>,
    /// Whether that is all of it.
    pub(super) is_whole: bool,
    /// Why it does not mean that something was taken, although its status would.
    pub(super) misfit: Option<String>,
    /// Whether something of what was asked may be taken all the same: in an earlier letter.
    pub(super) may_be_taken: bool,
}

impl Answer {
    /// One that says no more than its status.
    pub(super) fn of(status: StatusCode) -> Answer {
        let (retry_after, body, misfit) = (None, Vec::new(), None);
        Answer { status, retry_after, body, is_whole: true, misfit, may_be_taken: false }
    }

    /// # Errors
    /// When the connection ends before it.
    pub(super) async fn read(response: Response<Incoming>) -> Result<Answer, NoAnswer> {
        let (head, mut body) = response.into_parts();
        let mut answer = Answer::of(head.status);
        answer.retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|error| {
                NoAnswer::of(&format!("answered {} and broke off: read the rest of the answer", head.status), &error)
            })?;
            let Ok(data) = frame.into_data() else { continue };
            let room = ANSWER_BYTES_MAX - answer.body.len();
            answer.body.extend_from_slice(data.get(..room).unwrap_or(&data));
            if data.len() > room {
                answer.is_whole = false;
                break;
            }
        }
        Ok(answer)
    }

    /// How it begins, for people.
    pub(super) fn text(&self) -> String {
        shown(&String::from_utf8_lossy(&self.body))
    }
}

/// The beginning of what somebody else wrote, without what nobody sees.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !is_hidden(*c)).take(SHOWN_CHARACTERS_MAX).collect()
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub(super) is_timeout: bool,
    /// Whether the receiver may have taken what was asked all the same.
    pub(super) may_be_taken: bool,
    pub(super) why: String,
}

impl NoAnswer {
    pub(super) fn new(why: impl Into<String>) -> NoAnswer {
        NoAnswer { is_timeout: false, may_be_taken: false, why: why.into() }
    }

    /// The node itself could not ask.
    pub(super) fn local(error: &(dyn Error + 'static)) -> NoAnswer {
        NoAnswer::of("put a request together", error)
    }

    pub(super) fn of(doing: &str, error: &(dyn Error + 'static)) -> NoAnswer {
        NoAnswer::new(format!("{doing}: {}", ErrorChain(error)))
    }
}
