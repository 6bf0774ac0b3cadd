//! A day without a controller, in seconds: the uplink against a port that refuses, with a clock that jumps to the next thing
//! to be done whenever there is nothing to do now.

use std::{
    env,
    ffi::OsStr,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use prost::Message as _;
use rodent::{
    consumers::{BACKOFF, Delivery, Driver, Threshold},
    controller::{
        server,
        store::{MemoryStore, Store},
        token,
    },
    event_log::{Cursor, Draft, EventLog, Lane, Settings},
    schema::{
        Payload as _,
        events::{Event, SystemHostPayload},
    },
    settings::Secret,
    sinks::uplink::{self, Surroundings, Tls, TokenSource, Uplink, UplinkState},
    telemetry::logging,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{address::own_address, footprint::Footprint, site::PATIENCE};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Until everything that is made once has been made.
const WARM_UP: Duration = Duration::from_secs(2 * 3600);

/// How often the test looks, in the time of the day. Attempts are told apart as far as this.
const LOOK: Duration = Duration::from_millis(250);

/// Events of each hour.
const EVENTS: u64 = 200;

/// Threads for blocking work, and of the storage, come and go by the machine's clock: more of them where it is busy.
const THREADS_SPARE: usize = 12;

/// More than a kilobyte for each of the attempts would be seen.
const MEMORY_SPARE: u64 = 3 << 19;

/// Attempts from which on the bound of the pause is the longest.
const GROWN: usize = 12;

/// Tells the child that it is one.
const CHILD: &str = "RODENT_DAY";

/// In a process of its own, whose descriptors, memory and messages are those of the uplink.
#[test]
fn a_day_without_a_controller_leaves_nothing_behind_but_one_line() {
    if env::var_os(CHILD).is_some() {
        let _logging = logging::start(tracing::Level::INFO);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(live_through_a_day());
    }
    let mut child = Command::new(env::current_exe().expect("the test's own program"));
    let words = ["day::a_day_without_a_controller_leaves_nothing_behind_but_one_line", "--exact", "--nocapture"];
    child.args(words).args(["--test-threads=1"]).env(CHILD, OsStr::new("1")).env_remove("RODENT_LOG");
    let output = child.stdin(Stdio::null()).output().expect("start the test's own program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let count = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count(" WARN "), 1, "one line for the outage and none for an attempt:\n{said}");
    assert!(count(" INFO ") <= 3, "and what comes when it is over:\n{said}");
    assert_eq!(count(" ERROR "), 0, "{said}");
}

async fn live_through_a_day() {
    let nobody = own_address();
    let node = Node::new();
    node.emit().await;
    let (state, stop) = (UplinkState::new(&nobody.to_string()), CancellationToken::new());
    let secret = token::SigningSecret::random().expect("randomness");
    tokio::time::pause();
    start(node.uplink(nobody, &secret, state.clone()).run(stop.clone(), stop.clone()));

    let begun = Instant::now();
    let (mut attempts, mut before, mut hours) = (Vec::new(), None, 0);
    while begun.elapsed() < DAY {
        tokio::time::sleep(LOOK).await;
        for _ in attempts.len() as u64..state.status().failed_attempts {
            attempts.push(Instant::now());
        }
        if begun.elapsed() >= HOUR * (hours + 1) {
            hours += 1;
            node.emit().await;
        }
        if before.is_none() && begun.elapsed() >= WARM_UP {
            before = Some(Footprint::of(std::process::id()));
        }
    }
    let (before, mut after) = (before.expect("a day is longer"), Footprint::of(std::process::id()));
    // An attempt or a write may be under way, and ends by the machine's clock; what leaks is there for ever.
    let hold_on = std::time::Instant::now() + PATIENCE;
    let holds_more =
        |now: &Footprint| now.descriptors > before.descriptors || now.threads > before.threads + THREADS_SPARE;
    while holds_more(&after) && std::time::Instant::now() < hold_on {
        std::thread::sleep(LOOK);
        tokio::task::yield_now().await;
        after = Footprint::of(std::process::id());
    }
    assert!(!holds_more(&after), "{before:?} became {after:?}");
    assert!(after.memory <= before.memory + MEMORY_SPARE, "{before:?} became {after:?}");
    check_spacing(&attempts);

    // Shortly before the next attempt the controller comes back, and time goes on as it does.
    while !(LOOK.as_millis() as u64..2_000).contains(&state.status().next_attempt_milliseconds) {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::resume();
    let store = Arc::new(MemoryStore::default());
    let settings =
        server::ServerSettings::new(nobody, token::Keys::hs256(&secret), Arc::clone(&store) as Arc<dyn Store>);
    let controller = server::Server::bind(settings).await.expect("the address is free");
    start(controller.run(stop.clone().cancelled_owned()));
    let delivered = async {
        while node.is_behind() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, delivered).await.unwrap_or_else(|_| panic!("{:?}", state.status()));
    assert_eq!((state.status().state.as_str(), state.status().delivered_events), ("connected", EVENTS * 25));
    stop.cancel();
    node.log.close();
}

/// Full jitter: a pause is drawn evenly from nothing to a bound, which grows to two minutes.
fn check_spacing(attempts: &[Instant]) {
    let pauses: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (number, pause) in pauses.iter().enumerate() {
        let bound = BACKOFF.0.mul_f64(1.6_f64.powi(i32::try_from(number).expect("not so many").min(64)));
        assert!(*pause <= bound.min(BACKOFF.1) + LOOK * 2, "pause {number} was {pause:?}");
    }
    let grown: Vec<_> = pauses.iter().skip(GROWN).map(Duration::as_secs_f64).collect();
    let mean = grown.iter().sum::<f64>() / grown.len() as f64;
    // Some 1,440: a mean of 60 s and a tenth in each tenth, give or take five times what chance does.
    assert!((55.0..65.0).contains(&mean), "{} pauses of {mean} s", grown.len());
    for tenth in 0..10 {
        let (from, to) = (12.0 * f64::from(tenth), 12.0 * f64::from(tenth + 1));
        let share = grown.iter().filter(|pause| (from..to).contains(*pause)).count() as f64 / grown.len() as f64;
        assert!((0.06..0.14).contains(&share), "{share} of the pauses are {from} to {to} s long");
    }
}

/// The agent's log, from which the uplink reads.
struct Node {
    log: EventLog,
    cursor: Cursor,
    _directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Node {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let cursor = log.cursor("uplink").expect("room for a cursor");
        Node { log, cursor, _directory: directory }
    }

    fn uplink(&self, address: SocketAddr, secret: &token::SigningSecret, state: UplinkState) -> Driver<Uplink> {
        let identity = token::NodeIdentity { node: "nas-1".to_owned(), organisation: String::new(), private: true };
        let settings = uplink::UplinkSettings {
            address: address.to_string(),
            token: TokenSource::Inline(Secret::new(token::issue(secret, &identity, None).expect("a token"))),
            tls: Tls::Off,
            node_id: String::new(),
        };
        let threshold = Threshold { batch_size: 100, batch_timeout: Duration::from_secs(1) };
        let surroundings = Surroundings { now: Arc::new(|| 1), system_info: Arc::new(Default::default) };
        Uplink::new(settings, surroundings, state).driver(Delivery::new(&self.log, &self.cursor, threshold))
    }

    /// The events of an hour, a tenth of them urgent. Time stands still meanwhile: the disk knows nothing of the test's.
    async fn emit(&self) {
        let (log, runtime) = (self.log.clone(), tokio::runtime::Handle::current());
        let emitting = tokio::task::spawn_blocking(move || {
            for (lane, count) in [(Lane::Urgent, EVENTS / 10), (Lane::Routine, EVENTS - EVENTS / 10)] {
                let events: Vec<_> = (0..count).map(|_| event().encode_to_vec()).collect();
                let draft = |event| Draft { event, level: 1, category: 1, timestamp: 1, kind: None };
                let drafts: Vec<_> = events.iter().map(|event| draft(event.as_slice())).collect();
                let next = runtime.block_on(log.append(lane, &drafts)).expect("appended");
                runtime.block_on(log.commit(lane, next)).expect("durable");
            }
        });
        emitting.await.expect("no panic");
    }

    fn is_behind(&self) -> bool {
        Lane::ALL.into_iter().any(|lane| self.cursor.next(lane) < self.log.next_sequence(lane))
    }
}

fn event() -> Event {
    Event {
        event_id: uuid::Uuid::now_v7().to_string(),
        level: 1,
        category: 1,
        timestamp: 1,
        event_payload: Some(SystemHostPayload::default().into_event_payload()),
        ..Event::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks until the runtime ends")]
fn start<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) {
    tokio::spawn(task);
}
