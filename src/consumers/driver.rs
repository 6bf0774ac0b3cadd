//! Delivers a consumer's batches to its sink and moves the cursor when, and only when, one has arrived.
//!
//! Takes from [`Delivery`], gives to a [`Sink`]. How many batches are on their way is the sink's say; what is urgent goes
//! first. Everything that goes wrong ends in waiting and trying again, in smaller batches, or in holding on until somebody
//! acts; nothing is given up. While the other side is away nothing grows: a few batches in memory, one timer, a log line for
//! each change of state and none for a retry.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Batch, ConsumerState, Delivery, DeliveryFailure, Pacing, Packing, Reason, Sink, Taken, Then, news::News,
    refused::Refused, renumbering::Renumbering,
};
use crate::{
    backoff::random,
    dead_letters::DeadLetters,
    event_log::{BLOB_BYTES_MAX, Lane, LogError},
    health::{BEAT, Pulse, round},
    schema::local::{ConsumerStatus, consumer_status::State},
    telemetry::ErrorChain,
};

/// The wait until a log that could not be read is tried again.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// How long the disk is waited for that has to take a new epoch before anything is sent under it.
const RENUMBER_WAIT_MAX: Duration = Duration::from_secs(2);

/// This many single events refused in a row are the other side's fault, not theirs: the lane holds.
const REFUSALS_MAX: u32 = 3;

/// The most bytes of events in flight, in clear; a single batch may exceed them.
const IN_FLIGHT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A delivery that has ended.
struct Done<S: Sink> {
    batch: Batch<S::Packing>,
    outcome: S::Outcome,
    /// Bytes that were on their way.
    bytes: u64,
    /// How many pauses there had been when it began.
    pauses: u64,
    began: Instant,
}

/// The task.
pub struct Driver<S: Sink> {
    sink: S,
    delivery: Delivery<S::Packing>,
    state: ConsumerState,
    /// Unix milliseconds.
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    in_flight: FuturesUnordered<BoxFuture<'static, Done<S>>>,
    in_flight_bytes: usize,
    pacing: Pacing,
    /// Nothing is sent before this.
    pause: Option<Instant>,
    /// How many there have been.
    pauses: u64,
    renumbering: Renumbering,
    /// Where an event ends that is refused alone. Without it the event blocks its lane.
    dead_letters: Option<DeadLetters>,
    /// Single events refused in a row, without one that was taken in between; the records of these refusals do not count.
    refusals: u32,
    /// The sequences of those records, in the urgent lane.
    records: BTreeSet<u64>,
    /// Whether it has been told that the log cannot be read.
    unreadable: bool,
    pulse: Pulse,
    /// Another is to go on in its place.
    replaced: CancellationToken,
}

