//! The uplink: delivers batches to a controller over gRPC and moves the cursor when, and only when, one has arrived.
//!
//! Takes from [`Delivery`], gives to the network. How many batches are in flight is the [`Window`]'s say: one of each lane
//! unless the controller sorts by sequence; what is urgent goes first. Everything that goes wrong ends in waiting and
//! trying again, in smaller batches, or in holding on until somebody acts; nothing is given up. While the controller is away
//! nothing grows: a few batches in memory, one timer, a log line for each change of state and none for a retry.

mod answer;
mod burial;
mod call;
mod certificate;
mod connection;
pub mod control;
mod credentials;
mod failure;
mod forks;
mod issued;
mod link;
mod pacing;
mod patience;
pub mod probe;
mod refusal;
mod registering;
mod settings;
mod state;
mod stream;
mod tls;
mod token;
mod window;

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    answer::{Answer, classify, is_strain},
    burial::Burial,
    control::Line,
    credentials::{Credentials, Proof},
    failure::{Failure, Reason, code_name},
    forks::Forks,
    link::{Done, Link},
    state::Phase,
    token::Token,
};
pub use self::{
    pacing::{BACKOFF, Pacing},
    patience::Patience,
    settings::{Settings, Surroundings},
    state::{Registration, UplinkState},
    tls::Tls,
    token::{Claims, TokenError, TokenSource, TokenTimes},
    window::{WINDOW_MAX, Window},
};
use super::{Batch, Compression, Delivery, Packer, Packing};
use crate::{
    backoff::random,
    dead_letters::DeadLetters,
    event_log::{Lane, LogError},
    health::{BEAT, Pulse},
    telemetry::{ErrorChain, message},
};

/// The wait until a log that could not be read is tried again.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// How long the disk is waited for that has to take a new epoch before anything is sent under it.
const RENUMBER_WAIT_MAX: Duration = Duration::from_secs(2);

/// This many single events refused in a row are the controller's fault, not theirs: the lane holds.
const REFUSALS_MAX: u32 = 3;

/// The most bytes of events in flight, in clear; a single batch may exceed them.
const IN_FLIGHT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The task.
pub struct Uplink {
    settings: Settings,
    surroundings: Surroundings,
    delivery: Delivery,
    state: UplinkState,
    credentials: Credentials,
    link: Option<Link>,
    /// The last registered connection, for the control stream.
    line: watch::Sender<Option<Line>>,
    links: u64,
    in_flight: FuturesUnordered<BoxFuture<'static, Done>>,
    in_flight_bytes: usize,
    patience: Patience,
    pacing: Pacing,
    /// Nothing is sent before this.
    pause: Option<Instant>,
    /// How many there have been.
    pauses: u64,
    forks: Forks,
    /// Where an event ends that is refused alone. Without it the event blocks its lane.
    dead_letters: Option<DeadLetters>,
    /// Single events refused in a row, without one that was taken in between; the records of these refusals do not count.
    refusals: u32,
    /// The sequences of those records, in the urgent lane.
    records: BTreeSet<u64>,
    /// What the next connection begins with, unless the controller says better; the best after anything was delivered.
    compression: Compression,
    /// Whether it has been told that the log cannot be read.
    unreadable: bool,
    pulse: Pulse,
    /// Another uplink is to go on in its place.
    replaced: CancellationToken,
}

impl Uplink {
    /// Ready to run.
    pub fn new(settings: Settings, surroundings: Surroundings, delivery: Delivery, state: UplinkState) -> Uplink {
        Uplink {
            credentials: Credentials::new(settings.token.clone(), &settings.tls),
            settings,
            surroundings,
            delivery,
            state,
            link: None,
            line: watch::Sender::new(None),
            links: 0,
            in_flight: FuturesUnordered::new(),
            in_flight_bytes: 0,
            patience: Patience::default(),
            pacing: Pacing::default(),
            pause: None,
            pauses: 0,
            forks: Forks::default(),
            dead_letters: None,
            refusals: 0,
            records: BTreeSet::new(),
            compression: Compression::default(),
            unreadable: false,
            pulse: Pulse::default(),
            replaced: CancellationToken::new(),
        }
    }

    /// Sends nothing more when `replaced` is cancelled, and ends when what is on its way is answered.
    pub fn until_replaced(self, replaced: CancellationToken) -> Uplink {
        Uplink { replaced, ..self }
    }

