//! A log and an uplink that delivers from it: the agent's end of a test, as a library.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;
use rodent::{
    consumers::{Delivery, Threshold},
    event_log::{Cursor, Draft, EventLog, Lane, Settings},
    schema::events::Event,
    settings::Secret,
    sinks::uplink::{Surroundings, Tls, TokenSource, Uplink, UplinkSettings, UplinkState},
};
use tokio_util::sync::CancellationToken;

use super::{authority::Files, peer::start};

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent's end.
pub(super) struct Scene {
    log: EventLog,
    cursor: Cursor,
    pub(super) state: UplinkState,
    shutdown: CancellationToken,
    _directory: tempfile::TempDir,
}

/// How an agent connects; the token is `t0ken` unless a file is named.
pub(super) struct Agent {
    pub(super) address: String,
    pub(super) token_file: Option<PathBuf>,
    pub(super) tls: Tls,
    /// Where what the controller issues is kept.
    pub(super) issued: Option<PathBuf>,
}

impl Agent {
    /// One that trusts the authority in `ca.pem`, and proves itself with `node.pem` where that is there.
    pub(super) fn to(port: u16, files: &Files) -> Agent {
        let there = |name: &str| Some(files.path(name)).filter(|path| path.exists());
        let tls = Tls::On {
            ca_file: Some(files.path("ca.pem")),
            cert_file: there("node.pem"),
            key_file: there("node.key"),
            server_name: None,
        };
        Agent { address: format!("localhost:{port}"), token_file: None, tls, issued: None }
    }

    pub(super) async fn run(self) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings {
            flush_interval: Duration::from_millis(10),
            boot_id: uuid::Uuid::from_u128(5),
            ..Settings::new(directory.path().join("log"))
        })
        .expect("a log");
        let cursor = log.cursor("uplink").expect("room for a cursor");
        let threshold = Threshold { batch_size: 10, batch_timeout: Duration::from_millis(20) };
        let state = UplinkState::new(&self.address);
        let token = match self.token_file {
            Some(path) => TokenSource::File(path),
            None => TokenSource::Inline(Secret::new("t0ken")),
        };
        let uplink = Uplink::new(
            UplinkSettings { address: self.address, token, tls: self.tls, node_id: "node".to_owned() },
            Surroundings { now: Arc::new(now), system_info: Arc::new(Default::default) },
            state.clone(),
        );
        let uplink = match self.issued {
            Some(directory) => uplink.keep_issued_certificate_in(directory),
            None => uplink,
        };
        let uplink = uplink.driver(Delivery::new(&log, &cursor, threshold));
        let shutdown = CancellationToken::new();
        start(CancellationToken::new(), uplink.run(shutdown.clone(), shutdown.clone()));
        Scene { log, cursor, state, shutdown, _directory: directory }
    }
}

impl Scene {
    pub(super) async fn append(&self, numbers: std::ops::Range<u64>) {
        let event = |n| Event { event_id: format!("event-{n}"), timestamp: 1, ..Event::default() }.encode_to_vec();
        let events: Vec<_> = numbers.map(event).collect();
        let drafts: Vec<_> =
            events.iter().map(|event| Draft { event, level: 1, category: 1, timestamp: 1, kind: None }).collect();
        let next = self.log.append(Lane::Routine, &drafts).await.expect("appended");
        self.log.commit(Lane::Routine, next).await.expect("durable");
    }

    /// Waits until everything is delivered.
    pub(super) async fn delivered(&self) {
        let all = self.log.next_sequence(Lane::Routine);
        self.until("delivered", || self.cursor.next(Lane::Routine) == all).await;
    }

    /// What the uplink says is wrong, once it says so.
    pub(super) async fn error(&self) -> String {
        self.until("an error", || !self.state.status().last_error.is_empty()).await;
        self.state.status().last_error
    }

    pub(super) async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = tokio::time::Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.state.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn end(self) {
        self.shutdown.cancel();
        self.log.close();
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("a time")
}
