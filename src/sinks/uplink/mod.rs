//! The uplink: delivers batches to a controller over gRPC and moves the cursor when, and only when, one has arrived.
//!
//! Takes from [`Delivery`], gives to the network. One batch is in flight at a time, so the controller sees each lane in
//! order; after a failed attempt what is urgent goes first. Everything that goes wrong ends in waiting and trying again,
//! or in holding on until somebody acts; nothing is given up. While the controller is away nothing grows: a batch of each
//! lane in memory, one timer, a log line for each change of state and none for a retry.

mod answer;
mod codec;
mod connection;
mod state;
mod token;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use self::{
    answer::{Answer, classify},
    connection::Connection,
    state::Phase,
    token::{Token, TokenReader},
};
pub use self::{
    connection::Tls,
    state::{Registration, UplinkState},
    token::{Claims, TokenError, TokenSource},
};
use super::{Batch, Delivery};
use crate::{
    backoff::{Backoff, random},
    event_log::LogError,
    schema::wire::SystemInfo,
    telemetry::ErrorChain,
};

/// First and longest wait between attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// The wait until a log that could not be read is tried again.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// The wait until something that is refused is tried again.
const HOLD: Duration = BACKOFF.1;

/// How often in a row what is not delivered gets other numbers. Beyond it the controller is at fault, and holds.
const FORKS_MAX: u32 = 3;

/// Where to deliver to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`.
    pub address: String,
    /// The bearer token.
    pub token: TokenSource,
    /// How the connection is secured.
    pub tls: Tls,
    /// The node's name when the token has none.
    pub node_id: String,
}

/// What the uplink asks of its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    /// Unix milliseconds.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// How the machine is doing, for `Register`. Blocking.
    pub system_info: Arc<dyn Fn() -> SystemInfo + Send + Sync>,
}

/// The task.
pub struct Uplink {
    settings: Settings,
    surroundings: Surroundings,
    delivery: Delivery,
    state: UplinkState,
    /// Absent while it is being read.
    token: Option<TokenReader>,
    connection: Option<Connection>,
    backoff: Backoff,
    /// Forks since the last batch that arrived.
    forks: u32,
}

/// Why an attempt did not deliver, in words and in kind.
struct Failure {
    answer: Answer,
    error: String,
}

impl Uplink {
    /// Ready to run.
    pub fn new(settings: Settings, surroundings: Surroundings, delivery: Delivery, state: UplinkState) -> Uplink {
        let token = Some(TokenReader::new(settings.token.clone()));
        let backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        Uplink { settings, surroundings, delivery, state, token, connection: None, backoff, forks: 0 }
    }

    /// Delivers until `shutdown`; then what is left, as long as the controller takes it at once. Ends early when
    /// `abandon` is cancelled.
    pub async fn run(mut self, shutdown: CancellationToken, abandon: CancellationToken) {
        tokio::select! {
            () = self.deliver(&shutdown) => {}
            () = abandon.cancelled() => {}
        }
    }

