//! A log that was set back to an older state, or copied, or that lost what it had delivered from memory, against the real
//! controller: never one number for two events, and every event of every history arrives.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use prost::Message as _;
use rodent::{
    consumers::{Delivery, Threshold},
    controller::store::{Account, MemoryStore, Store, Stream},
    event_log::{Cursor, Draft, EventLog, Lane, Settings},
    settings::Secret,
    sinks::uplink::{self, Surroundings, Tls, TokenSource, Uplink, UplinkState},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::controller::peer::{Controller, event, token};

const NODE: &str = "nas-1";
/// How long a delivery may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state directory of one agent, at one time.
struct State {
    directory: tempfile::TempDir,
    owner: &'static str,
}

impl State {
    fn new() -> State {
        State { directory: tempfile::tempdir().expect("a directory"), owner: "machine-1" }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn copy(&self, owner: &'static str) -> State {
        let copy = State { owner, ..State::new() };
        copy_directory(&self.log(), &copy.log());
        copy
    }

    fn open(&self) -> EventLog {
        let settings = Settings {
            flush_interval: Duration::from_millis(20),
            boot_id: Uuid::from_u128(5),
            owner: self.owner.to_owned(),
            // Each flush ends a generation, so that the next one needs the directory.
            generation_bytes: 1,
            ..Settings::new(self.log())
        };
        EventLog::open(settings).expect("a log")
    }

    /// One run of an agent without a controller.
    async fn emit(&self, lane: Lane, ids: &[&str]) {
        let log = self.open();
        log.cursor("uplink").expect("room for a cursor");
        append(&log, lane, ids).await;
        log.close();
    }

    /// One run of an agent that emits events and delivers everything. Gives the epochs that it began and ended with.
    async fn deliver(&self, controller: &Controller, events: &[(Lane, &[&str])]) -> [Uuid; 2] {
        let log = self.open();
        let begun = log.epoch();
        let cursor = log.cursor("uplink").expect("room for a cursor");
        for (lane, ids) in events {
            append(&log, *lane, ids).await;
        }
        upload(&log, &cursor, controller).await;
        let ended = log.epoch();
        log.close();
        [begun, ended]
    }
}

/// Everything that there is to read goes out, nothing is refused.
async fn upload(log: &EventLog, cursor: &Cursor, controller: &Controller) {
    let threshold = Threshold { batch_size: 4, batch_timeout: Duration::from_millis(10) };
    let settings = uplink::UplinkSettings {
        address: controller.address.to_string(),
        token: TokenSource::Inline(Secret::new(token(NODE))),
        tls: Tls::Off,
        node_id: String::new(),
    };
    let surroundings = Surroundings { now: Arc::new(|| 1), system_info: Arc::new(Default::default) };
    let state = UplinkState::new(&settings.address);
    let delivery = Delivery::new(log, cursor, threshold);
    let uplink = Uplink::new(settings, surroundings, state.clone()).driver(delivery);
    // Everything that is there goes out, then it ends.
    let everything = CancellationToken::new();
    everything.cancel();
    let run = tokio::time::timeout(PATIENCE, uplink.run(everything, CancellationToken::new())).await;
    run.unwrap_or_else(|_| panic!("{:?}", state.status()));
    for lane in Lane::ALL {
        assert_eq!(cursor.next(lane), log.next_sequence(lane), "{lane:?}: {:?}", state.status());
    }
    assert_eq!((state.status().state.as_str(), state.status().failed_attempts), ("connected", 0));
}

async fn append(log: &EventLog, lane: Lane, ids: &[&str]) {
    let next = accept(log, lane, ids).await;
    log.commit(lane, next).await.expect("durable");
}

async fn accept(log: &EventLog, lane: Lane, ids: &[&str]) -> u64 {
    let events: Vec<_> = ids.iter().map(|id| event(id).encode_to_vec()).collect();
    let drafts: Vec<_> =
        events.iter().map(|event| Draft { event, level: 1, category: 2, timestamp: 1, kind: None }).collect();
    log.append(lane, &drafts).await.expect("appended")
}

/// Waits until the log says that it is degraded, or that it is not any more.
async fn degraded(log: &EventLog, wanted: bool) {
    let looking = async {
        while log.degraded().is_some() != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("degraded: {:?}", log.degraded()));
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy_directory(&path, &to),
            false => {
                fs::copy(&path, &to).expect("copied");
            }
        }
    }
}

fn stores() -> Vec<(Arc<dyn Store>, Option<tempfile::TempDir>)> {
    let mut stores: Vec<(Arc<dyn Store>, _)> = vec![(Arc::new(MemoryStore::default()), None)];
    #[cfg(feature = "sqlite")]
    {
        let directory = tempfile::tempdir().expect("a directory");
        let store = rodent::controller::store::SqliteStore::open(&directory.path().join("events.db"));
        stores.push((Arc::new(store.expect("a database")), Some(directory)));
    }
    stores
}

/// Identifiers of what has arrived, sorted; the test fails when a number stands for two events, or something is missing.
async fn arrived(controller: &Controller) -> Vec<String> {
    let mut ids = controller.stored_ids().await;
    let node = controller.store.nodes().await.expect("nodes").remove(0);
    assert_eq!(Account::of(&node).missing(), 0, "every history is complete: {node:?}");
    let streams = &node.streams;
    let numbers =
        |stream: &Stream| -> u64 { stream.received.iter().map(|range| range.end() - range.start() + 1).sum() };
    assert_eq!(streams.iter().map(numbers).sum::<u64>(), ids.len() as u64, "one number, one event: {streams:?}");
    ids.sort();
    ids
}

