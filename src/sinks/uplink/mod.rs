//! The uplink: the sink that is a controller, over gRPC.
//!
//! Keeps one registered connection, made anew with whatever credentials are in force, and learns on it how the controller
//! wants its batches. What an answer means is one table, in `answer`. How many batches are on their way is the [`Window`]'s
//! say: one of each lane unless the controller sorts by sequence. Deliberately absent: retrying, which is the driver's.

mod answer;
mod call;
mod compression;
mod connection;
pub mod control;
mod credentials;
mod expiry;
mod failure;
mod issued;
mod link;
mod packing;
mod patience;
pub mod probe;
mod refusal;
mod settings;
mod state;
mod stream;
mod tls;
mod token;
mod way;
mod window;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
};

use self::{
    answer::{Asked, classify},
    connection::Connection,
    control::{Control, Line, Order},
    credentials::{Credentials, Proof},
    failure::{failure, retry},
    link::{Done, Link, guarded},
};
pub use self::{
    compression::{Compression, PackedBatch, Packer},
    expiry::EXPIRY_MIN,
    packing::UplinkPacking,
    patience::Patience,
    settings::{Surroundings, UplinkSettings},
    state::{Registration, UPLINK, UplinkState},
    tls::Tls,
    token::{Claims, NodeTokenError, TokenSource, TokenTimes},
    window::{WINDOW_MAX, Window},
};
use crate::{
    consumers::{Delivery, DeliveryFailure, Driver, Pacing, Reason, Sink, Taken, Then, Verdict},
    health::Pulse,
    telemetry::ErrorChain,
};

/// However often the other side objects to pings, they come at least so often.
const KEEPALIVE_MAX: Duration = Duration::from_secs(3600);

/// The sink.
pub struct Uplink {
    settings: UplinkSettings,
    surroundings: Surroundings,
    state: UplinkState,
    credentials: Credentials,
    /// What the next call proves the node with.
    token: Option<MetadataValue<Ascii>>,
    link: Option<Link>,
    /// The last registered connection, for the control stream.
    line: watch::Sender<Option<Line>>,
    links: u64,
    /// The last connection that was good and has ended: what was on its way over it goes again at once.
    ended: Option<u64>,
    patience: Patience,
    /// What the next connection begins with, unless the controller says better; the best after anything was delivered.
    compression: Compression,
}

impl Uplink {
    /// Not connected yet.
    pub fn new(settings: UplinkSettings, surroundings: Surroundings, state: UplinkState) -> Uplink {
        Uplink {
            credentials: Credentials::new(settings.token.clone(), &settings.tls),
            settings,
            surroundings,
            state,
            token: None,
            link: None,
            line: watch::Sender::new(None),
            links: 0,
            ended: None,
            patience: Patience::default(),
            compression: Compression::default(),
        }
    }

    /// Waits as long as this says, and not as by default.
    pub fn with_patience(self, patience: Patience) -> Uplink {
        Uplink { patience, ..self }
    }

    /// Keeps the certificate that a controller issues in `directory`, which is made for it and only the owner may enter,
    /// and proves the node with it from the next connection on; not where the settings name a certificate.
    pub fn keep_issued_certificate_in(self, directory: PathBuf) -> Uplink {
        self.credentials.keep_issued_in(directory);
        self
    }

    /// What takes the controller's orders on the same connection and passes them on to `orders`; to be run beside.
    pub fn control(&self, orders: mpsc::Sender<Order>) -> Control {
        Control::new(self.settings.address.clone(), self.credentials.clone(), self.line.subscribe(), orders)
    }

    /// What delivers to it, ready to run.
    pub fn driver(self, delivery: Delivery<UplinkPacking>) -> Driver<Uplink> {
        let pacing = Pacing::new(self.patience.backoff_first(), self.patience.backoff_max);
        let (state, now) = (self.state.consumer(), Arc::clone(&self.surroundings.now));
        Driver::new(self, delivery, state, now).with_pacing(pacing)
    }

    /// A registered connection that was made with the certificates that are now in force.
    async fn keep_connected(&mut self, proof: &Proof, pulse: &Pulse) -> Result<(), DeliveryFailure> {
        self.heed_pings();
        let is_good = |link: &Link| !link.connection.is_outdated(proof) && !link.fate.has_ended();
        if self.link.as_ref().is_some_and(is_good) {
            return Ok(());
        }
        self.link = None;
        let connected = self.connect(proof, pulse).await;
        pulse.beat();
        let (connection, accepts) = connected?;
        self.links += 1;
        let way = connection.way();
        let link = Link::new(connection, self.links, accepts.unwrap_or_default().max(self.compression));
        self.line.send_replace(Some(Line { way, fate: link.fate.clone() }));
        self.link = Some(link);
        Ok(())
    }

    /// Pings half as often when the other side has ended the connection for them.
    fn heed_pings(&mut self) {
        if self.link.as_ref().is_some_and(|link| link.fate.has_pinged_too_often()) {
            self.patience.keepalive = (self.patience.keepalive * 2).min(KEEPALIVE_MAX);
            let keepalive = humantime::format_duration(self.patience.keepalive).to_string();
            tracing::info!(controller = self.settings.address, keepalive, "the controller wants fewer pings");
        }
    }

