//! Whole collectors on fixture trees: files in, events out of a real log.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{ALL, Collector, Context, Sights};
use crate::{
    event::{EventView, Summary},
    event_log::{EventLog, Lane, Read, Reader, Settings},
    host::{Host, journal::tests::Written},
    pipeline::{Emitter, Gate, MemoryKeeper},
    settings::Document,
};

/// How long an expected event may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may come after the last expected one.
const QUIET: Duration = Duration::from_millis(400);

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\n";
const GROUP: &str = "root:x:0:\nalice:x:1000:\n";
const SHADOW: &str = "root:*:20000:0:99999:7:::\nalice:$y$j9T$def:20001:0:99999:7:::\n";

/// A machine made of files, and an agent's state.
pub(super) struct Machine {
    root: TempDir,
    pub(super) state: TempDir,
    /// Of the collector, as they stand in a file.
    settings: RefCell<&'static str>,
    /// Whether the states have lost events.
    pub(super) asserts: std::cell::Cell<bool>,
}

/// How a run of the collector ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Clean,
    /// The collector alone ends, as when it is turned off.
    Off,
    Killed,
}

impl Machine {
    pub(super) fn new() -> Machine {
        let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Machine { root, state, settings: RefCell::default(), asserts: Default::default() }
    }

    pub(super) fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A program of the machine, in shell.
    pub(super) fn program(&self, path: &str, script: &str) {
        self.write(path, &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What a domain is handed to look at it, as long as the log is kept.
    pub(super) async fn ground(&self, name: &'static str) -> (Context, EventLog) {
        let log = self.log().await;
        (self.context(name, &log).await.0, log)
    }

    /// As editors do it.
    fn replace(&self, path: &str, text: &str) {
        self.write(&format!("{path}+"), text);
        std::fs::rename(self.root.path().join(format!("{path}+")), self.root.path().join(path)).unwrap();
    }

    /// Runs a collector while `script` plays; gives every event of this run.
    pub(super) async fn run(&self, name: &str, end: End, script: impl AsyncFnOnce(&mut Told)) -> Vec<String> {
        let spec = ALL.iter().find(|spec| spec.name == name).unwrap();
        let collector = (spec.build)(&mut Document::parse("settings", &self.settings.borrow()).root());
        self.run_this(spec.name, collector, end, script).await
    }

    /// The same of one that is not in the list.
    pub(super) async fn run_this(
        &self,
        name: &'static str,
        collector: Box<dyn Collector>,
        end: End,
        script: impl AsyncFnOnce(&mut Told),
    ) -> Vec<String> {
        let log = self.log().await;
        let mut told = Told::new(&log);
        let (context, keeper) = self.context(name, &log).await;
        let (shutdown, agent_stops) = (context.shutdown.clone(), context.agent_stops.clone());
        let (killed, collected) = <(CancellationToken, CancellationToken)>::default();
        let collect = async {
            tokio::select! {
                ended = collector.run(context) => ended.unwrap(),
                () = killed.cancelled() => {}
            }
            collected.cancel();
        };
        let play = async {
            script(&mut told).await;
            if end == End::Clean {
                agent_stops.cancel();
            }
            if end == End::Killed { killed.cancel() } else { shutdown.cancel() }
        };
        tokio::join!(collect, play, keeper.run(collected.clone()));
        told.rest(&log).await;
        tokio::task::spawn_blocking(move || log.close()).await.unwrap();
        told.lines()
    }

    pub(super) async fn log(&self) -> EventLog {
        let state = self.state.path().to_owned();
        tokio::task::spawn_blocking(move || EventLog::open(log_settings(&state)).unwrap()).await.unwrap()
    }

    pub(super) async fn context(&self, name: &'static str, log: &EventLog) -> (Context, MemoryKeeper) {
        let keeper = MemoryKeeper::new(self.state.path().join("memory"), log.clone());
        let context = Context {
            emitter: Emitter::new(log.clone(), Gate::open(), now).for_source(name),
            host: Host::at(self.root.path()),
            sight: Sights::new(keeper.memory("sight"), crate::health::Registry::new(|| 1)).of(name).await,
            memory: keeper.memory(name),
            shutdown: CancellationToken::new(),
            agent_stops: CancellationToken::new(),
            asserts: self.asserts.get(),
        };
        (context, keeper)
    }
}

/// What has come into the log: lines by time and identifier, for the lanes have no common order.
pub(super) struct Told {
    readers: [Reader; 2],
    events: BTreeMap<(i64, String), String>,
}

impl Told {
    fn new(log: &EventLog) -> Told {
        Told { readers: Lane::ALL.map(|lane| log.reader(lane, log.next_sequence(lane))), events: BTreeMap::new() }
    }

    fn lines(&self) -> Vec<String> {
        self.events.values().cloned().collect()
    }

    /// Waits until this many events have come in all, and for a while after.
    pub(super) async fn reaches(&mut self, count: usize) {
        while self.events.len() < count {
            let [urgent, routine] = &self.readers;
            let ready = async {
                tokio::select! {
                    () = urgent.ready() => {}
                    () = routine.ready() => {}
                }
            };
            let in_time = tokio::time::timeout(PATIENCE, ready).await;
            in_time.unwrap_or_else(|_| panic!("{count} events expected, and only these came: {:#?}", self.events));
            self.take();
        }
        tokio::time::sleep(QUIET).await;
        self.take();
    }

    async fn rest(&mut self, log: &EventLog) {
        for lane in Lane::ALL {
            log.commit(lane, log.next_sequence(lane)).await.unwrap();
        }
        self.take();
    }

    fn take(&mut self) {
        for reader in &mut self.readers {
            while let Read::Run(run) = reader.read(1000, 1 << 20).unwrap() {
                for stored in run.events() {
                    let event = EventView::decode(&stored.event).unwrap();
                    self.events.insert((event.timestamp(), event.id().to_owned()), line(&event));
                }
            }
        }
    }
}

/// `warn storage.pool.degraded tank`
fn line(event: &EventView) -> String {
    assert!(event.metadata("component").is_some() && event.metadata("action").is_some(), "{}", event.kind());
    format!("{} {} {}", event.level().name(), event.kind(), Summary::of(event).subject)
}

fn log_settings(state: &Path) -> Settings {
    Settings {
        buffer_size: 1000,
        flush_threshold: 900,
        flush_interval: Duration::from_millis(20),
        ..Settings::new(state.join("log"))
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn nas() -> Machine {
    let machine = Machine::new();
    machine.write("etc/passwd", PASSWD);
    machine.write("etc/group", GROUP);
    machine.write("etc/shadow", SHADOW);
    machine.write("etc/os-release", "PRETTY_NAME=\"Appliance 1\"\n");
    machine.write("proc/sys/kernel/hostname", "nas\n");
    machine.write("proc/sys/kernel/random/boot_id", "11111111-1111-4111-8111-111111111111\n");
    machine.write("proc/self/stat", &stat(100));
    machine.write("proc/self/mountinfo", include_str!("../../tests/fixtures/mounts/mountinfo"));
    machine
}

fn stat(started: u32) -> String {
    format!("1 (ro dent)) S {}{started} 0 0\n", "0 ".repeat(18))
}

fn with_zpool(status: &str) -> Machine {
    let machine = nas();
    machine.write("dev/zfs", "");
    machine.write("sbin/zpool-status.txt", status);
    machine.write("sbin/zpool-list.txt", "pool1\t503316480\t84410368\n");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/zfs/zpool");
    std::os::unix::fs::symlink(fixture, machine.root.path().join("sbin/zpool")).unwrap();
    machine
}

/// Less what depends on the clocks of the machine that the test runs on.
fn without_clocks(lines: Vec<String>) -> Vec<String> {
    let depends = |line: &String| line.contains("system.host.clock_") || line.contains("startup.cold_boot");
    lines.into_iter().filter(|line| !depends(line)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_tells_faults_at_first_sight_and_after_a_restart_only_what_has_changed() {
    let faulted = include_str!("../../tests/fixtures/zfs/zpool-status-p.disk-faulted.txt");
    let machine = with_zpool(faulted);
    let first = machine.run("storage", End::Clean, async |told| told.reaches(4).await).await;
    assert_eq!(
        first,
        [
            "error storage.pool.degraded pool1",
            "error storage.disk.state_changed zc",
            "error storage.pool.errors pool1",
            "info system.host.inventory storage",
        ]
    );
    let again = machine.run("storage", End::Clean, async |told| told.reaches(0).await).await;
    assert_eq!(again, Vec::<String>::new());

    machine.write("sbin/zpool-status.txt", include_str!("../../tests/fixtures/zfs/zpool-status.repaired.txt"));
    let table = include_str!("../../tests/fixtures/mounts/mountinfo");
    let without_tape: Vec<_> = table.lines().filter(|line| !line.contains("tape")).collect();
    machine.write("proc/self/mountinfo", &without_tape.join("\n"));
    let repaired = machine.run("storage", End::Clean, async |told| told.reaches(4).await).await;
    assert_eq!(
        repaired,
        [
            "info storage.dataset.unmounted /dev/sdb1",
            "info storage.pool.online pool1",
            "info storage.disk.state_changed zc",
            "info storage.pool.errors_cleared pool1",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_that_another_setting_left_out_are_no_news_and_what_was_mounted_meanwhile_is() {
    let machine = nas();
    let none = async |told: &mut Told| told.reaches(0).await;
    machine.settings.replace("mounts: {exclude: [xfs, zfs]}");
    let first = machine.run("storage", End::Clean, async |told| told.reaches(1).await).await;
    assert_eq!(first, ["info system.host.inventory storage"]);
    machine.settings.replace("mounts: {exclude: [zfs]}");
    assert_eq!(machine.run("storage", End::Clean, none).await, Vec::<String>::new(), "the tape was there");
    machine.settings.replace("mounts: {include: [proc]}");
    let table = include_str!("../../tests/fixtures/mounts/mountinfo");
    machine.write("proc/self/mountinfo", &format!("{table}\n999 1 8:99 / /srv/new rw - ext4 /dev/sdz9 rw\n"));
    let wider = machine.run("storage", End::Clean, async |told| told.reaches(1).await).await;
    assert_eq!(wider, ["info storage.dataset.mounted /dev/sdz9"]);
    machine.settings.replace("mounts: {exclude: [zfs, xfs]}");
    assert_eq!(machine.run("storage", End::Clean, none).await, Vec::<String>::new(), "it is not gone either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_sees_a_suspended_pool_by_the_kernels_word() {
    let healthy = include_str!("../../tests/fixtures/zfs/zpool-status.repaired.txt");
    let machine = with_zpool(healthy);
    machine.write("proc/spl/kstat/zfs/pool1/state", "ONLINE\n");
    let told = machine
        .run("storage", End::Clean, async |told| {
            told.reaches(1).await;
            machine.write("sbin/zpool-status.txt", &healthy.replacen("ONLINE", "SUSPENDED", 1));
            machine.write("proc/spl/kstat/zfs/pool1/state", "SUSPENDED\n");
            told.reaches(2).await;
        })
        .await;
    assert_eq!(told, ["info system.host.inventory storage", "critical storage.pool.suspended pool1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_seen_as_they_change_and_half_written_files_are_waited_out() {
    let machine = nas();
    let told = machine
        .run("system", End::Clean, async |told| {
            while !told.lines().iter().any(|line| line.contains("inventory")) {
                told.reaches(told.events.len() + 1).await;
            }
            told.events.clear();
            machine.write("etc/passwd", "");
            tokio::time::sleep(Duration::from_millis(1500)).await;
            machine.replace("etc/shadow", &format!("{SHADOW}bob:!:20010:0:99999:7:::\n"));
            machine.replace("etc/group", &format!("{GROUP}bob:x:1001:alice\n"));
            machine.replace("etc/passwd", &format!("{PASSWD}bob:x:1001:1001::/home/bob:/bin/sh\n"));
            told.reaches(2).await;
            machine.replace("etc/shadow", &SHADOW.replace("alice:$y", "alice:!$y"));
            told.reaches(3).await;
        })
        .await;
    assert_eq!(
        told,
        [
            "info system.user.created bob",
            "info identity.group.created bob",
            "info system.user.locked alice",
            "info system.shutdown.shutdown nas",
        ]
    );
    let remembered = std::fs::read_to_string(machine.state.path().join("memory/system.json")).unwrap();
    assert!(remembered.contains("alice") && !remembered.contains("$y$") && !remembered.contains("j9T"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_and_stops_are_told_for_what_they_were() {
    let machine = nas();
    let start = async |end| without_clocks(machine.run("system", end, async |told| told.reaches(1).await).await);
    assert_eq!(
        start(End::Clean).await,
        ["info system.startup.started nas", "info system.host.inventory accounts", "info system.shutdown.shutdown nas"]
    );

    machine.write("proc/self/stat", &stat(200));
    machine.replace("etc/passwd", &PASSWD.replace("/bin/sh", "/bin/zsh"));
    assert_eq!(
        start(End::Killed).await,
        ["info system.startup.service_restart nas", "info system.user.modified alice"]
    );

    machine.write("proc/self/stat", &stat(300));
    assert_eq!(
        start(End::Killed).await,
        ["warn system.shutdown.emergency nas", "info system.startup.service_restart nas"]
    );

    machine.write("proc/self/stat", &stat(400));
    machine.write("proc/sys/kernel/random/boot_id", "22222222-2222-4222-8222-222222222222\n");
    assert_eq!(
        start(End::Clean).await,
        ["warn system.shutdown.emergency nas", "info system.startup.started nas", "info system.shutdown.shutdown nas"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_starts_again_in_the_same_process_tells_no_new_start() {
    let machine = nas();
    let first = machine.run("system", End::Killed, async |told| told.reaches(2).await).await;
    assert!(first.iter().any(|line| line.contains("startup.started")));
    let second = machine.run("system", End::Killed, async |told| told.reaches(0).await).await;
    assert_eq!(without_clocks(second), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_turned_off_says_no_farewell_and_the_next_start_finds_no_unclean_stop() {
    let machine = nas();
    let run =
        async |end, count| without_clocks(machine.run("system", end, async |told| told.reaches(count).await).await);
    let first = run(End::Off, 2).await;
    assert!(!first.iter().any(|line| line.contains("shutdown")), "{first:?}");
    assert_eq!(run(End::Off, 0).await, Vec::<String>::new(), "on again, in the same process");
    machine.write("proc/self/stat", &stat(200));
    assert_eq!(run(End::Killed, 1).await, ["info system.startup.service_restart nas"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_are_told_as_they_come_and_those_of_the_time_without_the_agent_at_its_next_start() {
    let machine = nas();
    let id = "0123456789abcdef0123456789abcdef";
    machine.write("etc/machine-id", id);
    let journal = machine.root.path().join("var/log/journal").join(id).join("system.journal");
    let mut journal = Written::new(journal, 1, true);
    let sshd = "/usr/sbin/sshd";
    let accepted = |user: &str| format!("Accepted password for {user} from 10.0.0.7 port 5 ssh2");
    journal.says(7, 1, sshd, &accepted("before"));
    let told = machine
        .run("security", End::Killed, async |told| {
            // The first look has been taken.
            while !machine.state.path().join("memory/security.json").exists() {
                told.reaches(0).await;
            }
            journal.says(7, 2, sshd, &accepted("alice"));
            journal.says(7, 3, sshd, "Failed password for bob from 10.0.0.7 port 6 ssh2");
            journal.says(7, 4, "/usr/bin/logger", &accepted("root"));
            told.reaches(2).await;
        })
        .await;
    assert_eq!(told, ["info security.auth.login_success alice", "warn security.auth.login_failed bob"]);
    journal.says(7, 5, sshd, &accepted("carol"));
    let told = machine.run("security", End::Clean, async |told| told.reaches(1).await).await;
    assert_eq!(told, ["info security.auth.login_success carol"]);
    assert_eq!(machine.run("security", End::Clean, async |told| told.reaches(0).await).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_told_once_two_looks_see_the_same_change() {
    let machine = nas();
    machine.write("etc/samba/smb.conf", "[data]\npath = /srv/data\n");
    let told = machine
        .run("sharing", End::Clean, async |told| {
            told.reaches(1).await;
            machine.write("etc/exports", "/srv/x *(ro)\n");
            machine.write("etc/samba/smb.conf", "[data]\npath = /srv/other\n");
            told.reaches(1).await;
        })
        .await;
    assert_eq!(told, ["info system.host.inventory sharing"]);
    let told = machine.run("sharing", End::Clean, async |told| told.reaches(2).await).await;
    assert_eq!(told, ["info sharing.share.created /srv/x", "info sharing.share.modified data"]);
}
