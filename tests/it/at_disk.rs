//! An uplink whose disks do not answer says so to its watchdog: nothing that hangs there makes it look stuck.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use rodent::{
    consumers::{Delivery, Threshold},
    event_log::{EventLog, Settings},
    health::{Pulse, Signs},
    settings::Secret,
    sinks::uplink::{Surroundings, Tls, TokenSource, Uplink, UplinkSettings, UplinkState},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whether this loop comes to be at the disk, and stays there for a while.
async fn is_at_disk(pulse: &Pulse) -> bool {
    for _ in 0..3000 {
        if pulse.look(Instant::now(), false).at_disk > Some(Duration::from_millis(200)) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// A file that nobody gets open before it is [`answered`], as on a disk that hangs.
fn hangs(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).expect("a pipe");
}

fn answered(path: &Path) {
    fs::OpenOptions::new().write(true).open(path).expect("somebody wants to read it");
}

/// Runs an uplink until its pulse says that it is at the disk, lets the disk answer, and ends it.
async fn deliver(log: &EventLog, token: TokenSource, surroundings: Surroundings, answer: impl FnOnce()) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let cursor = log.cursor("uplink").expect("room for a cursor");
    let threshold = Threshold { batch_size: 1, batch_timeout: Duration::ZERO };
    let state = UplinkState::new(&address);
    let settings = UplinkSettings { address, token, tls: Tls::Off, node_id: "node".to_owned() };
    let (pulse, end) = (Pulse::default(), CancellationToken::new());
    let delivery = Delivery::new(log, &cursor, threshold);
    let uplink = Uplink::new(settings, surroundings, state).driver(delivery).with_pulse(pulse.clone());
    let running = uplink.run(end.clone(), end.clone());
    let looking = async {
        let is_at_disk = is_at_disk(&pulse).await;
        // Whatever was found: nobody else ends the thread that waits.
        answer();
        end.cancel();
        is_at_disk
    };
    assert!(tokio::join!(running, looking).1);
    assert_eq!(pulse.look(Instant::now(), false), Signs::default(), "it has ended");
}

fn surroundings() -> Surroundings {
    Surroundings { now: Arc::new(|| 1), system_info: Arc::new(Default::default) }
}

#[tokio::test]
async fn an_uplink_is_at_the_disk_while_its_token_cannot_be_read_or_the_machine_not_be_measured() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
    let token = directory.path().join("token");
    hangs(&token);
    deliver(&log, TokenSource::File(token.clone()), surroundings(), || answered(&token)).await;

    let (answer, answers) = mpsc::sync_channel(1);
    let answers = Mutex::new(answers);
    let system_info = move || answers.lock().expect("no panic").recv().unwrap_or_default();
    let surroundings = Surroundings { system_info: Arc::new(system_info), ..surroundings() };
    let token = TokenSource::Inline(Secret::new("t0ken"));
    deliver(&log, token, surroundings, || answer.send(Default::default()).expect("it is measured")).await;
    log.close();
}
