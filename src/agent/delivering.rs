//! Keeps the uplink: starts one towards the configured controller, and replaces it when another is configured.
//!
//! Always holds: of one cursor there is never more than one uplink at work, and the next one goes on where the cursor
//! stands, so that nothing is left out and nothing comes twice but what was on its way and not answered.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    config::ControllerSettings,
    supervisor::{Part, Phase, Supervisor},
    system_info,
};
use crate::{
    dead_letters::DeadLetters,
    event_log::{Cursor, EventLog},
    health::Pulse,
    host::Host,
    sinks::{
        Delivery, Threshold,
        uplink::{self, Uplink, UplinkState, control::Order},
    },
};

/// How long what is on its way may take to be answered when another controller is configured. What is not is sent again, to
/// the new one.
const ANSWERS_MAX: Duration = Duration::from_secs(2);

/// Name of the task.
const UPLINK: &str = "uplink";

/// What an uplink is made of, whatever the controller.
pub(super) struct Surroundings {
    pub(super) log: EventLog,
    pub(super) cursor: Cursor,
    pub(super) threshold: watch::Sender<Threshold>,
    pub(super) state: UplinkState,
    pub(super) dead_letters: DeadLetters,
    /// Where the certificate is kept that the controller issues.
    pub(super) identity: PathBuf,
    pub(super) node_id: String,
    /// Unix milliseconds.
    pub(super) now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// The signs of life of whichever uplink is at work.
    pub(super) pulse: Pulse,
    /// Takes what controllers ask.
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) supervisor: Supervisor,
    /// The agent begins to stop.
    pub(super) stopping: CancellationToken,
    /// Nothing more will come: what is left is to be delivered.
    pub(super) shutdown: CancellationToken,
    /// The grace is over.
    pub(super) abandon: CancellationToken,
}

/// The uplink that runs, if a controller is configured.
pub(super) struct Delivering {
    with: Surroundings,
    running: Option<Running>,
}

struct Running {
    replaced: CancellationToken,
    abandon: CancellationToken,
    task: JoinHandle<()>,
    /// Ends with the task.
    control: JoinHandle<()>,
}

impl Delivering {
    /// Delivers to this controller; without one, nothing.
    pub(super) fn start(controller: Option<&ControllerSettings>, with: Surroundings) -> Delivering {
        let running = controller.map(|controller| with.begin(controller));
        Delivering { with, running }
    }

    /// Delivers to this controller from now on, and to the former one no more.
    pub(super) async fn replace(&mut self, controller: Option<&ControllerSettings>) {
        if let Some(Running { replaced, abandon, mut task, control }) = self.running.take() {
            replaced.cancel();
            let overdue = tokio::select! {
                _ = &mut task => false,
                () = self.with.stopping.cancelled() => true,
                () = tokio::time::sleep(ANSWERS_MAX) => true,
            };
            if overdue {
                abandon.cancel();
                let _ = task.await;
            }
            // From here on nobody waits for what the former controller has asked.
            let _ = control.await;
        }
        self.with.state.begin(controller.map_or("", |controller| &controller.address));
        self.running = controller.map(|controller| self.with.begin(controller));
    }
}

impl Surroundings {
    fn begin(&self, controller: &ControllerSettings) -> Running {
        let settings = uplink::Settings {
            address: controller.address.clone(),
            token: controller.token.clone(),
            tls: controller.tls.clone(),
            node_id: self.node_id.clone(),
        };
        let system_info = Arc::new(|| system_info::measure(&Host::at("/")));
        let surroundings = uplink::Surroundings { now: Arc::clone(&self.now), system_info };
        let delivery = Delivery::following(&self.log, &self.cursor, &self.threshold);
        let (replaced, abandon) = (CancellationToken::new(), self.abandon.child_token());
        let uplink = Uplink::new(settings, surroundings, delivery, self.state.clone())
            .with_patience(controller.patience)
            .with_pulse(self.pulse.clone())
            .with_dead_letters(self.dead_letters.clone())
            .keep_issued_certificate_in(self.identity.clone())
            .until_replaced(replaced.clone());
        // Ends with the uplink, whose connections it uses.
        let control = uplink.control(self.orders.clone()).run(self.stopping.clone());
        let control = self.supervisor.start(Part::job("control", Phase::Sources, control));
        let task = uplink.run(self.shutdown.clone(), abandon.clone());
        let task = self.supervisor.start(Part::job(UPLINK, Phase::Delivery, task));
        Running { replaced, abandon, task, control }
    }
}
