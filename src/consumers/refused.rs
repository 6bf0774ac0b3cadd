//! The way of a refused event into the dead letters: kept durably there, accounted for in the log, and only then passed.

use bytes::Bytes;

use super::{Batch, Packing};
use crate::{
    dead_letters::{DeadLetters, Letter},
    event_log::{EventLog, Lane, LogError, Refusal, Run},
    telemetry::ErrorChain,
};

/// Who refused an event, when, and how.
pub(super) struct Refused<'a> {
    pub(super) consumer: &'a str,
    pub(super) target: &'a str,
    pub(super) code: &'a str,
    pub(super) error: &'a str,
    /// Unix milliseconds.
    pub(super) at: i64,
}

impl Refused<'_> {
    /// Keeps the one event of a batch, and records the refusal. When it returns, both are as safe as can be. Gives the
    /// record's sequence in the urgent lane, if there is one.
    ///
    /// # Errors
    /// Why the event cannot be kept, in words.
    pub(super) async fn keep<P: Packing>(
        self,
        dead_letters: &DeadLetters,
        log: &EventLog,
        batch: &Batch<P>,
    ) -> Result<Option<u64>, String> {
        let run = batch.run().plain().map_err(|error| format!("the event cannot be read: {error}"))?;
        let event = run.events().next().ok_or("the event cannot be read")?.event;
        let letter = Letter {
            code: self.code.to_owned(),
            message: self.error.to_owned(),
            target: self.target.to_owned(),
            ..letter(&run, event, self.consumer, self.at)
        };
        bury(letter, dead_letters, log).await
    }
}

/// What is kept of the first event of a run, which is refused for the first time and without a word. `refused_at` is in Unix
/// milliseconds.
pub fn letter(run: &Run, event: Bytes, consumer: &str, refused_at: i64) -> Letter {
    Letter {
        consumer: consumer.into(),
        event,
        lane: run.lane,
        epoch: run.epoch,
        sequence: run.first_sequence,
        boot_id: run.boot_id,
        clock: run.clock,
        refused_at,
        refusals: 1,
        code: String::new(),
        message: String::new(),
        target: String::new(),
    }
}

/// Keeps a letter, and records that its consumer does not get the event. Otherwise as [`Refused::keep`].
///
/// # Errors
/// Why it cannot be kept, in words.
pub async fn bury(letter: Letter, dead_letters: &DeadLetters, log: &EventLog) -> Result<Option<u64>, String> {
    let (dead_letters, kept) = (dead_letters.clone(), letter.clone());
    let added = tokio::task::spawn_blocking(move || dead_letters.add(&kept)).await;
    added.map_err(|error| error.to_string())?.map_err(|error| ErrorChain(&error).to_string())?;
    let Letter { consumer, lane, epoch, sequence, event, .. } = &letter;
    let refusal = Refusal { consumer, lane: *lane, epoch: *epoch, sequence: *sequence, event };
    let recorded = async {
        let next = log.record_refusal(refusal).await?;
        if let Some(next) = next {
            log.secure(Lane::Urgent, next).await?;
        }
        Ok(next.map(|next| next - 1))
    };
    recorded.await.map_err(|error: LogError| ErrorChain(&error).to_string())
}
