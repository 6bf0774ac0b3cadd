//! The gRPC health service (`grpc.health.v1.Health`): what balancers ask. SERVING while batches are taken, NOT_SERVING
//! while the server stops or the store fails. It asks for no token; a connection that carries nothing else ends
//! after half a minute.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::sleep;
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as Asked, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::{service::RodentService, state::State};

/// The server as a whole, and the one service that counts.
const SERVICES: [&str; 2] = ["", RodentService::NAME];

/// How often it is looked how the controller is.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the health service says.
pub(super) struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// The health, and the service that tells it.
    pub(super) fn new() -> (Health, HealthServer<impl Asked>) {
        let (reporter, service) = health_reporter();
        (Health { reporter }, service)
    }

    /// Says how the controller is, for as long as this is polled.
    pub(super) async fn follow(&self, state: &Arc<State>) -> Infallible {
        let mut said = None;
        loop {
            let status = match state.trouble() {
                None => ServingStatus::Serving,
                Some(_) => ServingStatus::NotServing,
            };
            // Those who watch are told of changes only; of the end they are told by `stop`.
            if said != Some(status) && !state.stopping.is_cancelled() {
                self.say(status).await;
                said = Some(status);
            }
            sleep(INTERVAL).await;
        }
    }

    /// Says NOT_SERVING and ends the streams of those who watch, which would hold the server up.
    pub(super) async fn stop(&self) {
        self.say(ServingStatus::NotServing).await;
        let mut reporter = self.reporter.clone();
        for service in SERVICES {
            reporter.clear_service_status(service).await;
        }
    }

    async fn say(&self, status: ServingStatus) {
        for service in SERVICES {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