    /// Waits as long as this says, and not as by default.
    pub fn with_patience(self, patience: Patience) -> Uplink {
        let pacing = Pacing::new(patience.backoff_first(), patience.backoff_max);
        Uplink { patience, pacing, ..self }
    }

    /// An event that is refused alone ends here, and what is behind it goes on.
    pub fn with_dead_letters(self, dead_letters: DeadLetters) -> Uplink {
        Uplink { dead_letters: Some(dead_letters), ..self }
    }

    /// Gives its signs of life to who watches this.
    pub fn with_pulse(self, pulse: Pulse) -> Uplink {
        Uplink { pulse, ..self }
    }

    /// Delivers until `shutdown`; then what is left, as long as the controller takes it at once. Ends early when
    /// `abandon` is cancelled.
    pub async fn run(mut self, shutdown: CancellationToken, abandon: CancellationToken) {
        tokio::select! {
            () = self.deliver(&shutdown) => {}
            () = abandon.cancelled() => {}
        }
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
            self.state.flows(self.in_flight.len(), |lane| self.delivery.in_flight(lane), self.link.as_ref());
            let (idle, pause) = (self.in_flight.is_empty(), self.pause);
            let [urgent, routine] = [Lane::Urgent, Lane::Routine].map(|lane| self.has_room(lane));
            tokio::select! {
                biased;
                Some(done) = self.in_flight.next(), if !idle => self.settle(done).await,
                () = shutdown.cancelled(), if !hurried => {}
                () = self.replaced.cancelled(), if !replaced => {}
                () = tokio::time::sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {}
                // What was refused may be accepted with another token or certificate.
                () = self.credentials.changed(), if pause.is_some() => self.pause = None,
                () = self.delivery.changed(urgent, routine), if pause.is_none() && !hurried && !replaced => {}
                // Nothing to do but to show that it could be done.
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    /// Connects if need be, and sends what is due as far as there is room.
    async fn fill(&mut self, hurried: bool) {
        self.renumber_when_idle().await;
        if !self.forks.is_pending() {
            self.keep_connected().await;
        }
        while let Some(lane) = self.next_lane(hurried) {
            let Some((token, packing)) = self.packing().await else { return };
            self.pulse.beat();
            let taking = self.delivery.take(lane, &packing, (self.surroundings.now)());
            match self.pulse.await_disk(taking).await {
                Ok(Some(batch)) => {
                    self.unreadable = false;
                    self.send(batch, token, packing).await;
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

    /// The lane that is to be sent from now.
    fn next_lane(&mut self, hurried: bool) -> Option<Lane> {
        if self.pause.is_some() || self.link.is_none() {
            return None;
        }
        Lane::ALL.into_iter().find(|lane| self.has_room(*lane) && self.delivery.is_due(*lane, hurried))
    }

    fn has_room(&self, lane: Lane) -> bool {
        let limit = self.link.as_ref().map_or(0, |link| link.window.limit());
        // What is urgent does not wait for the bytes of what is not.
        let bytes = lane == Lane::Urgent || self.in_flight_bytes < IN_FLIGHT_BYTES_MAX;
        !self.forks.is_pending() && bytes && self.delivery.in_flight(lane) < limit
    }

    /// With what to send, if there is a connection and a token.
    async fn packing(&mut self) -> Option<(Token, Packing)> {
        let Proof { token, .. } = self.read_credentials().await?;
        let node_id = token.claims.rid.as_deref().unwrap_or(&self.settings.node_id).into();
        let link = self.link.as_ref()?;
        // Not every decoder reads several zstd frames as one: only who speaks our dialect is known to.
        Some((token, Packing { node_id, compression: link.compression, as_stored: link.dialect > 0 }))
    }

    async fn send(&mut self, mut batch: Batch, token: Token, packing: Packing) {
        let now = (self.surroundings.now)();
        // Cut just now, or the same way as when it was tried last: packed already. Otherwise it takes a while.
        let packed = match batch.is_packed(&packing) {
            true => batch.message(&mut Packer::default(), &packing, now).map(|message| (batch, message)),
            false => {
                let kept = batch.clone();
                let packed = tokio::task::spawn_blocking(move || {
                    batch.message(&mut Packer::default(), &packing, now).map(|message| (batch, message))
                });
                match packed.await {
                    Ok(Ok(packed)) => Ok(packed),
                    Ok(Err(error)) => return self.cannot_pack(kept, &error),
                    Err(error) => return self.cannot_pack(kept, &error),
                }
            }
        };
        let (Ok((batch, message)), Some(link)) = (packed, &mut self.link) else { return };
        self.in_flight_bytes += batch.raw_bytes();
        self.state.sent(batch.lane, message.wire_bytes() as u64);
        self.in_flight.push(Box::pin(link.send(batch, message, token.header, self.pauses)));
    }

    fn cannot_pack(&mut self, batch: Batch, error: &(dyn std::error::Error + 'static)) {
        let failure = Failure::hold(format!("put a batch together: {}", ErrorChain(error)));
        self.state.attempt_failed(Some(batch.lane), failure.reason);
        self.hold(batch, failure);
    }

    /// What an answer means for its batch and for everything that comes after it.
    async fn settle(&mut self, mut done: Done) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(done.batch.raw_bytes());
        let answer = classify(&done.outcome, done.asked());
        let mut refusal = None;
        if let Some(link) = self.link.as_mut().filter(|link| link.number == done.link) {
            if let Some(plainer) = link.doubted(&done) {
                self.compression = plainer;
            }
            link.learn(&done, &answer);
            if done.is_broken() {
                refusal = link.connection.refusal();
                self.link = None;
            }
        }
        done.batch.strained = match &done.outcome {
            Err(status) if is_strain(status) => done.batch.strained + 1,
            _ => 0,
        };
        let failure = Failure::of("", answer, &done.outcome, refusal);
        if !matches!(failure.answer, Answer::Delivered(_)) {
            self.state.attempt_failed(Some(done.batch.lane), failure.reason);
        }
        match failure.answer {
            Answer::Delivered(after) => self.arrived(&done, after),
            Answer::Plainer => self.delivery.keep(done.batch),
            Answer::Halve if done.batch.count() > 1 => self.halve(done.batch).await,
            Answer::Halve => self.bury(done, failure).await,
            Answer::Fork if self.forks.note(&done.batch, &failure.error) => self.delivery.keep(done.batch),
            Answer::Retry(_) | Answer::Fork | Answer::Hold => {
                self.delivery.keep(done.batch);
                // What was sent before the last pause says nothing new.
                if done.pauses == self.pauses {
                    self.wait(&failure);
                }
            }
        }
    }

    fn arrived(&mut self, done: &Done, after: Duration) {
        self.pacing.reset();
        self.compression = Compression::default();
        self.forks.arrived(&done.batch);
        if !self.is_of_records(&done.batch) {
            self.refusals = 0;
            self.records.clear();
        }
        self.delivery.delivered(&done.batch);
        let now = (self.surroundings.now)();
        self.state.delivered(done.batch.lane, done.batch.count(), done.bytes, now);
        match self.delivery.held() {
            Some(reason) => self.state.still_held(reason, now),
            // What was sent before a failure and arrives after it does not end the pause.
            None if self.pause.is_none() => self.connected(now),
            None => {}
        }
        if !after.is_zero() {
            self.pause_for(after);
        }
    }

    /// Whether all of its events are records of the refusals that are being counted.
    fn is_of_records(&self, batch: &Batch) -> bool {
        let mut sequences = batch.first_sequence..=batch.last_sequence;
        batch.lane == Lane::Urgent && sequences.all(|sequence| self.records.contains(&sequence))
    }

    async fn halve(&mut self, batch: Batch) {
        let kept = batch.clone();
        // Decompressing a batch takes a few milliseconds.
        let error = match tokio::task::spawn_blocking(move || batch.halves()).await {
            Ok(Ok((first, second))) => return self.delivery.halved(first, second),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.hold(kept, Failure::hold(format!("cut a batch: {error}")));
    }

    /// A single event that is refused goes to the dead letters with a record of it, and what is behind it goes on; unless
    /// there are too many of them, for then the controller is at fault and not the events.
    async fn bury(&mut self, done: Done, failure: Failure) {
        self.refusals += 1;
        let Some(dead_letters) = self.dead_letters.clone().filter(|_| self.refusals < REFUSALS_MAX) else {
            return self.hold(done.batch, failure);
        };
        let refused_at = (self.surroundings.now)();
        let burial = Burial { code: code_name(&done.outcome), controller: self.settings.address.clone(), refused_at };
        // Until the letter and the record of it are durable.
        let burying = burial.bury(&dead_letters, self.delivery.log(), &done.batch, &failure.error);
        match self.pulse.await_disk(burying).await {
            Ok(record) => {
                self.records.extend(record);
                let Batch { lane, first_sequence: sequence, .. } = done.batch;
                let (controller, error) = (&self.settings.address, &failure.error);
                tracing::warn!(
                    message_id = %message::DEAD_LETTER,
                    controller,
                    lane = lane.name(),
                    sequence,
                    error,
                    "the controller refuses an event; it is kept as a dead letter"
                );
                self.state.buried(lane);
                self.delivery.delivered(&done.batch);
            }
            Err(error) => {
                // Not the controller's fault: the same event counts again when it is tried again.
                self.refusals -= 1;
                self.hold(done.batch, Failure { error: format!("{}; {error}", failure.error), ..failure });
            }
        }
    }

    /// What is refused blocks its lane rather than being lost.
    fn hold(&mut self, batch: Batch, failure: Failure) {
        self.note(&failure, self.patience.backoff_max);
        self.delivery.hold(batch, self.patience.backoff_max, failure.error);
    }

    async fn renumber_when_idle(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        let Some((error, is_first)) = self.forks.begin() else { return };
        if !is_first {
            self.pause_for(self.pacing.clone().wait(Duration::ZERO, random()));
        }
        let epoch = self.delivery.renumber();
        tracing::warn!(
            controller = self.settings.address,
            %epoch,
            error,
            "the controller has other events under these numbers; what is not delivered yet goes under new ones"
        );
        // Beyond it the disk does not take the new epoch: nothing is due until it does.
        let _ = tokio::time::timeout(RENUMBER_WAIT_MAX, self.delivery.log().renumbered()).await;
    }

    /// Nothing is sent for a while after a failure.
    fn wait(&mut self, failure: &Failure) {
        let wait = match failure.answer {
            Answer::Retry(asked) => self.pacing.wait(asked, random()),
            _ => self.patience.backoff_max,
        };
        self.pause_for(wait);
        self.note(failure, wait);
    }

    fn pause_for(&mut self, wait: Duration) {
        self.pauses += 1;
        self.pause = self.pause.max(Some(Instant::now() + wait));
    }

    /// A registered connection that was made with the certificates that are now in force; or a pause.
    async fn keep_connected(&mut self) {
        let Some(proof) = self.read_credentials().await else { return };
        if self.link.as_ref().is_some_and(|link| !link.connection.is_outdated(&proof)) {
            return;
        }
        self.link = None;
        let connected = self.try_connect(&proof).await;
        self.pulse.beat();
        match connected {
            Ok((connection, accepts)) => {
                self.links += 1;
                self.line.send_replace(Some(Line(connection.channel())));
                self.link = Some(Link::new(connection, self.links, accepts.unwrap_or_default().max(self.compression)));
                if self.state.first_connected((self.surroundings.now)()) {
                    let node = proof.token.claims.rid.as_deref().unwrap_or(&self.settings.node_id);
                    tracing::info!(controller = self.settings.address, node, "the controller knows this node");
                }
            }
            Err(failure) => {
                self.state.attempt_failed(None, failure.reason);
                self.wait(&failure);
            }
        }
    }

    /// What the node proves itself with now; or a pause.
    async fn read_credentials(&mut self) -> Option<Proof> {
        match self.pulse.await_disk(self.credentials.read()).await {
            Ok(proof) => {
                self.state.proved(proof.token.expires_at, proof.certificate_expires_at());
                Some(proof)
            }
            Err(error) => {
                let failure = Failure { reason: Reason::Credentials, ..Failure::retry(ErrorChain(&error).to_string()) };
                self.state.attempt_failed(None, failure.reason);
                self.wait(&failure);
                None
            }
        }
    }

    fn connected(&self, now: i64) {
        if self.state.enter(Phase::Connected, now) {
            tracing::info!(
                message_id = %message::CONTROLLER_BACK,
                controller = self.settings.address,
                "events reach the controller"
            );
        }
    }

    fn note(&self, failure: &Failure, wait: Duration) {
        let now = (self.surroundings.now)();
        let phase = if matches!(failure.answer, Answer::Retry(_)) { Phase::Waiting } else { Phase::Held };
        self.state.failed(&failure.error, wait, now);
        if !self.state.enter(phase, now) {
            return;
        }
        failure.tell(&self.settings.address);
    }
}