fn sorted<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_state_directory_was_set_back_the_events_of_both_histories_arrive() {
    for (store, _directory) in stores() {
        let controller = Controller::start(store).await;
        let state = State::new();
        let first = [(Lane::Routine, &["a1", "a2", "a3", "a4", "a5"][..]), (Lane::Urgent, &["u1", "u2"][..])];
        state.deliver(&controller, &first).await;
        state.emit(Lane::Routine, &["p1", "p2"]).await;
        let before = state.copy("machine-1");
        let then = [(Lane::Routine, &["a6", "a7", "a8"][..]), (Lane::Urgent, &["u3"][..])];
        let [epoch, ended] = state.deliver(&controller, &then).await;
        assert_eq!(epoch, ended);

        let others = [(Lane::Routine, &["b1", "b2", "b3", "b4", "b5", "b6"][..]), (Lane::Urgent, &["v1", "v2"][..])];
        let [begun, renumbered] = before.deliver(&controller, &others).await;
        assert!(begun == epoch && renumbered != epoch, "found out by the controller's word alone");
        let [begun, ended] = before.deliver(&controller, &[(Lane::Routine, &["c1"][..])]).await;
        assert_eq!((begun, ended), (renumbered, renumbered), "once is enough");

        let emitted = first.iter().chain(&then).chain(&others).flat_map(|(_, ids)| *ids).copied();
        // What was not delivered when the copy was made belongs to both histories, and comes from both.
        assert_eq!(arrived(&controller).await, sorted(emitted.chain(["p1", "p2", "p1", "p2", "c1"])));
        controller.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_state_directory_goes_on_in_an_epoch_of_its_own_and_nothing_is_refused() {
    for (store, _directory) in stores() {
        let controller = Controller::start(store).await;
        let original = State::new();
        original.deliver(&controller, &[(Lane::Routine, &["a1", "a2", "a3"][..])]).await;
        original.emit(Lane::Routine, &["p1"]).await;
        // With the token and all: the copy calls itself by the same name.
        let copy = original.copy("machine-2");
        let [first, second] = [&original, &copy].map(|state| state.open()).map(|log| {
            log.close();
            log.epoch()
        });
        assert_ne!(first, second);
        let [begun, ended] = copy.deliver(&controller, &[(Lane::Routine, &["c1", "c2"][..])]).await;
        assert_eq!((begun, ended), (second, second), "nobody had to find out");
        let [begun, ended] = original.deliver(&controller, &[(Lane::Routine, &["a4", "a5"][..])]).await;
        assert_eq!((begun, ended), (first, first));

        let emitted = ["a1", "a2", "a3", "a4", "a5", "p1", "p1", "c1", "c2"];
        assert_eq!(arrived(&controller).await, sorted(emitted));
        controller.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delivered_from_memory_and_lost_by_a_crash_shares_no_number_with_what_comes_after() {
    for (store, _directory) in stores() {
        let controller = Controller::start(store).await;
        let state = State::new();
        state.deliver(&controller, &[(Lane::Routine, &["r1", "r2", "r3"][..])]).await;

        let log = state.open();
        let cursor = log.cursor("uplink").expect("room for a cursor");
        let before = log.epoch();
        let (lane, away) = (state.log().join("routine"), state.log().join("away"));
        fs::rename(&lane, &away).expect("renamed");
        fs::write(&lane, "no directory").expect("written");
        let next = accept(&log, Lane::Routine, &["m1", "m2"]).await;
        degraded(&log, true).await;
        upload(&log, &cursor, &controller).await;
        assert_ne!(log.epoch(), before, "what is in memory has an epoch of its own");
        let status = log.status();
        let routine = &status.lanes[1];
        assert_eq!((routine.stored_events, routine.waiting_events), (3, 2), "{status:?}");
        assert_eq!((routine.durable_sequence, routine.next_sequence), (next - 2, next));

        // What a crash leaves now.
        let crashed = state.copy("machine-1");
        fs::remove_file(crashed.log().join("routine")).expect("removed");
        fs::rename(crashed.log().join("away"), crashed.log().join("routine")).expect("renamed");
        // Without one, the disk comes back and everything on it.
        fs::remove_file(&lane).expect("removed");
        fs::rename(&away, &lane).expect("renamed");
        degraded(&log, false).await;
        log.commit(Lane::Routine, next).await.expect("durable");
        assert_eq!(log.status().lanes[1].waiting_events, 0);
        log.close();

        let [begun, ended] = crashed.deliver(&controller, &[(Lane::Routine, &["x1", "x2", "x3"][..])]).await;
        assert_eq!((begun, ended), (before, before), "nobody had to find out");
        let [begun, ended] = state.deliver(&controller, &[(Lane::Routine, &["n1"][..])]).await;
        assert_eq!(begun, ended);
        let mut arrived = arrived(&controller).await;
        // But for the record that the crashed one makes of what it may have lost.
        arrived.retain(|id| id.len() == 2);
        assert_eq!(arrived, sorted(["r1", "r2", "r3", "m1", "m2", "x1", "x2", "x3", "n1"]));
        controller.stop().await;
    }
}