    /// A log that cannot be read is tried again: what is wrong may be the disk, which may come back.
    async fn deliver(&mut self, shutdown: &CancellationToken) {
        let mut told = false;
        while let Err(error) = self.deliver_while_readable(shutdown).await {
            if !std::mem::replace(&mut told, true) {
                let error = ErrorChain(&error).to_string();
                tracing::error!(error, "the event log cannot be read; delivery goes on when it can");
            }
            self.delivery.start_over();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOG_PAUSE) => {}
            }
        }
    }

    async fn deliver_while_readable(&mut self, shutdown: &CancellationToken) -> Result<(), LogError> {
        while let Some(mut batch) = self.delivery.next(shutdown).await? {
            let wait = match self.attempt(&mut batch).await {
                Ok(()) => {
                    self.arrived(&batch);
                    continue;
                }
                Err(failure) => self.settle(batch, failure),
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !wait.is_zero() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    fn arrived(&mut self, batch: &Batch) {
        self.backoff.reset();
        self.forks = 0;
        self.delivery.delivered(batch);
        let now = (self.surroundings.now)();
        match self.delivery.held() {
            None => self.connected(now),
            Some(reason) => self.state.still_held(reason, now),
        }
    }

    /// Puts a batch back that was not delivered; gives how long nothing is to be tried.
    fn settle(&mut self, batch: Batch, failure: Failure) -> Duration {
        let wait = match failure.answer {
            Answer::Halve if batch.count() > 1 => {
                self.delivery.halve(&batch);
                return Duration::ZERO;
            }
            Answer::Halve => {
                // A single event that is refused blocks its lane rather than being lost.
                self.note(&failure, HOLD);
                self.delivery.hold(batch, HOLD, failure.error);
                return Duration::ZERO;
            }
            Answer::Fork if self.forks < FORKS_MAX => {
                self.renumber(&failure.error);
                return Duration::ZERO;
            }
            Answer::Retry(after) => after.max(self.backoff.next(random())),
            Answer::Fork | Answer::Hold | Answer::Delivered => HOLD,
        };
        self.note(&failure, wait);
        self.delivery.keep(batch);
        wait
    }

    fn renumber(&mut self, error: &str) {
        self.forks += 1;
        let epoch = self.delivery.renumber();
        tracing::warn!(
            controller = self.settings.address,
            %epoch,
            error,
            "the controller has other events under these numbers; what is not delivered yet goes under new ones"
        );
    }

    /// One attempt: token, connection, registration, batch.
    async fn attempt(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let token = self.read_token().await?;
        let node_id = token.claims.rid.as_deref().unwrap_or(&self.settings.node_id);
        let bytes = batch.encoded(node_id, (self.surroundings.now)());
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(&token).await?,
        };
        let length = bytes.len() as u64;
        let outcome = connection.send(&token.header, bytes).await;
        if !outcome.as_ref().is_err_and(is_broken) {
            self.connection = Some(connection);
        }
        match classify(&outcome) {
            Answer::Delivered => {
                self.state.delivered(batch.count(), length, (self.surroundings.now)());
                Ok(())
            }
            answer => Err(Failure { answer, error: describe(&outcome) }),
        }
    }

    async fn connect(&mut self, token: &Token) -> Result<Connection, Failure> {
        let connection = Connection::open(&self.settings.address, &self.settings.tls).await.map_err(|error| {
            Failure { answer: Answer::Retry(Duration::ZERO), error: ErrorChain(&error).to_string() }
        })?;
        let system_info = Arc::clone(&self.surroundings.system_info);
        let system_info = tokio::task::spawn_blocking(move || system_info()).await.unwrap_or_default();
        match connection.register(&token.header, system_info).await {
            Ok(Some(response)) if !response.success => {
                let error = format!("the controller does not register this node: {}", response.message);
                Err(Failure { answer: Answer::Hold, error })
            }
            Ok(response) => {
                let response = response.unwrap_or_default();
                self.state.registered(Registration {
                    claims: token.claims.clone(),
                    domain: response.domain,
                    expires_on: response.expires_on,
                    controller: self.settings.address.clone(),
                });
                Ok(connection)
            }
            Err(status) => {
                let answer = match classify(&Err(status.clone())) {
                    Answer::Retry(after) => Answer::Retry(after),
                    _ => Answer::Hold,
                };
                Err(Failure { answer, error: format!("register: {}", describe_status(&status)) })
            }
        }
    }

    /// The token as it is now; the file is looked at off the async threads.
    async fn read_token(&mut self) -> Result<Token, Failure> {
        let mut reader = self.token.take().unwrap_or_else(|| TokenReader::new(self.settings.token.clone()));
        let read = tokio::task::spawn_blocking(move || {
            let token = reader.token();
            (reader, token)
        });
        let hold = |error| Failure { answer: Answer::Hold, error };
        let (reader, token) = read.await.map_err(|_| hold("reading the token panicked".to_owned()))?;
        self.token = Some(reader);
        token.map_err(|error| Failure { answer: Answer::Retry(Duration::ZERO), error: ErrorChain(&error).to_string() })
    }

    fn connected(&self, now: i64) {
        if self.state.enter(Phase::Connected, now) {
            tracing::info!(controller = self.settings.address, "events reach the controller");
        }
    }

    fn note(&self, failure: &Failure, wait: Duration) {
        let now = (self.surroundings.now)();
        let phase = if matches!(failure.answer, Answer::Retry(_)) { Phase::Waiting } else { Phase::Held };
        self.state.failed(&failure.error, wait);
        if !self.state.enter(phase, now) {
            return;
        }
        let (controller, error) = (&self.settings.address, &failure.error);
        match phase {
            Phase::Held => tracing::error!(controller, error, "the controller takes no events; they are kept"),
            _ => tracing::warn!(controller, error, "the controller cannot be reached; events are kept and sent later"),
        }
    }
}

/// Whether the connection itself is in doubt, so that the next attempt makes a new one.
fn is_broken(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unauthenticated
    )
}

fn describe(outcome: &Result<crate::schema::wire::EventBatchResponse, Status>) -> String {
    match outcome {
        Ok(response) => format!("the controller did not store the batch: {}", response.message),
        Err(status) => describe_status(status),
    }
}

fn describe_status(status: &Status) -> String {
    let cause = std::error::Error::source(status).map(|cause| format!(": {}", ErrorChain(cause))).unwrap_or_default();
    match status.message() {
        "" => format!("{:?}{cause}", status.code()),
        message => format!("{message} ({:?}){cause}", status.code()),
    }
}
