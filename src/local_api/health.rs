//! Who may ask the socket for its health: whoever may call it otherwise. It tells less than `status`, but a door with two
//! rules is one that nobody remembers.

use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_server::{Health, HealthServer},
};

use super::gate::Gate;
use crate::health::HealthService;

/// The health service behind the gate.
pub(super) struct Guarded {
    gate: Gate,
    service: HealthService,
}

impl Guarded {
    pub(super) fn new(gate: Gate, service: HealthService) -> HealthServer<Guarded> {
        HealthServer::new(Guarded { gate, service })
    }
}

#[tonic::async_trait]
impl Health for Guarded {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.gate.admit(&request).await?;
        self.service.check(request).await
    }

    type WatchStream = <HealthService as Health>::WatchStream;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.gate.admit(&request).await?;
        self.service.watch(request).await
    }
}
