//! The way of a refused event into the dead letters: kept durably there, accounted for in the log, and only then passed.

use crate::{
    dead_letters::{DeadLetters, Letter},
    event_log::{EventLog, Lane, LogError, Refusal},
    sinks::Batch,
    telemetry::ErrorChain,
};

/// Name of the consumer in the records of refusals.
const CONSUMER: &str = "uplink";

/// Who refused, when, and with which code.
pub(super) struct Burial {
    pub(super) code: String,
    pub(super) controller: String,
    /// Unix milliseconds.
    pub(super) refused_at: i64,
}

impl Burial {
    /// Keeps the one event of a batch, and records the refusal. When it returns, both are as safe as can be. Gives the
    /// record's sequence in the urgent lane, if there is one.
    ///
    /// # Errors
    /// Why the event cannot be kept, in words.
    pub(super) async fn bury(
        self,
        dead_letters: &DeadLetters,
        log: &EventLog,
        batch: &Batch,
        message: &str,
    ) -> Result<Option<u64>, String> {
        let run = batch.run().plain().map_err(|error| format!("the event cannot be read: {error}"))?;
        let event = run.events().next().ok_or("the event cannot be read")?.event;
        let letter = Letter {
            event: event.clone(),
            lane: run.lane,
            epoch: run.epoch,
            sequence: run.first_sequence,
            boot_id: run.boot_id,
            clock: run.clock,
            refused_at: self.refused_at,
            refusals: 1,
            code: self.code,
            message: message.to_owned(),
            controller: self.controller,
        };
        let dead_letters = dead_letters.clone();
        let added = tokio::task::spawn_blocking(move || dead_letters.add(&letter)).await;
        added.map_err(|error| error.to_string())?.map_err(|error| ErrorChain(&error).to_string())?;
        let (lane, epoch, sequence) = (run.lane, run.epoch, run.first_sequence);
        let refusal = Refusal { consumer: CONSUMER, lane, epoch, sequence, event: &event };
        let recorded = async {
            let next = log.record_refusal(refusal).await?;
            if let Some(next) = next {
                log.secure(Lane::Urgent, next).await?;
            }
            Ok(next.map(|next| next - 1))
        };
        recorded.await.map_err(|error: LogError| ErrorChain(&error).to_string())
    }
}
