//! What one node may ask for, and what becomes of calls that the store cannot bear: refused with when to come back, and
//! nobody else is concerned.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use prost::Message;
use rodent::{
    controller::{
        Limits,
        server::ServerSettings,
        store::{EPOCHS_MAX, MemoryStore},
    },
    schema::{
        rpc,
        wire::{EventBatch, RegisterRequest, RodentRequest},
    },
};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch};
use tonic::{Code, Status, codec::CompressionEncoding, transport::Endpoint};

use super::{
    peer::{Agent, Controller, batch, token},
    shutdown::Gate,
};

async fn limited(limits: Limits) -> Controller {
    Controller::with(Arc::new(MemoryStore::default()), |settings| ServerSettings { limits, ..settings }).await
}

/// The code, and how long to wait.
fn told(refusal: &Status) -> (Code, Duration) {
    let after = rpc::retry_after(refusal.details());
    (refusal.code(), after.expect("a refusal for now says when to come back"))
}

#[tokio::test]
async fn a_node_that_calls_too_often_is_told_when_to_come_back_and_others_are_not_concerned() {
    let controller = limited(Limits { requests: Some(1), ..Limits::default() }).await;
    let (eager, other) = (controller.agent(&token("eager")).await, controller.agent(&token("other")).await);
    let refusal = loop {
        if let Err(refusal) = eager.send(&batch(1, 1)).await {
            break refusal;
        }
    };
    let (code, after) = told(&refusal);
    assert_eq!(code, Code::ResourceExhausted);
    assert!(after <= Duration::from_secs(1), "{after:?}");
    assert!(!refusal.message().contains("eager") && !refusal.message().contains("other"));
    other.send(&batch(1, 1)).await.expect("stored");
    tokio::time::sleep(after).await;
    eager.send(&batch(1, 1)).await.expect("stored");
    controller.stop().await;
}

#[tokio::test]
async fn a_node_that_has_used_up_what_is_kept_of_it_is_told_when_to_come_back_and_not_that_its_batch_is_wrong() {
    let controller = limited(Limits { requests: None, ..Limits::default() }).await;
    let agent = controller.agent(&token("nas-1")).await;
    let numbered = |epoch: usize| EventBatch { log_epoch: format!("e{epoch}"), ..batch(1, 1) };
    for epoch in 0..EPOCHS_MAX {
        agent.send(&numbered(epoch)).await.expect("stored");
    }
    let (code, after) = told(&agent.send(&numbered(EPOCHS_MAX)).await.expect_err("one too many"));
    assert_eq!((code, after), (Code::ResourceExhausted, Duration::from_secs(10 * 60)));
    agent.send(&numbered(0)).await.expect("known");
    controller.stop().await;
}

#[tokio::test]
async fn a_batch_beyond_the_rate_is_taken_and_the_next_has_to_wait_for_it() {
    let events = Limits { events: Some(100), ..Limits::default() };
    let bytes = Limits { bytes: Some(2000), ..Limits::default() };
    for limits in [events, bytes] {
        let controller = limited(limits).await;
        let agent = controller.agent(&token("nas-1")).await;
        agent.send(&batch(1, 500)).await.expect("stored");
        let (code, after) = told(&agent.send(&batch(501, 1)).await.expect_err("in debt"));
        assert_eq!(code, Code::ResourceExhausted);
        assert!(after <= Duration::from_secs(60), "{after:?}");
        agent.client().register(agent.request(RegisterRequest::default())).await.expect("sends nothing");
        assert_eq!(controller.stored().await.events.len(), 500);
        controller.stop().await;
    }
}