    /// A new connection on which the node has registered, and how the controller wants its batches, if it says.
    async fn connect(
        &mut self,
        proof: &Proof,
        pulse: &Pulse,
    ) -> Result<(Connection, Option<Compression>), DeliveryFailure> {
        // Finding the controller, and agreeing on TLS.
        pulse.wait(self.patience.connect_timeout() * 2);
        let connection = Connection::open(&self.settings.address, proof, &self.patience)
            .await
            .map_err(|error| retry(Reason::Unreachable, ErrorChain(&error).to_string()))?;
        let system_info = Arc::clone(&self.surroundings.system_info);
        let measuring = tokio::task::spawn_blocking(move || system_info());
        let system_info = pulse.await_disk(measuring).await.unwrap_or_default();
        pulse.wait(self.patience.call_timeout);
        match guarded(connection.register(&proof.token.header, system_info)).await.unwrap_or_else(Err) {
            Ok((Some(response), _)) if !response.success => {
                let error = format!("the controller does not register this node: {}", response.message);
                Err(DeliveryFailure { then: Then::Hold, ..retry(Reason::Refused, error) })
            }
            Ok((response, accepts)) => {
                let response = response.unwrap_or_default();
                pulse.await_disk(self.credentials.keep(&response)).await;
                let is_first = self.state.registered(Registration {
                    claims: proof.token.claims.clone(),
                    domain: response.domain,
                    expires_on: response.expires_on,
                    controller: self.settings.address.clone(),
                });
                if is_first {
                    let node = proof.token.claims.rid.as_deref().unwrap_or(&self.settings.node_id);
                    tracing::info!(controller = self.settings.address, node, "the controller knows this node");
                }
                Ok((connection, accepts))
            }
            Err(status) => {
                let outcome = Err(status);
                let then = match classify(&outcome, Asked { events: 1, compressed: false, strained: 0 }) {
                    Err(Then::Later(after)) => Then::Later(after),
                    _ => Then::Hold,
                };
                Err(failure("register: ", then, &outcome, connection.refusal()))
            }
        }
    }
}

impl Sink for Uplink {
    type Packing = UplinkPacking;
    type Outcome = Done;

    async fn open(&mut self, pulse: &Pulse) -> Result<UplinkPacking, DeliveryFailure> {
        let proof =
            pulse.await_disk(self.credentials.read()).await.map_err(|error| retry(Reason::Credentials, error))?;
        self.state.proved(proof.token.expires_at, proof.certificate_expires_at());
        self.keep_connected(&proof, pulse).await?;
        let node_id = proof.token.claims.rid.as_deref().unwrap_or(&self.settings.node_id).into();
        self.token = Some(proof.token.header);
        let link = self.link.as_ref();
        let (compression, dialect) = link.map_or((self.compression, 0), |link| (link.compression, link.dialect));
        link.iter().for_each(|link| self.state.speaks(link));
        // Not every decoder reads several zstd frames as one: only who speaks our dialect is known to.
        Ok(UplinkPacking { node_id, compression, as_stored: dialect > 0 })
    }

    fn window(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.window.limit())
    }

    fn deliver(&mut self, message: PackedBatch) -> impl Future<Output = Done> + Send + 'static {
        let sending = match (&mut self.link, self.token.clone()) {
            (Some(link), Some(token)) => Ok(link.send(message, token)),
            _ => Err(Done::never(Status::unavailable("there is no connection"))),
        };
        async {
            match sending {
                Ok(sending) => sending.await,
                Err(done) => done,
            }
        }
    }

    fn judge(&mut self, events: u64, strained: u32, done: Done) -> Verdict {
        let answer = classify(&done.outcome, done.asked(events, strained));
        let (mut refusal, mut has_ended) = (None, self.ended == Some(done.link) && done.is_unanswered);
        if let Some(link) = self.link.as_mut().filter(|link| link.number == done.link) {
            if let Some(plainer) = link.doubted(&done) {
                self.compression = plainer;
            }
            link.learn(&done, &answer);
            self.state.speaks(link);
            if done.is_broken() {
                refusal = link.connection.refusal();
                if let Err(status) = &done.outcome {
                    link.fate.note(status);
                }
                has_ended = link.has_ended(&done) && refusal.is_none();
                self.ended = has_ended.then_some(done.link);
                self.heed_pings();
                self.link = None;
            }
        }
        match answer {
            Ok(after) => {
                self.compression = Compression::default();
                Ok(Taken { after, blob: None })
            }
            // Another connection will do, and if not, that is told.
            Err(_) if has_ended => Err(failure("", Then::Again, &done.outcome, None)),
            Err(then) => Err(failure("", then, &done.outcome, refusal)),
        }
    }

    async fn changed(&mut self) {
        self.credentials.changed().await;
    }
}
