//! How a program tells that it is well: its loops by a [`Pulse`], to its own watchdog; its parts by [`Conditions`], to
//! whoever shows how it is; as a server by the gRPC health
//! service (`grpc.health.v1.Health`), to balancers, probes and watchdogs. The service is used by the agent's socket and by
//! the controller; who may ask is theirs to say.
//!
//! Always holds of the service: who watches is told of changes only; at the end NOT_SERVING, and its stream ends, which
//! would otherwise hold the server up.

mod condition;
mod pulse;

use std::{convert::Infallible, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
pub use tonic_health::server::HealthService;
use tonic_health::{ServingStatus, server::HealthReporter};

pub use self::condition::{Condition, ConditionLevel, Conditions, Fault, Registry, verdict};
pub use self::pulse::{AtDisk, BEAT, Pulse, STUCK_AFTER, Signs};

/// How often it is looked how the server is.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the health service says of one server.
pub struct Health {
    reporter: HealthReporter,
    /// The server as a whole, whose name is empty, and the one service that counts.
    services: [&'static str; 2],
}

impl Health {
    /// Of a server with this service.
    pub fn new(service: &'static str) -> Health {
        Health { reporter: HealthReporter::new(), services: ["", service] }
    }

    /// What answers.
    pub fn service(&self) -> HealthService {
        HealthService::from_health_reporter(self.reporter.clone())
    }

    /// Says SERVING while nothing troubles the server, for as long as this is polled; nothing more once it is `stopping`.
    pub async fn follow(&self, is_troubled: impl Fn() -> bool, stopping: &CancellationToken) -> Infallible {
        let mut said = None;
        loop {
            let status = if is_troubled() { ServingStatus::NotServing } else { ServingStatus::Serving };
            // Of the end they are told by `stop`.
            if said != Some(status) && !stopping.is_cancelled() {
                self.say(status).await;
                said = Some(status);
            }
            sleep(INTERVAL).await;
        }
    }

    /// Says NOT_SERVING and ends the streams of those who watch.
    pub async fn stop(&self) {
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
