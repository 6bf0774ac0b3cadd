//! A connection that is in use: what has been learnt of the controller on it, and the calls that are on their way.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataValue},
};

use super::{
    answer::Asked,
    call::{Answered, send_events},
    connection::Connection,
    window::Window,
};
use crate::{
    schema::wire::EventBatchResponse,
    sinks::{Batch, Compression, Message},
};

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
}

/// A call that has ended.
pub(super) struct Done {
    pub(super) batch: Batch,
    pub(super) outcome: Result<EventBatchResponse, Status>,
    /// Of the link that it went over.
    pub(super) link: u64,
    /// How many pauses there had been when it began.
    pub(super) pauses: u64,
    pub(super) compression: Compression,
    pub(super) bytes: u64,
    pub(super) latency: Duration,
    pub(super) accepts: Option<Compression>,
}

impl Link {
    /// Just registered.
    pub(super) fn new(connection: Connection, number: u64) -> Link {
        Link { connection, number, window: Window::default(), compression: Compression::default(), dialect: 0 }
    }

    /// Sends a packed batch; done when there is an answer, or none can come any more.
    pub(super) fn send(
        &self,
        batch: Batch,
        message: Message,
        token: MetadataValue<Ascii>,
        pauses: u64,
    ) -> impl Future<Output = Done> + Send + 'static {
        let (channel, link, call_timeout) = (self.connection.channel(), self.number, self.connection.call_timeout);
        let (compression, bytes) = (message.compression, message.wire_bytes() as u64);
        async move {
            let started = Instant::now();
            let answered = tokio::time::timeout(call_timeout, send_events(channel, &token, message)).await;
            let Answered { outcome, accepts } = answered.unwrap_or_else(|_| Answered {
                outcome: Err(Status::deadline_exceeded("no answer in time")),
                accepts: None,
            });
            Done { batch, outcome, link, pauses, compression, bytes, latency: started.elapsed(), accepts }
        }
    }
}

impl Done {
    /// What was asked, for the table of answers.
    pub(super) fn asked(&self) -> Asked {
        let compressed = self.compression != Compression::Off;
        Asked { events: self.batch.count(), compressed, exhausted: self.batch.exhausted }
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
