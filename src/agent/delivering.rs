//! Keeps those to whom events are delivered: the uplink towards the configured controller, and the sinks; replaces each when
//! its settings change.
//!
//! Always holds: of one cursor there is never more than one consumer at work, and the next one goes on where the cursor
//! stands, so that nothing is left out and nothing comes twice but what was on its way and not answered.

mod orders;

use crate::order::Gather as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    config::{ControllerSettings, SinkSettings},
    pausing::Paused,
    supervisor::{Part, Phase, Supervisor},
    system_info,
};
use crate::{
    consumers::{ConsumerState, Delivery, Effort, Threshold},
    dead_letters::DeadLetters,
    event_log::{Cursor, EventLog},
    health::{Pulse, Registry},
    host::Host,
    local_api::SinksDesk,
    schema::local::{ConsumerStatus, TestSinkResponse},
    sinks::{
        Configured, Consumer, NodeName, SinkTest,
        uplink::{self, UPLINK, Uplink, UplinkState, control::Order},
    },
    state::StatesWatch,
    telemetry::message,
    words,
};

/// How long what is on its way may take to be answered when another controller is configured. What is not is sent again, to
/// the new one.
const ANSWERS_MAX: Duration = Duration::from_secs(2);

/// Before a sink that ended by a fault starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(10);

/// What consumers are made of, whatever is configured.
pub(super) struct Surroundings {
    pub(super) log: EventLog,
    pub(super) cursor: Cursor,
    pub(super) threshold: watch::Sender<Threshold>,
    pub(super) state: UplinkState,
    pub(super) dead_letters: DeadLetters,
    /// Sinks that nothing is sent to for now.
    pub(super) paused: Paused,
    /// How things are.
    pub(super) states: Arc<dyn StatesWatch>,
    /// Where the certificate is kept that the controller issues.
    pub(super) identity: PathBuf,
    pub(super) node: NodeName,
    /// Unix milliseconds.
    pub(super) now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// The signs of life of whichever uplink is at work.
    pub(super) pulse: Pulse,
    /// Takes what controllers ask.
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) supervisor: Supervisor,
    pub(super) registry: Registry,
    /// The agent begins to stop.
    pub(super) stopping: CancellationToken,
    /// Nothing more will come: what is left is to be delivered.
    pub(super) shutdown: CancellationToken,
    /// The grace is over.
    pub(super) abandon: CancellationToken,
}

/// How everybody is to whom events are delivered. Cheap to copy.
#[derive(Clone)]
pub(super) struct Consumers {
    uplink: ConsumerState,
    sinks: Arc<Mutex<BTreeMap<String, (ConsumerState, SinkSettings)>>>,
    registry: Registry,
    node: NodeName,
}

impl Consumers {
    /// The uplink first, then the sinks by name.
    pub(super) fn status(&self) -> Vec<ConsumerStatus> {
        let sinks = self.lock();
        std::iter::once(&self.uplink).chain(sinks.values().map(|(state, _)| state)).map(ConsumerState::status).collect()
    }

    /// What each costs, by name.
    pub(super) fn efforts(&self) -> Vec<(String, Arc<Effort>)> {
        let sinks = self.lock();
        let sinks = sinks.iter().map(|(name, (state, _))| (name.clone(), Arc::clone(state.effort())));
        std::iter::once((UPLINK.to_owned(), Arc::clone(self.uplink.effort()))).chain(sinks).collect()
    }

    /// Has each say what is wrong with it now, Unix milliseconds.
    pub(super) fn judge(&self, now: i64) {
        self.uplink.judge(&self.registry.part(UPLINK), now);
        let sinks = self.lock();
        sinks.iter().for_each(|(name, (state, _))| state.judge(&self.registry.part(part_of(name)), now));
    }

    /// For the socket: has a sink send a test.
    pub(super) fn sinks_desk(&self) -> SinksDesk {
        let consumers = self.clone();
        Arc::new(move |name| {
            let sink = consumers.lock().get(&name).and_then(|(_, settings)| settings.build());
            let consumers = consumers.clone();
            Box::pin(async move {
                let Some(sink) = sink else { return Err(Status::invalid_argument(consumers.unknown(&name))) };
                let target = sink.target();
                let SinkTest { error, answer, took, certificate_until } = sink.test(&consumers.node).await;
                let until = certificate_until.and_then(|until| until.duration_since(UNIX_EPOCH).ok());
                Ok(TestSinkResponse {
                    target,
                    error: error.unwrap_or_default(),
                    answer,
                    milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    certificate_until: until.map_or(0, |until| i64::try_from(until.as_millis()).unwrap_or(i64::MAX)),
                })
            })
        })
    }

