//! Who may ask the socket for its health: whoever may call it otherwise. It tells less than `status`, but a door with two
//! rules is one that nobody remembers. Who asks is told how it is at that moment.

use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_server::{Health, HealthServer},
};

use super::{TroubleSource, gate::Gate};
use crate::health::{self, HealthService};

/// The health service behind the gate.
pub(super) struct Guarded {
    gate: Gate,
    health: health::Health,
    trouble: TroubleSource,
    service: HealthService,
}

impl Guarded {
    pub(super) fn new(gate: Gate, health: health::Health, trouble: TroubleSource) -> HealthServer<Guarded> {
        let service = health.service();
        HealthServer::new(Guarded { gate, health, trouble, service })
    }

    async fn look(&self) {
        self.health.tell((self.trouble)().is_some()).await;
    }
}

#[tonic::async_trait]
impl Health for Guarded {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.gate.admit(&request).await?;
        self.look().await;
        self.service.check(request).await
    }

    type WatchStream = <HealthService as Health>::WatchStream;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.gate.admit(&request).await?;
        self.look().await;
        self.service.watch(request).await
    }
}
