//! What a caller is told who does something wrong, and that nothing of it is stored.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{StreamExt, stream};
use prost::Message;
use rodent::schema::wire::{
    Acknowledgement, CommandResponse, EventBatch, EventNotification, RegisterRequest, RodentRequest,
    rodent_request::Payload as Said, toggle_request::Payload as Answer,
};
use tonic::{Code, codec::CompressionEncoding};

use super::peer::{Controller, SECRET, batch, token, token_until};

/// What is sent is refused with this code and a message that has this in it, and leaves nothing behind.
async fn refused(controller: &Controller, request: Vec<u8>, code: Code, part: &str) {
    let agent = controller.agent(&token("nas-1")).await;
    let refusal = agent.send_bytes(request).await.expect_err(part);
    assert_eq!((refusal.code(), refusal.message().contains(part)), (code, true), "{part}: {}", refusal.message());
    assert_eq!(controller.stored_ids().await, [""; 0], "{part}");
}

#[tokio::test]
async fn a_batch_at_fault_is_told_what_is_wrong_with_it() {
    let controller = Controller::in_memory().await;
    let cases: [(EventBatch, Code, &str); 12] = [
        (EventBatch { node_id: "nas-2".into(), ..batch(1, 1) }, Code::PermissionDenied, "\"nas-2\""),
        (EventBatch { lane: "express".into(), ..batch(1, 1) }, Code::InvalidArgument, "lane \"express\""),
        (EventBatch { lane: String::new(), ..batch(1, 1) }, Code::InvalidArgument, "lane \"\""),
        (EventBatch { last_sequence: 3, ..batch(1, 2) }, Code::InvalidArgument, "1 to 3 do not number 2 events"),
        (EventBatch { first_sequence: 0, ..batch(1, 1) }, Code::InvalidArgument, "0 to 1"),
        (EventBatch { first_sequence: 9, ..batch(1, 1) }, Code::InvalidArgument, "9 to 1"),
        (EventBatch { first_sequence: 0, last_sequence: 0, ..batch(1, 1) }, Code::InvalidArgument, "0 to 0"),
        (
            EventBatch { first_sequence: u64::MAX, last_sequence: u64::MAX, ..batch(1, 1) },
            Code::InvalidArgument,
            "do not number",
        ),
        (EventBatch { events: Vec::new(), ..batch(1, 1) }, Code::InvalidArgument, "do not number 0 events"),
        (EventBatch { log_epoch: "e".repeat(65), ..batch(1, 1) }, Code::InvalidArgument, "log_epoch"),
        (EventBatch { log_epoch: "e\u{1b}[2J".into(), ..batch(1, 1) }, Code::InvalidArgument, "log_epoch"),
        (batch(1, 10_001), Code::InvalidArgument, "more than 10000 events"),
    ];
    for (batch, code, part) in cases {
        refused(&controller, batch.encode_to_vec(), code, part).await;
    }
    controller.stop().await;
}

#[tokio::test]
async fn a_batch_of_the_right_node_and_one_without_events_are_taken() {
    let controller = Controller::in_memory().await;
    let agent = controller.agent(&token("nas-1")).await;
    for right in [EventBatch { node_id: "nas-1".into(), ..batch(1, 1) }, EventBatch::default()] {
        assert!(agent.send(&right).await.expect("taken").success);
    }
    assert_eq!(controller.stored_ids().await, ["n1"]);
    controller.stop().await;
}

#[tokio::test]
async fn malformed_and_oversize_requests_are_refused_by_name() {
    let controller = Controller::in_memory().await;
    let mut large = batch(1, 2);
    large.events[1].source = "x".repeat(17 * 1024);
    let invalid = Code::InvalidArgument;
    refused(&controller, large.encode_to_vec(), invalid, "event 1 of the batch has 17").await;
    refused(&controller, vec![0x0a, 200, 1], invalid, "malformed at byte 0").await;
    // An event that is no message: field 1 of wire type 7.
    let head = EventBatch { events: Vec::new(), ..batch(1, 1) }.encode_to_vec();
    refused(&controller, [vec![0x0a, 1, 0x0f], head].concat(), invalid, "event 0 of the batch").await;
    let oversize = vec![0; 4 * 1024 * 1024 + 1];
    refused(&controller, oversize.clone(), invalid, "larger than 4194304 bytes").await;
    // So large that it is not even read to its end.
    refused(&controller, vec![0; 9 * 1024 * 1024], invalid, "larger than 4194304 bytes").await;
    let bomb = controller.agent(&token("nas-1")).await.compressing(CompressionEncoding::Zstd);
    let refusal = bomb.send_bytes(oversize).await.expect_err("too large when decompressed");
    assert_eq!((refusal.code(), refusal.message().contains("4194304")), (invalid, true), "{}", refusal.message());
    controller.stop().await;
}

