//! The local socket with everything behind it: the client, gRPC over a real Unix socket, the pipeline and a log on disk.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::Command,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use rodent::{
    client::{
        Client, ClientError, Durability, EmitResponse, Events, QueryRequest, StateResponse, StatusResponse,
        StoredEvent, TailRequest, Totals,
    },
    consumers::programs::Programs,
    dead_letters::DeadLetters,
    event::{EventView, Level, json},
    event_log::{self, EventLog},
    health::Registry,
    local_api::{AcknowledgeDesk, LocalApi, ReloadDesk, Rooms, Scopes, ServeError, SocketSettings},
    pipeline::{Emitter, Gate},
    schema::events::Event,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;

const NOW: i64 = 1_762_767_000_000;
/// What the log's age is measured from.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent's rooms behind a socket, and a client of it.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) log: EventLog,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) programs: Programs,
    pub(crate) socket: PathBuf,
    pub(crate) scopes: tokio::sync::watch::Sender<Scopes>,
    shutdown: CancellationToken,
    serving: JoinSet<Result<(), ServeError>>,
    _directory: TempDir,
}

impl Site {
    pub(crate) async fn new() -> Site {
        Site::with(Gate::open(), 1 << 30).await
    }

    pub(crate) async fn with(gate: Gate, disk_bytes_max: u64) -> Site {
        Site::of_group("rodent", gate, disk_bytes_max).await
    }

    /// The socket belongs to this group.
    pub(crate) async fn of_group(group: &str, gate: Gate, disk_bytes_max: u64) -> Site {
        Site::of(group, gate, disk_bytes_max, Scopes::default()).await
    }

    /// Users read what these say.
    pub(crate) async fn of_scopes(scopes: Scopes) -> Site {
        Site::of("rodent", Gate::open(), 1 << 30, scopes).await
    }

    async fn of(group: &str, gate: Gate, disk_bytes_max: u64, scopes: Scopes) -> Site {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(event_log::Settings {
            buffer_size: 5_000,
            flush_threshold: 4_000,
            flush_interval: Duration::from_millis(50),
            disk_bytes_max,
            boot_id: uuid::Uuid::from_u128(1),
            since_boot: || STARTED.elapsed(),
            ..event_log::Settings::new(directory.path().join("log"))
        })
        .expect("a log");
        let emitter = Emitter::new(log.clone(), gate, || NOW);
        let status = Arc::new(|| StatusResponse { node_id: "nas-1".to_owned(), ..Default::default() });
        let socket = directory.path().join("rodent.sock");
        let settings = SocketSettings { socket: socket.clone(), group: group.to_owned(), ..SocketSettings::default() };
        let api = LocalApi::bind(&settings).await.expect("a free place");
        let (shutdown, mut serving) = (CancellationToken::new(), JoinSet::new());
        let dead_letters = DeadLetters::open(&directory.path().join("dead-letters")).expect("a directory");
        let reload: ReloadDesk = Arc::new(|_| Box::pin(async { Err(Status::unavailable("nothing to reload")) }));
        let (letters, trouble) = (dead_letters.clone(), Arc::new(|| None));
        let programs = Programs::new(log.clone(), Registry::new(|| NOW), Arc::new(|| NOW));
        let acknowledge: AcknowledgeDesk =
            Arc::new(|_, _| Box::pin(async { Err(Status::unavailable("nothing is known")) }));
        let scopes = tokio::sync::watch::Sender::new(scopes);
        let rooms = Rooms {
            emitter,
            log: log.clone(),
            status,
            dead_letters: letters,
            programs: programs.clone(),
            scopes: scopes.subscribe(),
            reload,
            settling: Arc::new(|| Box::pin(async {})),
            states: Arc::new(|_| StateResponse::default()),
            acknowledge,
            silence: Arc::new(|_, _| Box::pin(async { Err(Status::unavailable("nothing to silence")) })),
            sink_orders: Arc::new(|_| Box::pin(async { Err(Status::unavailable("nothing to order")) })),
            sinks: Arc::new(|_| Box::pin(async { Err(Status::unavailable("nothing to test")) })),
            trouble,
        };
        serving.spawn(api.serve(rooms, shutdown.clone()));
        let client = Client::connect(&socket).await.expect("the agent answers");
        Site { client, log, dead_letters, programs, socket, scopes, shutdown, serving, _directory: directory }
    }

