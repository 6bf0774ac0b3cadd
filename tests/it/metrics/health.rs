//! The gRPC health service on the agent's socket, asked by a client that is not ours.

use tonic::{Code, Request, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::site::{PATIENCE, Site};
use crate::process::wait;

#[tokio::test]
async fn the_socket_says_that_the_agent_serves_and_at_its_end_that_it_does_not() {
    let site = Site::new();
    site.configure(None, "off");
    let mut agent = site.agent();
    wait("the agent runs", PATIENCE, || site.rodent().args(["status"]).output().ok()?.status.success().then_some(()));
    let address = format!("unix://{}", site.path("rodent.sock").display());
    let channel = Endpoint::from_shared(address).expect("an address").connect().await.expect("a connection");
    let mut client = HealthClient::new(channel);
    let asked = |service: &str| Request::new(HealthCheckRequest { service: service.to_owned() });
    for service in ["", "rodent.local.LocalService"] {
        // The first look comes with the first moment of serving.
        let mut answer = client.check(asked(service)).await;
        while answer.as_ref().is_err_and(|status| status.code() == Code::NotFound) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            answer = client.check(asked(service)).await;
        }
        assert_eq!(answer.expect("an answer").into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(client.check(asked("rodent.Moon")).await.expect_err("unknown").code(), Code::NotFound);

    let mut watched = client.watch(asked("rodent.local.LocalService")).await.expect("a stream").into_inner();
    let mut next = async || watched.message().await.map(|answer| answer.map(|answer| answer.status()));
    assert_eq!(next().await.expect("said"), Some(ServingStatus::Serving));
    let ended = tokio::task::spawn_blocking(move || agent.terminate(PATIENCE));
    let told = tokio::time::timeout(PATIENCE, next()).await.expect("it says so in time");
    assert_eq!(told.expect("said"), Some(ServingStatus::NotServing));
    assert!(ended.await.expect("it ends"), "whoever watches does not hold the agent up");
}