#[tokio::test]
async fn what_is_refused_costs_a_node_what_it_was_made_of() {
    let limits = Limits { bytes: Some(64 * 1024), ..Limits::default() };
    let oversize = vec![0; 4 * 1024 * 1024 + 1];
    let cut_off = batch(1, 10_000).encode_to_vec();
    for (request, compression) in [
        (oversize.clone(), Some(CompressionEncoding::Zstd)),
        (oversize.clone(), Some(CompressionEncoding::Gzip)),
        (oversize, None),
        (cut_off.split_at(cut_off.len() - 1).0.to_vec(), None),
    ] {
        let controller = limited(limits).await;
        let agent = controller.agent(&token("nas-1")).await;
        let agent = match compression {
            Some(encoding) => agent.compressing(encoding),
            None => agent,
        };
        let refusal = agent.send_bytes(request).await.expect_err("at fault");
        assert_eq!(refusal.code(), Code::InvalidArgument, "{compression:?}: {}", refusal.message());
        let (code, after) = told(&agent.send(&batch(1, 1)).await.expect_err("in debt"));
        assert_eq!(code, Code::ResourceExhausted);
        assert!(after <= Duration::from_secs(64), "charged once: {after:?}");
        controller.agent(&token("nas-2")).await.send(&batch(1, 1)).await.expect("another node");
        controller.stop().await;
    }
}

#[tokio::test]
async fn calls_of_one_node_at_once_are_bounded_and_open_streams_count() {
    let controller = limited(Limits { calls_max: 2, ..Limits::default() }).await;
    let agent = controller.agent(&token("nas-1")).await;
    let (end, ended) = watch::channel(());
    let open = || async {
        let mut ended = ended.clone();
        let said = stream::pending().take_until(async move { ended.changed().await });
        agent.client().connect(agent.request(said)).await
    };
    let streams = [open().await.expect("one"), open().await.expect("two")];
    let (code, _) = told(&agent.send(&batch(1, 1)).await.expect_err("a third call"));
    assert_eq!(code, Code::ResourceExhausted);
    controller.agent(&token("nas-2")).await.send(&batch(1, 1)).await.expect("another node");
    drop((end, streams));
    let stored = async {
        while agent.send(&batch(1, 1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stored).await.expect("ended streams count no more");
    controller.stop().await;
}

#[tokio::test]
async fn streams_whose_answers_nobody_reads_hold_nothing_of_the_controller() {
    // Together more than the window of a connection lets a peer send that nobody listens to.
    const STREAMS: usize = 8;
    const MESSAGES: usize = 200;
    const MESSAGE_BYTES: usize = 16 * 1024;
    let controller = Controller::in_memory().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", controller.address)).expect("an address");
    // No answer fits in it, but the answer to a batch does.
    let channel = endpoint.initial_stream_window_size(1024).connect().await.expect("a connection");
    let agent = Agent::on(channel, &token("nas-1"));
    let sent = Arc::new(AtomicUsize::new(0));
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let count = Arc::clone(&sent);
        let said = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            RodentRequest { request_id: "x".repeat(MESSAGE_BYTES), payload: None }
        });
        let said = said.take(MESSAGES).chain(stream::pending());
        streams.push(agent.client().connect(agent.request(said)).await.expect("a stream"));
    }
    let taken = async {
        while sent.load(Ordering::Relaxed) < STREAMS * MESSAGES {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        agent.send(&batch(1, 1)).await.expect("stored");
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), taken).await;
    assert!(waited.is_ok(), "the rest of {} messages waits", sent.load(Ordering::Relaxed));
    controller.stop().await;
}