    async fn emit(&self, events: &[Event]) -> Result<EmitResponse, ClientError> {
        self.client.emit(events, Durability::Committed).await
    }

    async fn query(&self, query: QueryRequest) -> Vec<StoredEvent> {
        let mut events = self.client.query(query).await.expect("an answer");
        let mut all = Vec::new();
        while let Some(page) = events.next().await.expect("a page") {
            assert_eq!(page.missed, 0);
            all.extend(page.events);
        }
        all
    }

    pub(crate) async fn newest(&self, limit: u32) -> Vec<String> {
        names(&self.query(QueryRequest { limit, ..Default::default() }).await)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.log.close();
    }
}

fn pool(name: &str) -> Event {
    json::from_str(&format!(r#"{{"kind": "storage.pool.created", "payload": {{"pool_name": "{name}"}}}}"#))
        .expect("JSON")
}

fn view(stored: &StoredEvent) -> EventView {
    EventView::decode(&stored.event).expect("an event")
}

fn names(events: &[StoredEvent]) -> Vec<String> {
    let name = |event: &StoredEvent| {
        let payload =
            view(event).payload().expect("a payload").get_field_by_name("pool_name").expect("its field").into_owned();
        payload.as_str().expect("text").to_owned()
    };
    events.iter().map(name).collect()
}

/// Pages until so many events and missed ones have come.
async fn collect(events: &mut Events, wanted: u64) -> (Vec<StoredEvent>, u64) {
    let (mut all, mut missed) = (Vec::new(), 0);
    while all.len() as u64 + missed < wanted {
        let page = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").expect("a page");
        let page = page.expect("a tail does not end");
        missed += page.missed;
        all.extend(page.events);
    }
    (all, missed)
}

#[tokio::test]
async fn what_was_emitted_comes_back_stamped_with_its_origin() {
    let site = Site::new().await;
    let answer = site.emit(&[pool("tank")]).await.expect("taken");
    assert_eq!((answer.accepted, answer.filtered, answer.event_ids.len()), (1, 0, 1));

    let stored = site.query(QueryRequest::default()).await;
    assert_eq!((stored.len(), stored[0].lane.as_str(), stored[0].sequence), (1, "routine", 1));
    let event = view(&stored[0]);
    assert_eq!((event.id(), event.timestamp(), event.source()), (answer.event_ids[0].as_str(), NOW, "local"));
    assert_eq!(event.metadata("rodent.uid"), Some(nix::unistd::geteuid().to_string().as_str()));
    assert_eq!(event.metadata("rodent.gid"), Some(nix::unistd::getegid().to_string().as_str()));
}

#[tokio::test]
async fn both_lanes_are_queried_and_followed_as_one_by_time_and_identifier() {
    let site = Site::new().await;
    let degraded = |name: &str| Event { level: Level::Error.to_wire().into(), ..pool(name) };
    let mut tail = site.client.tail(TailRequest::default()).await.expect("a tail");
    site.emit(&[pool("a"), degraded("b"), pool("c"), degraded("d")]).await.expect("taken");
    let stored = site.query(QueryRequest::default()).await;
    assert_eq!(names(&stored), ["a", "b", "c", "d"]);
    let places: Vec<_> = stored.iter().map(|event| (event.lane.as_str(), event.sequence)).collect();
    assert_eq!(places, [("routine", 1), ("urgent", 1), ("routine", 2), ("urgent", 2)]);
    assert_eq!(site.newest(2).await, ["c", "d"]);
    let (followed, _) = collect(&mut tail, 4).await;
    let mut followed = names(&followed);
    // What is durable first is told first: only within a lane the order is fixed.
    followed.sort();
    assert_eq!(followed, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn an_origin_cannot_be_forged() {
    let site = Site::new().await;
    let mut forged = pool("tank");
    forged.metadata.insert("rodent.uid".to_owned(), "0".to_owned());
    let error = site.emit(&[forged]).await.expect_err("refused");
    assert!(matches!(&error, ClientError::Refused(why) if why.contains("rodent.uid")), "{error}");

    site.emit(&[Event { source: "system".to_owned(), ..pool("tank") }]).await.expect("taken");
    assert_eq!(view(&site.query(QueryRequest::default()).await[0]).source(), "local");
}

#[tokio::test]
async fn names_that_only_look_like_others_are_refused() {
    let site = Site::new().await;
    let named = |id: &str| Event { event_id: id.to_owned(), ..pool("tank") };
    let mut alike = pool("tank");
    alike.metadata.insert("rodent\u{200b}.uid".to_owned(), "0".to_owned());
    for event in [named("nas\u{202e}1"), named("nas-1\u{200b}"), named("a\nb"), alike] {
        let error = site.emit(&[event]).await.expect_err("refused");
        let ClientError::Refused(why) = &error else { panic!("{error}") };
        assert!(why.is_ascii() && !why.contains(char::is_control), "{why:?}");
    }
    site.emit(&[named("größe-日本")]).await.expect("everybody sees all of it");
}

#[tokio::test]
async fn a_request_with_one_bad_event_is_refused_whole() {
    let site = Site::new().await;
    let error = site.emit(&[pool("a"), pool("b"), Event::default()]).await.expect_err("refused");
    assert!(matches!(&error, ClientError::Refused(why) if why.starts_with("event 3 of 3")), "{error}");
    assert_eq!(site.newest(10).await, [""; 0]);
}

#[tokio::test]
async fn what_the_gate_leaves_out_is_counted_and_has_no_identifier() {
    let site = Site::with(Gate::new(&[Level::Error], &[]), 1 << 30).await;
    let error = Event { level: Level::Error.to_wire().into(), ..pool("tank") };
    let answer = site.emit(&[pool("left out"), error]).await.expect("taken");
    assert_eq!((answer.accepted, answer.filtered), (1, 1));
    assert!(answer.event_ids[0].is_empty() && !answer.event_ids[1].is_empty());
    assert_eq!(site.newest(10).await, ["tank"]);
}

#[tokio::test]
async fn an_emission_keeps_the_order_and_names_each_event_that_is_refused() {
    let site = Site::new().await;
    let bad = [0, 700, 701, 2_999];
    let mut emission = site.client.emission(Durability::Committed).await.expect("a stream");
    for number in 0..3_000_u64 {
        let mut event = pool(&number.to_string());
        if bad.contains(&number) {
            event.metadata.insert("rodent.forged".to_owned(), String::new());
        }
        emission.add(number, event.encode_to_vec().into()).await.expect("taken or refused by name");
    }
    emission.settle().await.expect("all answered");
    let refused: Vec<u64> = emission.take_refusals().iter().map(|refusal| refusal.place).collect();
    assert_eq!(refused, bad);
    assert_eq!(emission.totals(), Totals { accepted: 2_996, filtered: 0, refused: 4 });
    let expected: Vec<String> = (0..3_000).filter(|n| !bad.contains(n)).map(|n| n.to_string()).collect();
    assert_eq!(site.newest(10_000).await, expected);
}

#[tokio::test]
async fn a_query_gives_the_newest_that_match_however_far_back_they_are() {
    let site = Site::new().await;
    let mut emission = site.client.emission(Durability::Buffered).await.expect("a stream");
    for number in 0..20_000_u64 {
        let name = if number % 4_000 == 17 { format!("rare{number}") } else { "common".to_owned() };
        let event = Event { timestamp: NOW + i64::try_from(number).expect("small"), ..pool(&name) };
        emission.add(number, event.encode_to_vec().into()).await.expect("taken");
    }
    emission.settle().await.expect("all answered");
    site.client.flush().await.expect("durable");

    let rare = |limit, since, until| QueryRequest {
        filter: vec!["pool_name=rare*".to_owned()],
        limit,
        since,
        until,
        progress: true,
    };
    assert_eq!(names(&site.query(rare(2, 0, 0)).await), ["rare12017", "rare16017"]);
    assert_eq!(names(&site.query(rare(0, 0, 0)).await), ["rare17", "rare4017", "rare8017", "rare12017", "rare16017"]);
    assert_eq!(names(&site.query(rare(0, NOW + 4_017, NOW + 8_017)).await), ["rare4017", "rare8017"]);
    assert_eq!(site.newest(0).await.len(), 20);
    let sequences: Vec<u64> =
        site.query(QueryRequest { limit: 1_000, ..Default::default() }).await.iter().map(|e| e.sequence).collect();
    assert_eq!(sequences, (19_001..=20_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_condition_that_is_not_understood_is_told() {
    let site = Site::new().await;
    let query = QueryRequest { filter: vec!["level>=loud".to_owned()], ..Default::default() };
    let error = site.client.query(query).await.expect_err("refused");
    assert!(matches!(&error, ClientError::Refused(why) if why.contains("loud")), "{error}");
    let query = QueryRequest { limit: 10_001, ..Default::default() };
    assert!(matches!(site.client.query(query).await, Err(ClientError::Refused(_))));
}

#[tokio::test]
async fn a_tail_begins_with_the_backlog_and_goes_on_with_each_event_once() {
    let site = Site::new().await;
    site.emit(&[pool("a"), pool("b"), pool("c")]).await.expect("taken");
    let tail = TailRequest { filter: vec!["storage.*".to_owned()], backlog: 2, ..TailRequest::default() };
    let mut events = site.client.tail(tail).await.expect("a tail");
    assert_eq!(names(&collect(&mut events, 2).await.0), ["b", "c"]);
    for name in ["d", "e"] {
        site.emit(&[pool(name)]).await.expect("taken");
        assert_eq!(names(&collect(&mut events, 1).await.0), [name]);
    }
}

#[tokio::test]
async fn a_tail_from_a_moment_on_shows_both_lanes_in_the_order_of_time_and_each_event_once() {
    let site = Site::new().await;
    // One in seven is urgent, so that one lane is read on far sooner than the other.
    let event = |number: i64| {
        let level = if number % 7 == 0 { Level::Error } else { Level::Info };
        Event { timestamp: NOW + number, level: level.to_wire().into(), ..pool(&number.to_string()) }
    };
    for from in [0, 500, 1_000] {
        let events: Vec<_> = (from..from + 500).map(event).collect();
        site.emit(&events).await.expect("taken");
    }
    let numbers = |from: i64, to: i64| (from..to).map(|number| number.to_string()).collect::<Vec<_>>();
    let since = TailRequest { since: NOW + 10, ..TailRequest::default() };
    let mut events = site.client.tail(since.clone()).await.expect("a tail");
    assert_eq!(names(&collect(&mut events, 1_490).await.0), numbers(10, 1_500));
    let mut newest = site.client.tail(TailRequest { backlog: 3, ..since }).await.expect("a tail");
    assert_eq!(names(&collect(&mut newest, 3).await.0), numbers(1_497, 1_500));
    // What comes is shown although the clock was set back.
    site.emit(&[event(1)]).await.expect("taken");
    assert_eq!(names(&collect(&mut events, 1).await.0), ["1"]);
    assert_eq!(names(&collect(&mut newest, 1).await.0), ["1"]);
}

#[tokio::test]
async fn a_tail_that_retention_overtakes_is_told_how_much_it_missed() {
    // Retention leaves out two generations that may still grow, so these bounds hold about one sealed generation.
    let site = Site::with(Gate::open(), 28 << 20).await;
    let mut events = site.client.tail(TailRequest::default()).await.expect("a tail");
    let total = 4_000;
    let mut emission = site.client.emission(Durability::Committed).await.expect("a stream");
    for number in 0..total {
        let mut event = pool(&number.to_string());
        event.metadata.insert("noise".to_owned(), noise(number));
        emission.add(number, event.encode_to_vec().into()).await.expect("taken");
    }
    emission.settle().await.expect("all answered");
    let lost = site.log.bounds(event_log::Lane::Routine).0 - 1;
    assert!(lost > 0, "retention has removed something");

    let (seen, missed) = collect(&mut events, total).await;
    assert!(missed > 0, "the tail was slower");
    let routine = seen.iter().filter(|event| view(event).kind().as_str() == "storage.pool.created").count() as u64;
    assert_eq!(routine + missed, total);
}

/// Text that hardly shrinks, 12 KiB of it.
pub(crate) fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + u8::try_from(state % 75).expect("small"))
    };
    (0..12 * 1024).map(|_| letter()).collect()
}

#[tokio::test]
async fn status_is_what_the_agent_says_and_a_flush_answers() {
    let site = Site::new().await;
    assert_eq!(site.client.status().await.expect("a status").node_id, "nas-1");
    site.client.emit(&[pool("tank")], Durability::Buffered).await.expect("taken");
    site.client.flush().await.expect("durable");
    assert_eq!(site.newest(1).await, ["tank"]);
}

#[tokio::test]
async fn readers_are_bounded() {
    let site = Site::new().await;
    let mut tails = Vec::new();
    // More than one connection, since one carries only so many calls.
    for _ in 0..4 {
        let client = Client::connect(&site.socket).await.expect("the agent answers");
        for _ in 0..8 {
            tails.push(client.tail(TailRequest::default()).await.expect("a tail"));
        }
    }
    let error = site.client.tail(TailRequest::default()).await.expect_err("one too many");
    assert!(matches!(&error, ClientError::Unavailable(why) if why.contains("32")), "{error}");
    tails.pop();
    let query = QueryRequest::default();
    let again = async {
        while site.client.query(query.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the place is free again");
}

/// A call of which so much comes, and then nothing; gives what ends it.
async fn begun(mut calls: h2::client::SendRequest<Bytes>, bytes: usize) -> Option<String> {
    let request = tonic::codegen::http::Request::post("http://localhost/rodent.local.LocalService/EmitStream")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .expect("a request");
    let (response, mut body) = calls.send_request(request, false).expect("a stream");
    let prefix = [0].into_iter().chain((2_u32 << 20).to_be_bytes());
    body.send_data(prefix.chain(vec![7; bytes]).collect(), false).expect("taken");
    let mut answer = response.await.ok()?.into_body();
    while let Some(data) = answer.data().await {
        data.ok()?;
    }
    let trailers = answer.trailers().await.ok()??;
    Some(trailers.get("grpc-status")?.to_str().ok()?.to_owned())
}

#[tokio::test]
async fn requests_that_are_not_complete_hold_so_much_together_and_no_more() {
    let site = Site::new().await;
    let (mut calls, mut connections) = (JoinSet::new(), JoinSet::new());
    for _ in 0..6 {
        let stream = tokio::net::UnixStream::connect(&site.socket).await.expect("connected");
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        connections.spawn(connection);
        for _ in 0..16 {
            calls.spawn(begun(sender.clone().ready().await.expect("room for a call"), 1 << 20));
        }
    }
    // 96 MiB are sent, and 64 are held.
    for _ in 0..32 {
        let ended = tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("in time").expect("a call");
        assert_eq!(ended.expect("no panic").as_deref(), Some("8"), "RESOURCE_EXHAUSTED");
    }
    site.client.status().await.expect("the socket answers");
}

#[tokio::test]
async fn the_socket_closes_in_order_although_a_tail_is_open() {
    let mut site = Site::new().await;
    let mut events = site.client.tail(TailRequest::default()).await.expect("a tail");
    site.shutdown.cancel();
    let end = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time");
    assert!(matches!(end, Err(ClientError::Unavailable(_))), "{end:?}");
    drop(events);
    let served = tokio::time::timeout(PATIENCE, site.serving.join_next()).await.expect("in time");
    served.expect("one task").expect("no panic").expect("no error");
    assert!(!site.socket.exists());
    assert!(matches!(Client::connect(&site.socket).await, Err(ClientError::NotRunning(_))));
}

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use super::*;
    use crate::copied::copy_program;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_foreign_user_is_refused_even_where_the_socket_can_be_reached() {
        assert!(nix::unistd::geteuid().is_root(), "only root can become somebody else: run `make test` as root");
        let site = Site::new().await;
        let directory = site.socket.parent().expect("a directory");
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        };
        // The file system would let anybody in: only the kernel's word on the peer is left.
        open(directory, 0o755);
        open(&site.socket, 0o666);
        let program = directory.join("rodent");
        copy_program(&program);
        let mut command = Command::new(program);
        command.uid(65_534).gid(65_534).arg("--socket").arg(&site.socket).arg("status");
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(77), "{said}");
        assert!(said.starts_with("rodent: user 65534 may not use the agent's socket"), "{said}");
        assert_eq!(said.lines().count(), 1);
    }
}
