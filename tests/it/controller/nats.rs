//! The store on NATS JetStream, with a server from the distribution's packages that the test starts and kills.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::message::PublishMessage;
use rodent::{
    controller::store::{Account, ArrivedEvent, EPOCHS_MAX, NatsSettings, NatsStore, Query, Quota, Store},
    event::Filter,
    schema::wire::EventBatch,
};
use serde_json::json;
use tempfile::TempDir;
use tonic::Code;

use super::{
    completeness::report,
    peer::{Agent, Controller, batch, event, token},
    process::{Place, text},
};
use crate::{
    address::own_address,
    process::{Process, wait},
};

/// How long anything may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with JetStream in a directory of its own.
struct Server {
    process: Option<Process>,
    directory: TempDir,
    address: String,
    arguments: Vec<String>,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut server = Server {
            process: None,
            directory: tempfile::tempdir().expect("a directory"),
            address: own_address().to_string(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        };
        server.restart();
        server
    }

    /// Kills it, if it runs, by SIGKILL.
    fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again over the same directory, on the same port.
    fn restart(&mut self) {
        let directory = self.directory.path();
        let port = self.address.rsplit(':').next().expect("a port");
        let mut command = Command::new(program());
        command.args(["-a", "127.0.0.1", "-p", port, "-js", "-sd"]).arg(directory);
        command.arg("--ports_file_dir").arg(directory).args(&self.arguments).stdout(Stdio::null());
        let process = Process::start(&mut command, &directory.join("log"));
        let ports = directory.join(format!("nats-server_{}.ports", process.child.id()));
        self.address = wait("nats-server tells where it listens", PATIENCE, || {
            let ports: serde_json::Value = serde_json::from_str(&fs::read_to_string(&ports).ok()?).ok()?;
            Some(ports["nats"][0].as_str()?.strip_prefix("nats://")?.to_owned())
        });
        self.process = Some(process);
    }

    fn store(&self) -> String {
        format!("nats://{}/RODENT", self.address)
    }

    async fn open(&self) -> Arc<NatsStore> {
        open(&self.store()).await.expect("a stream")
    }
}

/// Debian has it where only root looks.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = places.map(|place| place.join("nats-server")).find(|program| program.is_file());
    found.expect("nats-server is not installed: `apt-get install nats-server`, or tests/e2e/install.sh, brings it")
}

async fn open(store: &str) -> Result<Arc<NatsStore>, String> {
    open_with(store, Quota::default()).await
}

async fn open_with(store: &str, quota: Quota) -> Result<Arc<NatsStore>, String> {
    let settings: NatsSettings = store.parse().expect("settings");
    let opening = tokio::task::spawn_blocking(move || NatsStore::open_with(&settings, quota));
    opening.await.expect("no panic").map(Arc::new).map_err(|error| error.to_string())
}

async fn events(store: &dyn Store, since: Option<u64>, limit: usize) -> Vec<ArrivedEvent> {
    let query = Query { filter: Filter::default(), from: i64::MIN, node: None, since, limit };
    store.query(&query).await.expect("a page").events
}

fn sequences(events: &[ArrivedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.place.as_ref().map_or(0, |place| place.sequence)).collect()
}

