//! Why a delivery did not succeed, and what is to be done about it. A sink judges, the driver acts.

use std::time::Duration;

/// What becomes of a delivery.
pub type Verdict = Result<Taken, DeliveryFailure>;

/// A batch was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Nothing more before this has passed.
    pub after: Duration,
    /// What is kept with the cursor from now on, in the write that moves it; as before where there is none. At most
    /// [`BLOB_BYTES_MAX`](crate::event_log::BLOB_BYTES_MAX) bytes. For a sink that takes one batch of a lane at a time: what it
    /// keeps would else cover what the cursor has not passed.
    pub blob: Option<Vec<u8>>,
}

/// Why an attempt did not succeed, in words and in kind.
#[derive(Clone, Debug)]
pub struct DeliveryFailure {
    /// What to do.
    pub then: Then,
    /// In words that somebody can act on.
    pub error: String,
    /// What the other side called it; empty when it said nothing.
    pub code: String,
    /// The class of the reason.
    pub reason: Reason,
    /// Whether the batch may have been too much at a time: too large, or too long on its way.
    pub is_strain: bool,
}

/// What to do with a batch that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The same again, at once: the sink has learnt how it has to be put together.
    Again,
    /// The same again, not before this; zero where the other side does not say.
    Later(Duration),
    /// Something in it is not acceptable, or it is too large: smaller ones. A single event is refused for good.
    Smaller,
    /// Its numbers stand for other events there: what is not delivered gets other numbers.
    Renumber,
    /// Trying again will not help until somebody acts: everything is kept, and tried at long intervals.
    Hold,
}

/// Classes of reasons: what failed attempts are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The other side has no room now and says so.
    Busy,
    /// What the node proves itself with: missing, unreadable or not accepted.
    Credentials,
    /// Something in the batch, or its size.
    Refused,
    /// Other events stand under its numbers.
    Fork,
    /// The other side does not understand how it is asked: compression, method, address.
    Unsupported,
    /// The other side failed.
    Error,
    /// The node's own: a batch that could not be put together.
    Local,
}

impl Reason {
    /// Each.
    pub const ALL: [Reason; 9] = [
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

    /// As it is called in status and metrics.
    pub fn name(self) -> &'static str {
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
}