impl<S: Sink> Driver<S> {
    /// Ready to run. `now` gives Unix milliseconds.
    pub fn new(
        sink: S,
        delivery: Delivery<S::Packing>,
        state: ConsumerState,
        now: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Driver<S> {
        Driver {
            sink,
            delivery,
            state,
            now,
            in_flight: FuturesUnordered::new(),
            in_flight_bytes: 0,
            pacing: Pacing::default(),
            pause: None,
            pauses: 0,
            renumbering: Renumbering::default(),
            dead_letters: None,
            refusals: 0,
            records: BTreeSet::new(),
            unreadable: false,
            pulse: Pulse::default(),
            replaced: CancellationToken::new(),
        }
    }

    /// Sends nothing more when `replaced` is cancelled, and ends when what is on its way is answered.
    pub fn until_replaced(self, replaced: CancellationToken) -> Driver<S> {
        Driver { replaced, ..self }
    }

    /// Waits as this says between attempts, and not as by default.
    pub fn with_pacing(self, pacing: Pacing) -> Driver<S> {
        Driver { pacing, ..self }
    }

    /// An event that is refused alone ends here, and what is behind it goes on.
    pub fn with_dead_letters(self, dead_letters: DeadLetters) -> Driver<S> {
        Driver { dead_letters: Some(dead_letters), ..self }
    }

    /// Gives its signs of life to who watches this.
    pub fn with_pulse(self, pulse: Pulse) -> Driver<S> {
        Driver { pulse, ..self }
    }

    /// Delivers until `shutdown`; then what is left, as long as the sink takes it at once. Ends early when `abandon` is
    /// cancelled.
    pub async fn run(mut self, shutdown: CancellationToken, abandon: CancellationToken) {
        tokio::select! {
            () = self.deliver(&shutdown) => {}
            () = abandon.cancelled() => {}
        }
        self.delivery.let_go();
        self.pulse.rest();
    }

    async fn deliver(&mut self, shutdown: &CancellationToken) {
        loop {
            self.pulse.beat();
            let (hurried, replaced) = (shutdown.is_cancelled(), self.replaced.is_cancelled());
            self.pause = self.pause.filter(|until| Instant::now() < *until);
            if self.pause.is_none() && !replaced {
                self.fill(hurried).await;
            }
            if (hurried || replaced) && self.in_flight.is_empty() {
                return;
            }
            self.state.flows(self.in_flight.len(), |lane| self.delivery.in_flight(lane), self.sink.window());
            let (idle, pause) = (self.in_flight.is_empty(), self.pause);
            let due = self.sink.due().filter(|_| pause.is_none());
            let [urgent, routine] = [Lane::Urgent, Lane::Routine].map(|lane| self.has_room(lane));
            tokio::select! {
                biased;
                Some(done) = self.in_flight.next(), if !idle => self.settle(done).await,
                () = shutdown.cancelled(), if !hurried => {}
                () = self.replaced.cancelled(), if !replaced => {}
                () = tokio::time::sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {}
                // What was refused may be taken now.
                () = self.sink.changed(), if pause.is_some() => self.pause = None,
                () = self.delivery.changed(urgent, routine), if pause.is_none() && !hurried && !replaced => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !hurried && !replaced => {
                    self.on_due().await;
                }
                // Nothing to do but to show that it could be done.
                () = round(BEAT) => {}
            }
        }
    }

    /// Gets the sink ready if need be, and sends what is due as far as there is room.
    async fn fill(&mut self, hurried: bool) {
        self.renumber_when_idle().await;
        while self.pause.is_none() && !self.renumbering.is_pending() {
            let packing = match self.sink.open(&self.pulse).await {
                Ok(packing) => packing,
                Err(failure) => {
                    self.state.attempt_failed(None, failure.reason);
                    return self.wait(&failure);
                }
            };
            self.pulse.beat();
            self.state.first_connected((self.now)());
            let Some(lane) = self.next_lane(hurried) else { return };
            let taking = self.delivery.take(lane, &packing, (self.now)());
            match self.pulse.await_disk(taking).await {
                Ok(Some(batch)) => {
                    self.unreadable = false;
                    self.send(batch, packing).await;
                }
                Ok(None) => {}
                Err(error) => self.cannot_read(lane, &error),
            }
        }
    }

    /// What is wrong may be the disk, which may come back; the other lane goes on.
    fn cannot_read(&mut self, lane: Lane, error: &LogError) {
        if !std::mem::replace(&mut self.unreadable, true) {
            let error = ErrorChain(error).to_string();
            tracing::error!(lane = lane.name(), error, "the event log cannot be read; delivery goes on when it can");
        }
        self.delivery.postpone(lane, LOG_PAUSE);
    }

    /// Gets the sink ready if need be, and has it do what it has to do at this time.
    async fn on_due(&mut self) {
        let done = match self.sink.open(&self.pulse).await {
            Ok(_) => self.sink.on_due(&self.pulse).await,
            Err(failure) => Err(failure),
        };
        let kept = done.and_then(|blob| match blob {
            Some(blob) if !self.delivery.keep_with_cursor(&blob) => Err(too_much_to_keep()),
            _ => Ok(()),
        });
        match kept {
            Ok(()) if self.delivery.held().is_none() && self.state.recovers((self.now)()) => {
                self.pacing.reset();
                self.state.tell(&News::Arrives);
            }
            Ok(()) => {}
            Err(failure) => {
                self.state.attempt_failed(None, failure.reason);
                self.wait(&failure);
            }
        }
    }

    /// The lane that is to be sent from now.
    fn next_lane(&mut self, hurried: bool) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| self.has_room(*lane) && self.delivery.is_due(*lane, hurried))
    }

    fn has_room(&self, lane: Lane) -> bool {
        // What is urgent does not wait for the bytes of what is not.
        let bytes = lane == Lane::Urgent || self.in_flight_bytes < IN_FLIGHT_BYTES_MAX;
        !self.renumbering.is_pending() && bytes && self.delivery.in_flight(lane) < self.sink.window()
    }

    async fn send(&mut self, mut batch: Batch<S::Packing>, packing: S::Packing) {
        let now = (self.now)();
        // Cut just now, or the same way as when it was tried last: packed already. Otherwise it takes a while.
        let packed = match batch.is_packed(&packing) {
            true => batch.message(&mut Default::default(), &packing, now).map(|message| (batch, message)),
            false => {
                let kept = batch.clone();
                let packed = tokio::task::spawn_blocking(move || {
                    batch.message(&mut Default::default(), &packing, now).map(|message| (batch, message))
                });
                match packed.await {
                    Ok(Ok(packed)) => Ok(packed),
                    Ok(Err(error)) => return self.cannot_pack(kept, &error),
                    Err(error) => return self.cannot_pack(kept, &error),
                }
            }
        };
        let Ok((mut batch, message)) = packed else { return };
        if std::mem::replace(&mut batch.is_sent, true) {
            self.state.effort().retried.add(1);
        }
        let (bytes, pauses) = (S::Packing::wire_bytes(&message) as u64, self.pauses);
        self.in_flight_bytes += batch.raw_bytes();
        self.state.sent(batch.lane, bytes, now);
        let (sending, began) = (self.sink.deliver(message), Instant::now());
        self.in_flight.push(sending.map(move |outcome| Done { batch, outcome, bytes, pauses, began }).boxed());
    }

    fn cannot_pack(&mut self, batch: Batch<S::Packing>, error: &(dyn std::error::Error + 'static)) {
        let failure = DeliveryFailure::local(format!("put a batch together: {}", ErrorChain(error)));
        self.state.attempt_failed(Some(batch.lane), failure.reason);
        self.hold(batch, &failure);
    }

    /// What an answer means for its batch and for everything that comes after it.
    async fn settle(&mut self, Done { mut batch, outcome, bytes, pauses, began }: Done<S>) {
        if bytes > 0 {
            // Otherwise nothing of it was for the other side.
            self.state.effort().took.observe(began.elapsed());
        }
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(batch.raw_bytes());
        let verdict = self.sink.judge(batch.count(), batch.strained, outcome);
        let failure = match verdict {
            Ok(taken) => return self.arrived(batch, bytes, taken),
            Err(failure) => failure,
        };
        batch.strained = if failure.is_strain { batch.strained + 1 } else { 0 };
        self.state.attempt_failed(Some(batch.lane), failure.reason);
        match failure.then {
            Then::Again => self.delivery.keep(batch),
            Then::Smaller if batch.count() > 1 => self.halve(batch).await,
            Then::Smaller => self.refuse(batch, failure).await,
            Then::Renumber if self.renumbering.note(&batch, &failure.error) => self.delivery.keep(batch),
            Then::Later(_) | Then::Renumber | Then::Hold => {
                self.delivery.keep(batch);
                // What was sent before the last pause says nothing new.
                if pauses == self.pauses {
                    self.wait(&failure);
                }
            }
        }
    }

    fn arrived(&mut self, batch: Batch<S::Packing>, bytes: u64, Taken { after, blob }: Taken) {
        // What was not for the other side says nothing of it, while something else that was sent has still to arrive.
        let waits = |lane: Lane| lane != batch.lane && self.delivery.is_undelivered(lane);
        let is_in_doubt = bytes == 0 && self.state.is_failing() && Lane::ALL.into_iter().any(waits);
        if !is_in_doubt {
            self.pacing.reset();
        }
        self.renumbering.arrived(&batch);
        if bytes > 0 && !self.is_of_records(&batch) {
            self.refusals = 0;
            self.records.clear();
        }
        if !self.delivery.delivered(&batch, blob.as_deref()) {
            return self.hold(batch, &too_much_to_keep());
        }
        let now = (self.now)();
        self.state.delivered(batch.lane, batch.count(), bytes, now);
        match self.delivery.held() {
            Some(reason) => self.state.still_held(reason, now),
            // What was sent before a failure and arrives after it does not end the pause.
            None if !is_in_doubt && self.pause.is_none() && self.state.enter(State::Connected, now) => {
                self.state.tell(&News::Arrives);
            }
            None => {}
        }
        if !after.is_zero() {
            self.pause_for(after);
        }
    }

    /// Whether all of its events are records of the refusals that are being counted.
    fn is_of_records(&self, batch: &Batch<S::Packing>) -> bool {
        let mut sequences = batch.first_sequence..=batch.last_sequence;
        batch.lane == Lane::Urgent && sequences.all(|sequence| self.records.contains(&sequence))
    }

    async fn halve(&mut self, batch: Batch<S::Packing>) {
        let kept = batch.clone();
        // Decompressing a batch takes a few milliseconds.
        let error = match tokio::task::spawn_blocking(move || batch.halves()).await {
            Ok(Ok((first, second))) => return self.delivery.halved(first, second),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.hold(kept, &DeliveryFailure::local(format!("cut a batch: {error}")));
    }

    /// A single event that is refused goes to the dead letters with a record of it, and what is behind it goes on; unless
    /// there are too many of them, for then the other side is at fault and not the events.
    async fn refuse(&mut self, batch: Batch<S::Packing>, failure: DeliveryFailure) {
        self.refusals += 1;
        let Some(dead_letters) = self.dead_letters.clone().filter(|_| self.refusals < REFUSALS_MAX) else {
            return self.hold(batch, &failure);
        };
        let ConsumerStatus { name, target, .. } = self.state.status();
        let (code, error, at) = (failure.code.as_str(), failure.error.as_str(), (self.now)());
        let refused = Refused { consumer: &name, target: &target, code, error, at };
        // Until the letter and the record of it are durable.
        let keeping = refused.keep(&dead_letters, self.delivery.log(), &batch);
        match self.pulse.await_disk(keeping).await {
            Ok(record) => {
                self.records.extend(record);
                let Batch { lane, first_sequence: sequence, .. } = batch;
                self.state.tell(&News::Refused { lane, sequence, error });
                self.state.refused(lane);
                self.delivery.delivered(&batch, None);
            }
            Err(why) => {
                // Not the other side's fault: the same event counts again when it is tried again.
                self.refusals -= 1;
                self.hold(batch, &DeliveryFailure { error: format!("{error}; {why}"), ..failure.clone() });
            }
        }
    }

    /// What is refused blocks its lane rather than being lost.
    fn hold(&mut self, batch: Batch<S::Packing>, failure: &DeliveryFailure) {
        self.note(failure, self.pacing.cap);
        self.delivery.hold(batch, self.pacing.cap, failure.error.clone());
    }

    async fn renumber_when_idle(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        let Some((error, is_first)) = self.renumbering.begin() else { return };
        if !is_first {
            self.pause_for(self.pacing.clone().wait(Duration::ZERO, random()));
        }
        let epoch = self.delivery.renumber();
        self.state.tell(&News::Renumbered { epoch, error: &error });
        // Beyond it the disk does not take the new epoch: nothing is due until it does.
        let _ = tokio::time::timeout(RENUMBER_WAIT_MAX, self.delivery.log().renumbered()).await;
    }

    /// Nothing is sent for a while after a failure.
    fn wait(&mut self, failure: &DeliveryFailure) {
        let wait = match failure.then {
            Then::Later(asked) => self.pacing.wait(asked, random()),
            _ => self.pacing.cap,
        };
        self.pause_for(wait);
        self.note(failure, wait);
    }

    fn pause_for(&mut self, wait: Duration) {
        self.pauses += 1;
        self.pause = self.pause.max(Some(Instant::now() + wait));
    }

    fn note(&self, failure: &DeliveryFailure, wait: Duration) {
        let now = (self.now)();
        let state = if matches!(failure.then, Then::Later(_)) { State::Waiting } else { State::Held };
        self.state.failed(&failure.error, wait, now);
        if self.state.enter(state, now) {
            self.state.tell(&News::Fails(failure));
        }
    }
}

/// A fault of the sink's own.
fn too_much_to_keep() -> DeliveryFailure {
    DeliveryFailure::local(format!("keep more than {BLOB_BYTES_MAX} bytes beside the cursor"))
}

impl DeliveryFailure {
    /// The node itself could not do it.
    fn local(error: String) -> DeliveryFailure {
        DeliveryFailure { then: Then::Hold, error, code: String::new(), reason: Reason::Local, is_strain: false }
    }
}

#[cfg(test)]
mod tests;