#[tokio::test]
async fn connections_are_bounded_for_a_node_and_for_all() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let controller = Controller::with(Arc::new(MemoryStore::default()), |settings| ServerSettings {
        limits,
        connections_max: 3,
        ..settings
    })
    .await;
    let mut agents = Vec::new();
    for node in ["nas-1", "nas-1", "nas-1", "nas-2", "nas-3"] {
        agents.push(controller.agent(&token(node)).await);
    }
    agents[0].send(&batch(1, 1)).await.expect("stored");
    agents[1].send(&batch(2, 1)).await.expect("stored");
    let (code, _) = told(&agents[2].send(&batch(3, 1)).await.expect_err("a third connection"));
    assert_eq!(code, Code::ResourceExhausted);
    agents[0].send(&batch(3, 1)).await.expect("the first ones are not concerned");
    agents[3].send(&batch(1, 1)).await.expect("the last place");
    let refusal = agents[4].send(&batch(1, 1)).await.expect_err("no place is left");
    assert_eq!(told(&refusal).0, Code::ResourceExhausted);
    assert!(refusal.message().contains("has places for"), "{}", refusal.message());
    drop(agents.remove(3));
    let taken = async {
        while agents[3].send(&batch(1, 1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken).await.expect("a place that is left is another's");
    controller.stop().await;
}

#[tokio::test]
async fn strangers_take_no_place_from_a_node_and_the_oldest_of_them_goes() {
    // With so few places there are sixteen for strangers, and one address has eight.
    let controller = Controller::with(Arc::new(MemoryStore::default()), |settings| ServerSettings {
        connections_max: 2,
        ..settings
    })
    .await;
    let known = controller.agent(&token("nas-1")).await;
    known.send(&batch(1, 1)).await.expect("stored");
    let mut strangers = Vec::new();
    for _ in 0..40 {
        strangers.push(TcpStream::connect(controller.address).await.expect("accepted"));
    }
    // Ok or not: it is over.
    let mut ends = async |stranger: usize, within| {
        let mut rest = Vec::new();
        tokio::time::timeout(within, strangers[stranger].read_to_end(&mut rest)).await
    };
    ends(0, Duration::from_secs(20)).await.expect("closed, not waiting").unwrap_or_default();
    controller.agent(&token("nas-2")).await.send(&batch(1, 1)).await.expect("a node that comes has a place");
    known.send(&batch(2, 1)).await.expect("a node that is there stays");
    assert!(ends(39, Duration::from_millis(200)).await.is_err(), "the newest stay");
    controller.stop().await;
}

#[tokio::test]
async fn the_events_of_a_batch_without_a_node_are_those_of_the_token() {
    let controller = Controller::in_memory().await;
    let batch = batch(1, 2);
    assert!(batch.node_id.is_empty());
    controller.agent(&token("nas-7")).await.send(&batch).await.expect("stored");
    let nodes: Vec<_> = controller.stored().await.events.iter().map(|event| event.node.to_string()).collect();
    assert_eq!(nodes, ["nas-7", "nas-7"]);
    controller.stop().await;
}

#[tokio::test]
async fn a_store_that_stands_still_turns_calls_away_instead_of_letting_them_hang() {
    let gate = Arc::new(Gate::default());
    let controller = Controller::start(Arc::clone(&gate) as _).await;
    let agents: Vec<Agent> = join_all((0..8).map(|n| controller.agent_named(format!("nas-{n}")))).await;
    let late = controller.agent(&token("late")).await;
    let batch = batch(1, 1);
    let mut waiting = agents.iter().map(|agent| agent.send(&batch).boxed()).collect::<stream::FuturesUnordered<_>>();
    let begun = Instant::now();
    let refused = async {
        loop {
            // Each try that is let in waits for the store, too.
            let tried = tokio::time::timeout(Duration::from_millis(500), late.send(&batch)).await;
            if let Ok(answer) = tried {
                break answer.expect_err("the store stands still");
            }
        }
    };
    let refusal = tokio::select! {
        refusal = refused => refusal,
        answer = waiting.next() => panic!("answered before the store did: {answer:?}"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("nobody is turned away"),
    };
    let (code, after) = told(&refusal);
    assert_eq!(code, Code::Unavailable);
    assert!(after >= Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(20), "{after:?}");
    gate.open();
    while let Some(answer) = waiting.next().await {
        assert!(answer.expect("answered, now that the store goes on").success);
    }
    late.send(&batch).await.expect("the store is fast again");
    controller.stop().await;
}