    fn unknown(&self, name: &str) -> String {
        let sinks = self.lock();
        let near = words::did_you_mean(words::nearest(name, sinks.keys().map(String::as_str)));
        format!("no sink is called `{name}`{near}")
    }

    /// A sink is not configured any more, and nothing is wrong with it.
    fn remove(&self, name: &str) {
        let mut sinks = self.lock();
        if let Some((state, _)) = sinks.remove(name) {
            state.begin("");
            state.judge(&self.registry.part(part_of(name)), 0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (ConsumerState, SinkSettings)>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a sink is called where something is wrong with it.
fn part_of(name: &str) -> String {
    format!("sinks.{name}")
}

/// The uplink that runs, if a controller is configured, and the sinks.
pub(super) struct Delivering {
    with: Surroundings,
    consumers: Consumers,
    uplink: Option<Running>,
    /// Ends with the uplink.
    control: Option<JoinHandle<()>>,
    sinks: BTreeMap<String, Running>,
}

struct Running {
    replaced: CancellationToken,
    abandon: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Has it send nothing more; over when what is on its way is answered, or has had its time.
    async fn end(mut self, stopping: &CancellationToken) {
        self.replaced.cancel();
        let overdue = tokio::select! {
            _ = &mut self.task => false,
            () = stopping.cancelled() => true,
            () = tokio::time::sleep(ANSWERS_MAX) => true,
        };
        if overdue {
            self.abandon.cancel();
            let _ = self.task.await;
        }
    }
}

impl Delivering {
    /// Delivers to this controller, if there is one, and to these sinks. A consumer that is not configured any more is
    /// forgotten: nothing is kept for it.
    pub(super) fn start(
        controller: Option<&ControllerSettings>,
        sinks: &[SinkSettings],
        with: Surroundings,
    ) -> Delivering {
        let cursors = with.log.cursors().into_iter().map(|cursor| cursor.name);
        let is_left = |name: &String| {
            name != UPLINK && with.log.program(name).is_none() && !sinks.iter().any(|sink| sink.name == *name)
        };
        cursors.filter(is_left).gather::<BTreeSet<_>>().iter().for_each(|name| with.forget(name));
        let consumers = Consumers {
            uplink: with.state.consumer(),
            sinks: Arc::default(),
            registry: with.registry.clone(),
            node: with.node.clone(),
        };
        let mut delivering = Delivering { with, consumers, uplink: None, control: None, sinks: BTreeMap::new() };
        if let Some(controller) = controller {
            delivering.begin(controller);
        }
        sinks.iter().for_each(|sink| delivering.begin_sink(sink));
        delivering
    }

    /// How everybody is.
    pub(super) fn consumers(&self) -> Consumers {
        self.consumers.clone()
    }

    /// Delivers to this controller from now on, and to the former one no more.
    pub(super) async fn replace(&mut self, controller: Option<&ControllerSettings>) {
        if let Some(running) = self.uplink.take() {
            running.end(&self.with.stopping).await;
        }
        if let Some(control) = self.control.take() {
            // From here on nobody waits for what the former controller has asked.
            let _ = control.await;
        }
        self.with.state.begin(controller.map_or("", |controller| &controller.address));
        if let Some(controller) = controller {
            self.begin(controller);
        }
    }

    /// Delivers to these sinks from now on; those that are as before go on untouched.
    pub(super) async fn turn(&mut self, sinks: &[SinkSettings], is_as_before: impl Fn(&SinkSettings) -> bool) {
        let stays = |name: &str| sinks.iter().any(|sink| sink.name == name && is_as_before(sink));
        let all = std::mem::take(&mut self.sinks);
        let (staying, ending): (BTreeMap<_, _>, BTreeMap<_, _>) = all.into_iter().partition(|(name, _)| stays(name));
        self.sinks = staying;
        let stopping = self.with.stopping.clone();
        let ended = ending.into_values().map(|running| {
            let stopping = stopping.clone();
            async move { running.end(&stopping).await }
        });
        futures_util::future::join_all(ended).await;
        let known: Vec<_> = self.consumers.lock().keys().cloned().collect();
        for name in known {
            if !sinks.iter().any(|sink| sink.name == name) {
                self.consumers.remove(&name);
                self.with.forget(&name);
                if self.with.paused.get(&name).is_some() {
                    // Where the disk does not take it, whoever configures it again finds it paused, and is told.
                    let _ = self.set_pause(&name, None).await;
                }
            }
        }
        for sink in sinks.iter().filter(|sink| !is_as_before(sink)) {
            self.begin_sink(sink);
        }
    }

    fn begin(&mut self, controller: &ControllerSettings) {
        let with = &self.with;
        let settings = uplink::UplinkSettings {
            address: controller.address.clone(),
            token: controller.token.clone(),
            tls: controller.tls.clone(),
            node_id: with.node.id.to_string(),
        };
        let system_info = Arc::new(|| system_info::measure(&Host::at("/")));
        let surroundings = uplink::Surroundings { now: Arc::clone(&with.now), system_info };
        let delivery = Delivery::following(&with.log, &with.cursor, &with.threshold);
        let (replaced, abandon) = (CancellationToken::new(), with.abandon.child_token());
        let uplink = Uplink::new(settings, surroundings, with.state.clone())
            .with_patience(controller.patience)
            .keep_issued_certificate_in(with.identity.clone());
        // Ends with the uplink, whose connections it uses.
        let control = uplink.control(with.orders.clone()).run(with.stopping.clone());
        self.control = Some(with.supervisor.start(Part::job("control", Phase::Sources, control)));
        let driver = uplink
            .driver(delivery)
            .with_pulse(with.pulse.clone())
            .with_dead_letters(with.dead_letters.clone())
            .until_replaced(replaced.clone());
        let task = driver.run(with.shutdown.clone(), abandon.clone());
        let task = with.supervisor.start(Part::job(UPLINK, Phase::Delivery, task));
        self.uplink = Some(Running { replaced, abandon, task });
    }

    fn begin_sink(&mut self, settings: &SinkSettings) {
        let (with, name) = (&self.with, &settings.name);
        // One that is paused is sent nothing, whoever it is for.
        let settings = &settings.relying_on(|other| with.paused.get(other).is_none());
        let Some(sink) = settings.build() else { return };
        let Some(cursor) = with.log.cursor(name) else {
            tracing::error!(sink = name, "the event log has no place for another consumer; nothing is delivered to it");
            return;
        };
        let state = {
            let mut states = self.consumers.lock();
            let before = states.remove(name).map(|(state, _)| state);
            let state = before.unwrap_or_else(|| ConsumerState::new(name, settings.spec.name, ""));
            state.begin(&sink.target());
            states.insert(name.clone(), (state.clone(), settings.clone()));
            state
        };
        if let Some(pause) = with.paused.get(name) {
            state.pause(&format!("by {}", pause.actor), pause.since);
            return;
        }
        let (replaced, abandon) = (CancellationToken::new(), with.abandon.child_token());
        let consumer = Consumer {
            name: name.clone(),
            log: with.log.clone(),
            cursor,
            state,
            dead_letters: with.dead_letters.clone(),
            states: Arc::clone(&with.states),
            node: with.node.clone(),
            now: Arc::clone(&with.now),
            replaced: replaced.clone(),
            shutdown: with.shutdown.clone(),
            abandon: abandon.clone(),
        };
        let (settings, end) = (settings.clone(), abandon.clone());
        let task = with.supervisor.start(Part::job("sink", Phase::Delivery, keep(sink, settings, consumer, end)));
        self.sinks.insert(name.clone(), Running { replaced, abandon, task });
    }
}

/// Runs a sink to its end. A fault of one is no reason to end the others: it starts again.
async fn keep(mut sink: Box<dyn Configured>, settings: SinkSettings, consumer: Consumer, end: CancellationToken) {
    while AssertUnwindSafe(sink.run(consumer.clone())).catch_unwind().await.is_err() {
        tracing::error!(
            message_id = %message::PART_ENDED,
            sink = settings.name,
            "a sink has ended by a fault of the agent; it starts again"
        );
        let Some(anew) = settings.build() else { return };
        sink = anew;
        tokio::select! {
            () = tokio::time::sleep(RESTART_PAUSE) => {}
            () = consumer.replaced.cancelled() => return,
            () = end.cancelled() => return,
        }
    }
}

impl Surroundings {
    /// Keeps nothing more for this consumer.
    fn forget(&self, name: &str) {
        if self.log.remove_consumer(name) {
            tracing::info!(sink = name, "the sink is not configured any more; nothing is kept for it");
        }
    }
}
