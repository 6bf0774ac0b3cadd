//! How a running controller tells what it is like: `/livez`, `/readyz`, `/metrics` and the gRPC health service.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rodent::controller::server::ServerSettings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Request, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    peer::{Controller, batch, token},
    shutdown::Gate,
};

async fn controller(gate: &Arc<Gate>) -> Controller {
    Controller::with(Arc::clone(gate) as _, |settings| ServerSettings {
        http: Some("127.0.0.1:0".parse().expect("an address")),
        ..settings
    })
    .await
}

/// Status line and body of a page.
async fn get(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("a page");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().expect("a status").to_owned(), body.to_owned())
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_controller_whose_disk_is_full_but_for_the_reserve_is_not_ready() {
    use rodent::controller::store::{Quota, SqliteStore};
    let directory = tempfile::tempdir().expect("a directory");
    let quota = Quota { node_bytes: None, reserve: Some(u64::MAX) };
    let store = SqliteStore::open_with(&directory.path().join("events.db"), quota).expect("a database");
    let http = Some("127.0.0.1:0".parse().expect("an address"));
    let controller = Controller::with(Arc::new(store), |settings| ServerSettings { http, ..settings }).await;
    let address = controller.http.expect("it answers");
    let told = async {
        loop {
            let (status, body) = get(address, "GET /readyz").await;
            if status.contains("503") {
                break body;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is not ready");
    assert_eq!(told, "the store has little room left\n");
    controller.stop().await;
}

#[tokio::test]
async fn the_metrics_tell_what_was_taken_and_what_was_refused() {
    let controller = controller(&Arc::new(Gate::opened())).await;
    let http = controller.http.expect("it answers");
    let agent = controller.agent(&token("nas-1")).await;
    agent.send(&batch(1, 10)).await.expect("stored");
    agent.send(&batch(6, 10)).await.expect("stored");
    // Its connection ends with it, and is to be counted.
    let stranger = controller.agent("no token").await;
    stranger.send(&batch(1, 1)).await.expect_err("refused");
    let (status, page) = get(http, "GET /metrics").await;
    drop(stranger);
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "rodent_controller_calls_total{method=\"SendEvents\",code=\"OK\"} 2",
        "rodent_controller_calls_total{method=\"SendEvents\",code=\"UNAUTHENTICATED\"} 1",
        "rodent_controller_call_seconds_count{method=\"SendEvents\"} 3",
        "rodent_controller_events_stored_total 15",
        "rodent_controller_events_repeated_total 5",
        "rodent_controller_store_seconds_count 2",
        "rodent_controller_connections 2",
        "rodent_controller_held_bytes 0",
        "rodent_controller_waiting_batches 0",
        "rodent_controller_ready 1",
        "# TYPE rodent_controller_call_seconds histogram",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
    assert!(!page.contains("nas-1"), "no label grows with the nodes");
    assert_eq!(get(http, "GET /livez").await, ("HTTP/1.1 200 OK".to_owned(), "alive\n".to_owned()));
    assert!(get(http, "GET /").await.0.contains("404"));
    assert!(get(http, "POST /metrics").await.0.contains("405"));
    controller.stop().await;
}

/// What the health service says of the controller's service.
async fn health(address: SocketAddr) -> ServingStatus {
    let channel = Endpoint::from_shared(format!("http://{address}")).expect("an address").connect().await;
    let request = HealthCheckRequest { service: "rodent.RodentService".to_owned() };
    let answer = HealthClient::new(channel.expect("a connection")).check(Request::new(request)).await;
    answer.expect("an answer").into_inner().status()
}

/// Waits until the health service says so.
async fn becomes(address: SocketAddr, status: ServingStatus) {
    let seen = async {
        while health(address).await != status {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen).await.expect("the health follows");
}

#[tokio::test]
async fn a_failing_store_is_seen_by_whoever_asks_until_it_works_again() {
    let gate = Arc::new(Gate::opened());
    let controller = controller(&gate).await;
    let http = controller.http.expect("it answers");
    becomes(controller.address, ServingStatus::Serving).await;
    assert_eq!(get(http, "GET /readyz").await.1, "ready\n");
    gate.broken.store(true, Ordering::Relaxed);
    let agent = controller.agent(&token("nas-1")).await;
    assert_eq!(agent.send(&batch(1, 1)).await.expect_err("it fails").code(), Code::Unavailable);
    let (status, text) = get(http, "GET /readyz").await;
    assert!(status.contains("503") && text == "the store fails\n", "{status} {text}");
    becomes(controller.address, ServingStatus::NotServing).await;
    gate.broken.store(false, Ordering::Relaxed);
    agent.send(&batch(1, 1)).await.expect("stored");
    assert_eq!(get(http, "GET /readyz").await.1, "ready\n");
    becomes(controller.address, ServingStatus::Serving).await;
    controller.stop().await;
}

#[tokio::test]
async fn whoever_asks_for_the_health_of_a_name_without_end_is_refused_before_it_is_read() {
    let controller = controller(&Arc::new(Gate::opened())).await;
    let channel = Endpoint::from_shared(format!("http://{}", controller.address)).expect("an address").connect().await;
    let mut client = HealthClient::new(channel.expect("a connection"));
    for (bytes, code) in [(1000, Code::NotFound), (2000, Code::OutOfRange)] {
        let request = HealthCheckRequest { service: "x".repeat(bytes) };
        let refusal = client.check(Request::new(request)).await.expect_err("no such service");
        assert_eq!(refusal.code(), code, "{}", refusal.message());
    }
    controller.stop().await;
}

#[tokio::test]
async fn whoever_watches_is_told_of_the_end_and_does_not_hold_it_up() {
    let controller = controller(&Arc::new(Gate::opened())).await;
    let channel = Endpoint::from_shared(format!("http://{}", controller.address)).expect("an address").connect().await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = HealthClient::new(channel.expect("a connection")).watch(Request::new(request)).await;
    let watched = watched.as_mut().expect("a stream").get_mut();
    assert_eq!(watched.message().await.expect("a message").expect("one").status(), ServingStatus::Serving);
    tokio::time::timeout(Duration::from_secs(5), controller.stop()).await.expect("it ends");
    assert_eq!(watched.message().await.expect("a message").expect("the last").status(), ServingStatus::NotServing);
    assert_eq!(watched.message().await.expect("an orderly end"), None);
}
