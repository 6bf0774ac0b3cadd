//! A connection that is in use: what has been learnt of the controller on it, and the calls that are on their way.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataValue},
};

use super::{
    answer::Asked,
    call::{Answered, send_events},
    compression::{Compression, PackedBatch},
    connection::Connection,
    window::Window,
};
use crate::{consumers::Then, schema::wire::EventBatchResponse};

/// What becomes of a connection, as whoever uses it finds out. Cheap to copy.
#[derive(Clone, Default)]
pub(super) struct Fate {
    inner: Arc<FateInner>,
}

#[derive(Default)]
struct FateInner {
    has_ended: AtomicBool,
    has_pinged_too_often: AtomicBool,
}

impl Fate {
    /// A call over the connection came to this.
    pub(super) fn note(&self, status: &Status) {
        let causes = std::iter::successors(std::error::Error::source(status), |cause| cause.source());
        for cause in causes {
            if cause.is::<tonic::transport::Error>() {
                self.inner.has_ended.store(true, Ordering::Relaxed);
            }
            let reason = cause.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
            if reason == Some(h2::Reason::ENHANCE_YOUR_CALM) {
                self.inner.has_ended.store(true, Ordering::Relaxed);
                self.inner.has_pinged_too_often.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether no call can be made over it any more.
    pub(super) fn has_ended(&self) -> bool {
        self.inner.has_ended.load(Ordering::Relaxed)
    }

    /// Whether the other side ended it for the pings (gRFC A8), which come less often then.
    pub(super) fn has_pinged_too_often(&self) -> bool {
        self.inner.has_pinged_too_often.load(Ordering::Relaxed)
    }
}

/// A registered connection.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Tells it from those before.
    pub(super) number: u64,
    pub(super) window: Window,
    /// What the controller accepts, as far as is known.
    pub(super) compression: Compression,
    /// What its last answer to a batch said that it understands beyond the contract; 0 for nothing.
    pub(super) dialect: u32,
    pub(super) fate: Fate,
    /// Calls that are on their way over it.
    in_flight: usize,
    has_delivered: bool,
}

/// The library panics on some answers that are not well-formed: such an answer is an error like others.
pub(super) async fn guarded<T>(call: impl Future<Output = T>) -> Result<T, Status> {
    let caught = AssertUnwindSafe(call).catch_unwind().await;
    caught.map_err(|_| Status::internal("the controller's answer is not well-formed"))
}

/// A call that has ended.
pub struct Done {
    pub(super) outcome: Result<EventBatchResponse, Status>,
    /// Of the link that it went over.
    pub(super) link: u64,
    pub(super) compression: Compression,
    pub(super) latency: Duration,
    pub(super) accepts: Option<Compression>,
    pub(super) is_unanswered: bool,
}

impl Link {
    /// Just registered; batches are compressed in this way until more is known.
    pub(super) fn new(connection: Connection, number: u64, compression: Compression) -> Link {
        Link {
            connection,
            number,
            window: Window::default(),
            compression,
            dialect: 0,
            fate: Fate::default(),
            in_flight: 0,
            has_delivered: false,
        }
    }

    /// Sends a packed batch; done when there is an answer, or none can come any more.
    pub(super) fn send(
        &mut self,
        message: PackedBatch,
        token: MetadataValue<Ascii>,
    ) -> impl Future<Output = Done> + Send + 'static {
        let (way, link, call_timeout) = (self.connection.way(), self.number, self.connection.call_timeout);
        let compression = message.compression;
        self.in_flight += 1;
        async move {
            let started = Instant::now();
            let no_answer = |status| Answered { outcome: Err(status), accepts: None, is_unanswered: false };
            let sending = guarded(send_events(way, &token, message));
            let Answered { outcome, accepts, is_unanswered } = match tokio::time::timeout(call_timeout, sending).await {
                Ok(answered) => answered.unwrap_or_else(no_answer),
                Err(_) => no_answer(Status::deadline_exceeded("no answer in time")),
            };
            Done { outcome, link, compression, latency: started.elapsed(), accepts, is_unanswered }
        }
    }
}

impl Link {
    /// What an answer that came over it says of the controller.
    pub(super) fn learn(&mut self, done: &Done, answer: &Result<Duration, Then>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match (&done.outcome, answer) {
            (Ok(response), Ok(_)) => {
                self.dialect = response.dialect;
                self.has_delivered = true;
                self.window.delivered(done.latency, response.dialect > 0, self.in_flight);
            }
            (_, Err(Then::Later(_))) => self.window.refused(self.in_flight),
            (_, Err(Then::Again)) if self.compression == done.compression => {
                // Plainer each time, whatever the controller says that it accepts: so this comes to an end.
                let next = done.compression.plainer().unwrap_or(done.compression);
                self.compression = done.accepts.map_or(next, |accepts| accepts.max(next));
                self.window.answered();
            }
            _ => self.window.answered(),
        }
    }
}

impl Link {
    /// Whether it has ended as connections do, at their age or when what is between restarts, and another one will do: it was
    /// good, and then did not answer at all.
    pub(super) fn has_ended(&self, done: &Done) -> bool {
        self.has_delivered && done.is_unanswered
    }

    /// What to begin the next connection with, when a compressed message was the first that came over this one and was
    /// answered as by a server that stumbles over an encoding instead of naming it.
    pub(super) fn doubted(&self, done: &Done) -> Option<Compression> {
        let stumbles = |status: &Status| matches!(status.code(), Code::Internal | Code::Unknown);
        let doubted = !self.has_delivered && done.outcome.as_ref().is_err_and(stumbles);
        done.compression.plainer().filter(|_| doubted)
    }
}

impl Done {
    /// What was asked, for the table of answers.
    pub(super) fn asked(&self, events: u64, strained: u32) -> Asked {
        Asked { events, compressed: self.compression != Compression::Off, strained }
    }

    /// It could not even begin.
    pub(super) fn never(status: Status) -> Done {
        let compression = Compression::Off;
        let (link, latency, accepts, is_unanswered) = (0, Duration::ZERO, None, false);
        Done { outcome: Err(status), link, compression, latency, accepts, is_unanswered }
    }

    /// Whether the connection itself is in doubt, so that the next attempt makes a new one.
    pub(super) fn is_broken(&self) -> bool {
        let doubt = |status: &Status| {
            matches!(
                status.code(),
                Code::Unavailable
                    | Code::Unknown
                    | Code::Internal
                    | Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Unauthenticated
            )
        };
        self.outcome.as_ref().is_err_and(doubt)
    }
}
