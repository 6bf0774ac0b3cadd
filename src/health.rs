//! How a program tells that it is well: its loops by a [`Pulse`], to its own watchdog; its parts by [`Conditions`], to
//! whoever shows how it is; as a server by the gRPC health
//! service (`grpc.health.v1.Health`), to balancers, probes and watchdogs. The service is used by the agent's socket and by
//! the controller; who may ask is theirs to say.
//!
//! Always holds of the service: who watches is told of changes only; at the end NOT_SERVING, and its stream ends, which
//! would otherwise hold the server up.

mod condition;
mod pulse;

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::sync::Mutex;
pub use tonic_health::server::HealthService;
use tonic_health::{ServingStatus, server::HealthReporter};

pub use self::condition::{Condition, ConditionLevel, Conditions, Fault, Registry, verdict};
pub use self::pulse::{AtDisk, BEAT, Pulse, STUCK_AFTER, Signs, round};

/// What the health service says of one server. Cheap to copy.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    /// The server as a whole, whose name is empty, and the one service that counts.
    services: [&'static str; 2],
    said: Arc<Mutex<Said>>,
}

/// What was said last.
#[derive(Default)]
struct Said {
    status: Option<ServingStatus>,
    /// Nothing is said any more.
    stopped: bool,
}

impl Health {
    /// Of a server with this service.
    pub fn new(service: &'static str) -> Health {
        Health { reporter: HealthReporter::new(), services: ["", service], said: Arc::default() }
    }

    /// What answers.
    pub fn service(&self) -> HealthService {
        HealthService::from_health_reporter(self.reporter.clone())
    }

    /// Says SERVING while nothing troubles the server, for as long as this is polled: looks each `interval`.
    pub async fn follow(&self, is_troubled: impl Fn() -> bool, interval: Duration) -> Infallible {
        loop {
            self.tell(is_troubled()).await;
            round(interval).await;
        }
    }

    /// Says how the server is now, where that is not said already, and unless it has stopped.
    pub async fn tell(&self, is_troubled: bool) {
        let status = if is_troubled { ServingStatus::NotServing } else { ServingStatus::Serving };
        let mut said = self.said.lock().await;
        if !said.stopped && said.status.replace(status) != Some(status) {
            self.say(status).await;
        }
    }

    /// Says NOT_SERVING and ends the streams of those who watch.
    pub async fn stop(&self) {
        self.said.lock().await.stopped = true;
        self.say(ServingStatus::NotServing).await;
        let mut reporter = self.reporter.clone();
        for service in self.services {
            reporter.clear_service_status(service).await;
        }
    }

    async fn say(&self, status: ServingStatus) {
        for service in self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