/// The token of a node with another header, signature as it was.
fn with_algorithm(algorithm: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
    let token = token("nas-1");
    format!("{header}.{}", token.split_once('.').expect("three parts").1)
}

#[tokio::test]
async fn every_call_needs_a_valid_token() {
    let controller = Controller::in_memory().await;
    let tokens = [
        (String::new(), "authorization"),
        ("no.such.token".to_owned(), "malformed"),
        (token_until("nas-1", SECRET, -3600), "expired"),
        (token_until("nas-1", "the secret of another controller ...", 3600), "signature"),
        (with_algorithm("HS384"), "algorithm"),
        (with_algorithm("none"), "malformed"),
    ];
    for (token, part) in tokens {
        let agent = controller.agent(&token).await;
        let sent = agent.send(&batch(1, 1)).await.expect_err(part);
        let registered = agent.client().register(agent.request(RegisterRequest::default())).await.expect_err(part);
        let connected = agent.client().connect(agent.request(stream::empty())).await.expect_err(part);
        for refusal in [sent, registered, connected] {
            let told = refusal.message();
            assert_eq!((refusal.code(), told.contains(part)), (Code::Unauthenticated, true), "{part}: {told}");
        }
    }
    assert!(controller.store.nodes().await.expect("nodes").is_empty());
    controller.stop().await;
}

#[tokio::test]
async fn a_node_that_registers_is_seen() {
    let controller = Controller::in_memory().await;
    let agent = controller.agent(&token("nas-1")).await;
    let answer = agent.client().register(agent.request(RegisterRequest::default())).await.expect("registered");
    assert!(answer.into_inner().success);
    let nodes = controller.store.nodes().await.expect("nodes");
    assert_eq!((nodes.len(), nodes[0].node.as_str(), nodes[0].events), (1, "nas-1", 0));
    assert!(nodes[0].seen_at > 1_700_000_000_000);
    controller.stop().await;
}

#[tokio::test]
async fn the_control_stream_acknowledges_what_it_is_told_until_the_controller_stops() {
    let controller = Controller::in_memory().await;
    let agent = controller.agent(&token("nas-1")).await;
    let said = [
        ("1", Some(Said::Event(EventNotification::default()))),
        ("2", Some(Said::Ack(Acknowledgement::default()))),
        ("3", Some(Said::CommandResponse(CommandResponse::default()))),
        ("4", None),
    ];
    let said = stream::iter(said.map(|(id, payload)| RodentRequest { request_id: id.into(), payload }));
    // The agent stays: its half of the stream never ends.
    let answers = agent.client().connect(agent.request(said.chain(stream::pending()))).await.expect("a stream");
    let mut answers = answers.into_inner();
    for (id, success) in [("1", true), ("2", true), ("3", false), ("4", false)] {
        let answer = answers.message().await.expect("no error").expect("an answer");
        let Some(Answer::Ack(ack)) = answer.payload else { panic!("an acknowledgement") };
        assert_eq!((answer.request_id.as_str(), ack.request_id.as_str(), ack.success), (id, id, success));
    }
    tokio::time::timeout(Duration::from_secs(5), controller.stop()).await.expect("an open stream holds nothing up");
    assert_eq!(answers.message().await.expect("an orderly end"), None);
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    use tonic::{codegen::http::uri::PathAndQuery, transport::Endpoint};
    let controller = Controller::in_memory().await;
    let channel = Endpoint::from_shared(format!("http://{}", controller.address)).expect("an address");
    let mut grpc = tonic::client::Grpc::new(channel.connect().await.expect("a connection"));
    grpc.ready().await.expect("ready");
    let agent = controller.agent(&token("nas-1")).await;
    let codec = tonic_prost::ProstCodec::<RegisterRequest, RegisterRequest>::default();
    let path = PathAndQuery::from_static("/rodent.RodentService/Reboot");
    let refusal = grpc.unary(agent.request(RegisterRequest::default()), path, codec).await.expect_err("no such method");
    assert_eq!(refusal.code(), Code::Unimplemented);
    controller.stop().await;
}