async fn account(store: &dyn Store) -> Account {
    Account::of(&store.nodes().await.expect("nodes")[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_in_a_stream_is_read_back_in_order_with_its_bytes_and_its_losses() {
    let server = Server::start(&[]);
    let store = server.open().await;
    let controller = Controller::start(Arc::<NatsStore>::clone(&store)).await;
    let agent = controller.agent(&token("nas.1>*")).await;
    let mut tail = store.tail();
    let answer = agent.send(&batch(1, 10)).await.expect("stored");
    assert_eq!((answer.success, answer.message.as_str()), (true, "10 stored, 0 repeated"));
    let rodent::controller::store::Tailed::Event(first) = tail.next().await.expect("it is there") else {
        panic!("nothing was missed")
    };
    assert_eq!((first.row, sequences(&[(*first).clone()])), (1, vec![1]));
    for first in [31, 11] {
        agent.send(&batch(first, 10)).await.expect("stored");
    }
    agent.send(&report(1, 21, 25, "event_log")).await.expect("stored");

    let page = events(&*store, None, 100).await;
    assert_eq!(sequences(&page[..30]), (1..=20).chain(31..=40).collect::<Vec<_>>());
    assert_eq!((&*page[0].node, page[0].view().expect("an event").id()), ("nas.1>*", "n1"));
    use prost::Message;
    assert_eq!(page[0].bytes, event("n1").encode_to_vec());
    assert_eq!(sequences(&events(&*store, None, 12).await), [20, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 1]);
    assert_eq!(sequences(&events(&*store, Some(10), 3).await), [31, 32, 33]);

    let node = store.nodes().await.expect("nodes").remove(0);
    assert_eq!((node.node.as_str(), node.organisation.as_str(), node.events), ("nas.1>*", "acme", 31));
    let account = Account::of(&node);
    let holes = &account.lanes[0].epochs[0].missing;
    assert_eq!(holes.iter().map(|hole| (hole.first, hole.last)).collect::<Vec<_>>(), [(26, 30)]);
    assert_eq!((account.lanes[0].lost, account.missing()), (5, 5));
    assert_eq!(store.node("nobody").await.expect("an answer"), None);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_for_is_lost_when_the_server_is_killed_and_agents_keep_the_rest() {
    let mut server = Server::start(&[]);
    let controller = Controller::start(server.open().await).await;
    let agent = controller.agent(&token("nas-1")).await;
    let mut refused = 0;
    for first in (1..=2000).step_by(50) {
        // Killed while the batch is on its way, wherever that is.
        let batch = batch(first, 50);
        let (mut answer, ()) = tokio::join!(agent.send(&batch), async {
            if first == 501 || first == 1001 {
                server.kill();
            }
        });
        while let Err(refusal) = answer {
            assert_eq!(refusal.code(), Code::Unavailable, "{}", refusal.message());
            refused += 1;
            if server.process.is_none() {
                // Away: the answer comes at once, not after a timeout.
                let refusal = agent.send(&batch).await.expect_err("nobody is there");
                assert_eq!(refusal.code(), Code::Unavailable);
                server.restart();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer = agent.send(&batch).await;
        }
        if server.process.is_none() {
            server.restart();
        }
    }
    assert!(refused < 2000, "it came back");
    let page = events(&*controller.store, None, 5000).await;
    assert_eq!(sequences(&page), (1..=2000).collect::<Vec<_>>());
    let account = account(&*controller.store).await;
    assert_eq!((account.missing(), account.lanes[0].received), (0, 2000));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_controllers_share_a_stream_and_each_event_is_in_it_once() {
    let server = Server::start(&[]);
    let controllers = [Controller::start(server.open().await).await, Controller::start(server.open().await).await];
    let [left, right] = [controllers[0].agent(&token("nas-1")).await, controllers[1].agent(&token("nas-1")).await];
    for first in (1..=401).step_by(100) {
        let batch = batch(first, 100);
        let (one, two) = tokio::join!(left.send(&batch), right.send(&batch));
        assert!(one.expect("stored").success && two.expect("stored").success);
    }
    let plain = EventBatch { events: vec![event("a"), event("b"), event("a")], ..EventBatch::default() };
    assert_eq!(left.send(&plain).await.expect("stored").message, "2 stored, 1 repeated");
    assert_eq!(right.send(&plain).await.expect("stored").message, "0 stored, 3 repeated");
    for controller in &controllers {
        let node = controller.store.nodes().await.expect("nodes").remove(0);
        assert_eq!((node.events, node.overlaps.len()), (502, 0));
        assert_eq!(Account::of(&node).missing(), 0);
        assert_eq!(events(&*controller.store, None, 1000).await.len(), 502);
    }
    for controller in controllers {
        controller.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_refused_and_what_is_renumbered_is_told_to_be_there_twice() {
    let server = Server::start(&[]);
    let controller = Controller::start(server.open().await).await;
    let agent = controller.agent(&token("nas-1")).await;
    agent.send(&batch(1, 3)).await.expect("stored");
    let mut forked = batch(2, 3);
    forked.events[1].event_id = "another".into();
    let refusal = agent.send(&forked).await.expect_err("a fork");
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("routine 3 of epoch e1"), "{}", refusal.message());
    agent.send(&EventBatch { log_epoch: "e2".into(), ..forked }).await.expect("stored");
    let account = account(&*controller.store).await;
    let lane = &account.lanes[0];
    assert_eq!((lane.missing, lane.repeated), (0, 2), "2 and 4: {lane:?}");
    assert_eq!(lane.epochs[1].overlaps[0].differs_at, Some(3));
    controller.stop().await;
}

/// Sends until the node is refused for something that it has used up; the refusal.
async fn until_refused(agent: &Agent, first: &mut u64) -> String {
    let end = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < end {
        match agent.send(&batch(*first, 10)).await {
            Ok(_) => *first += 10,
            Err(refusal) if refusal.code() == Code::ResourceExhausted => return refusal.message().to_owned(),
            Err(refusal) => panic!("{refusal}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it was never refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_in_a_stream_what_it_may_is_refused_by_every_controller_and_others_are_not() {
    let server = Server::start(&[]);
    let quota = Quota { node_bytes: Some(10_000), reserve: None };
    let mut first = 1;
    // The second knows of what the node has stored through the first from the stream alone.
    for _ in 0..2 {
        let store = open_with(&server.store(), quota).await.expect("a stream");
        let controller = Controller::start(store).await;
        let refusal = until_refused(&controller.agent(&token("flood")).await, &mut first).await;
        assert_eq!(refusal, "the controller keeps no more events of this node");
        controller.agent(&token("calm")).await.send(&batch(1, 10)).await.expect("another node");
        controller.stop().await;
    }
    let page = events(&*server.open().await, None, 100_000).await;
    let stored: usize = page.iter().filter(|event| &*event.node == "flood").map(|event| event.bytes.len()).sum();
    assert!((10_000..15_000).contains(&stored), "{stored}");
    let controller = Controller::start(server.open().await).await;
    controller.agent(&token("flood")).await.send(&batch(first, 1)).await.expect("there is no bound");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_does_not_fill_a_stream_for_all_and_what_is_left_is_shared() {
    let server = Server::start(&[]);
    let store = open(&format!("{}?bytes=512KiB", server.store())).await.expect("a stream");
    let controller = Controller::start(Arc::<NatsStore>::clone(&store)).await;
    assert_eq!(store.trouble(), None);
    let agent = controller.agent(&token("flood")).await;
    // In the stream a small event takes some 300 bytes; up to what is left and no further before the next look.
    let mut first = 1;
    let client = async_nats::connect(&server.address).await.expect("a connection");
    let stream = async_nats::jetstream::new(client).get_stream("RODENT").await.expect("a stream");
    while stream.get_info().await.expect("told").state.bytes < 480 * 1024 {
        agent.send(&batch(first, 50)).await.expect("there is room");
        first += 50;
    }
    let refusal = until_refused(&agent, &mut first).await;
    assert!(refusal.contains("share"), "{refusal}");
    assert!(store.trouble().is_some_and(|trouble| trouble.contains("little room")));
    controller.agent(&token("calm")).await.send(&batch(1, 1)).await.expect("its share is left");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_begins_no_more_numberings_in_a_stream_than_are_kept_and_goes_on_with_those_that_it_has() {
    let server = Server::start(&[]);
    let controller = Controller::start(server.open().await).await;
    let agent = controller.agent(&token("many")).await;
    let numbered = |epoch: usize| EventBatch { log_epoch: format!("e{epoch}"), ..batch(1, 1) };
    for epoch in 0..EPOCHS_MAX {
        agent.send(&numbered(epoch)).await.expect("stored");
    }
    let refusal = agent.send(&numbered(EPOCHS_MAX)).await.expect_err("one too many");
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    agent.send(&numbered(7)).await.expect("known");
    controller.agent(&token("other")).await.send(&numbered(EPOCHS_MAX)).await.expect("another node");
    controller.stop().await;
}

/// A subject of the stream that is none of the store's.
const PROBE: &str = "probe";

/// Until the stream knows none of the messages any more that it has now. It forgets them in their order, so one that is sent
/// last is known for longest. The events themselves would not tell: sent again and again, some are taken before others.
async fn until_all_is_forgotten(jetstream: &async_nats::jetstream::Context) {
    let is_known = || async {
        let probe = PublishMessage::build().message_id(PROBE);
        let ack = jetstream.send_publish(PROBE, probe).await.expect("sent");
        ack.await.expect("acknowledged").duplicate
    };
    assert!(!is_known().await, "the first of its name");
    let mut attempts = 0;
    while is_known().await {
        attempts += 1;
        assert!(attempts < 600, "the window ends");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_window_of_the_stream_readers_drop_repeats_and_tell_forks() {
    let server = Server::start(&[]);
    let client = async_nats::connect(&server.address).await.expect("a connection");
    let jetstream = async_nats::jetstream::new(client);
    let config = async_nats::jetstream::stream::Config {
        name: "RODENT".into(),
        subjects: vec!["rodent.*.*".into(), PROBE.into()],
        duplicate_window: Duration::from_millis(100),
        ..Default::default()
    };
    jetstream.create_stream(config).await.expect("a stream");
    let controller = Controller::start(server.open().await).await;
    let agent = controller.agent(&token("nas-1")).await;
    agent.send(&batch(1, 3)).await.expect("stored");
    until_all_is_forgotten(&jetstream).await;
    assert_eq!(agent.send(&batch(1, 2)).await.expect("stored").message, "2 stored, 0 repeated");
    let mut other = batch(3, 1);
    other.events[0].event_id = "another".into();
    agent.send(&other).await.expect("nobody knows any more what was there");
    assert_eq!(sequences(&events(&*controller.store, None, 100).await), [1, 2, 3, 3], "each once, and both of 3");
    let node = controller.store.nodes().await.expect("nodes").remove(0);
    assert_eq!(node.events, 3);
    let overlap = &node.overlaps[0];
    assert_eq!(
        (overlap.epochs.as_ref(), overlap.same, overlap.differs_at),
        (&["e1".into(), "e1".into()][..], 2, Some(3))
    );
    assert_eq!(Account::of(&node).lanes[0].repeated, 2);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_serves_and_looks_into_a_stream() {
    let server = Server::start(&["--user", "joe", "--pass", "of a server under test"]);
    let place = Place::new();
    fs::write(place.path("nats"), "joe:of a server under test\n").expect("a file");
    let store = format!("{}?credentials={}", server.store(), place.path("nats").display());
    let missing = place.run(&["nodes", "--store", &store]);
    assert_eq!(missing.status.code(), Some(66));
    assert!(text(&missing.stderr).contains("there is no stream RODENT"), "{}", text(&missing.stderr));

    let process = place.serve_into(&store);
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    for first in [1, 21] {
        agent.send(&batch(first, 10)).await.expect("stored");
    }
    let lines = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let output = place.run(&[arguments, &["-o", "jsonl", "--store", &store]].concat());
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    assert_eq!(lines(&["nodes"])[0]["streams"][0]["received"], json!([[1, 10], [21, 30]]));
    assert_eq!(lines(&["events", "-n", "2"])[1]["sequence"], 30);
    assert_eq!(lines(&["events", "--node", "nas-2"]).len(), 0);
    assert_eq!(lines(&["gaps", "--node", "nas-1"])[0]["missing"][0]["first"], 11);
    let gaps = || place.run(&["gaps", "--node", "nas-1", "--store", &store]);
    assert_eq!(gaps().status.code(), Some(1));
    agent.send(&batch(11, 10)).await.expect("stored");
    assert_eq!(gaps().status.code(), Some(0));
    drop(process);

    let refused = place.run(&["nodes", "--store", &server.store()]);
    assert_eq!(refused.status.code(), Some(74), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("authorization"), "{}", text(&refused.stderr));
    let named = place.run(&["nodes", "--store", &format!("nats://joe:word@{}", server.address)]);
    let told = text(&named.stderr);
    assert!(named.status.code() == Some(64) && told.contains("?credentials=FILE"), "{told}");
    drop(server);
    let away = place.run(&["nodes", "--store", &store]);
    assert_eq!(away.status.code(), Some(74), "{}", text(&away.stderr));
    assert!(text(&away.stderr).contains("connect to the event stream"), "{}", text(&away.stderr));
}
