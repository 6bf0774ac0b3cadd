//! Hooks as daemons call them: the shipped programs' own words and environment against the built agent, while it runs and
//! while it does not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    copied::copy_program,
    process::{Process, wait},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// After so long ZEDs before 2.1 kill what they run.
const ZED_PATIENCE: Duration = Duration::from_secs(10);

/// An agent in a directory of its own, and what its hooks are told about it.
struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let settings = format!(
            "state_directory: {}\nsocket: {}\ncollectors: {{access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off, system: off}}\n",
            at("state"),
            at("rodent.sock"),
        );
        fs::write(directory.path().join("rodent.yml"), settings).expect("write the configuration");
        Scene { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self) -> Process {
        self.start_by(Command::new(env!("CARGO_BIN_EXE_rodent")))
    }

    fn start_by(&self, mut command: Command) -> Process {
        command.args(["agent", "--config"]).arg(self.path("rodent.yml")).env_remove("RODENT_SOCKET");
        let agent = Process::start(&mut command, &self.path("agent.log"));
        wait("the agent answers", PATIENCE, || self.rodent(&["status"]).status.success().then_some(()));
        agent
    }

    fn wait_for_spool(&self) {
        wait("the agent makes its spool", PATIENCE, || self.path("state/spool").is_dir().then_some(()));
    }

    fn rodent(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("--socket").arg(self.path("rodent.sock")).args(words).stdin(Stdio::null());
        command.output().expect("start rodent")
    }

    /// Runs a hook with the environment of a daemon and nothing else.
    fn hook(&self, words: &[&str], environment: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("hook").arg("--config").arg(self.path("rodent.yml")).args(words).env_clear();
        command.envs(environment.lines().filter_map(|line| line.split_once('='))).stdin(Stdio::null());
        command.output().expect("start rodent")
    }

    fn events(&self, filter: &str) -> Vec<Value> {
        let output = self.rodent(&["events", filter, "-o", "jsonl"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    fn spool(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("state/spool")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

fn succeeds(output: &Output) {
    let silent = output.stdout.is_empty() && output.stderr.is_empty();
    assert!(output.status.success() && silent, "{output:?}");
}

const SNAPSHOT: &str = include_str!("../fixtures/zed/history_event.snapshot");

const SMARTD: &str = "SMARTD_DEVICE=/dev/sda
SMARTD_DEVICESTRING=/dev/sda [SAT]
SMARTD_DEVICETYPE=sat
SMARTD_DEVICEINFO=QEMU HARDDISK, S/N:SATA1, FW:2.5+, 536 MB
SMARTD_FAILTYPE=Health
SMARTD_MESSAGE=Device: /dev/sda [SAT], FAILED SMART self-check. BACK UP DATA NOW!
SMARTD_PREVCNT=0";

#[test]
fn what_each_daemon_tells_is_an_event_at_once() {
    let scene = Scene::new();
    let _agent = scene.start();
    succeeds(&scene.hook(&["zed"], SNAPSHOT));
    succeeds(&scene.hook(&["smartd"], SMARTD));
    succeeds(&scene.hook(&["mdadm", "DeviceDisappeared", "/dev/md0"], "PATH=/bin"));
    // What the collector tells is passed over without a word.
    succeeds(&scene.hook(&["zed"], include_str!("../fixtures/zed/checksum")));

    let found: Vec<_> = scene
        .events("storage.*")
        .iter()
        .map(|event| (event["level"].clone(), event["kind"].clone(), event["metadata"]["component"].clone()))
        .collect();
    let expected = [
        ("info", "storage.snapshot.created", "zed"),
        ("critical", "storage.disk.health_changed", "smartd"),
        ("critical", "storage.pool.removed", "mdadm"),
    ];
    // The first is as old as its zevent.
    assert_eq!(found.len(), 3, "{found:?}");
    for (level, kind, component) in expected {
        assert!(found.contains(&(level.into(), kind.into(), component.into())), "{found:?} lacks {kind}");
    }
    let snapshot = &scene.events("storage.snapshot")[0];
    assert_eq!(snapshot["payload"]["snapshot_name"], "tank/data@s1");
    assert!(snapshot["origin"]["uid"].is_string(), "{snapshot}");
}

/// A zevent so many milliseconds after the test began, about another data set than the real one's where a name is given.
fn zevent(environment: &str, dataset: Option<&str>, began: Duration, after: u64) -> String {
    let time = began + Duration::from_millis(after);
    let lines = environment.lines().filter(|line| !line.starts_with("ZEVENT_TIME"));
    let named = |line: &str| match (line.split_once('='), dataset) {
        (Some((name @ "ZEVENT_HISTORY_DSNAME", _)), Some(dataset)) => format!("{name}={dataset}\n"),
        _ => format!("{line}\n"),
    };
    let times = format!("ZEVENT_TIME_SECS={}\nZEVENT_TIME_NSECS={}\n", time.as_secs(), time.subsec_nanos());
    lines.map(named).collect::<String>() + &times
}

#[test]
fn a_stream_that_is_torn_has_failed_and_what_is_removed_otherwise_has_been_destroyed() {
    const RECEIVE: &str = include_str!("../fixtures/zed/history_event.receive");
    const FINISH: &str = include_str!("../fixtures/zed/history_event.finish_receiving");
    const DESTROY_INNER: &str = include_str!("../fixtures/zed/history_event.destroy_recv");
    const DESTROY: &str = include_str!("../fixtures/zed/history_event.destroy");
    let scene = Scene::new();
    let _agent = scene.start();
    let began = UNIX_EPOCH.elapsed().expect("a clock") - Duration::from_secs(60);
    // All kinds that were ever told.
    let told = |course: &[(&str, Option<&str>, u64)]| {
        for (environment, dataset, after) in course {
            succeeds(&scene.hook(&["zed"], &zevent(environment, *dataset, began, *after)));
        }
        let events = scene.events("storage.*");
        let mut kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect();
        kinds.sort();
        kinds
    };
    let (begun, whole, failed) = ("storage.transfer.started", "storage.transfer.completed", "storage.transfer.failed");
    // What came since, into a part of ZFS's own: torn; and whole, with the next one begun before anybody asks, and told in any order.
    assert_eq!(told(&[(RECEIVE, None, 0), (DESTROY_INNER, None, 9)]), [failed, begun]);
    assert_eq!(
        told(&[(FINISH, None, 20), (RECEIVE, None, 10), (RECEIVE, None, 25), (DESTROY_INNER, None, 20)]),
        [whole, failed, begun, begun, begun]
    );
    assert_eq!(told(&[(DESTROY_INNER, None, 30)]), [whole, failed, failed, begun, begun, begun]);
    // All of it, into a new data set: torn, and one that somebody destroys.
    let (new, other) = (Some("tank/new"), Some("tank/other"));
    assert_eq!(
        told(&[(RECEIVE, new, 40), (DESTROY, new, 50), (DESTROY, other, 60)]),
        ["storage.dataset.deleted", whole, failed, failed, failed, begun, begun, begun, begun]
    );
}

#[test]
fn what_happens_while_the_agent_is_away_is_told_when_it_is_back_each_once_and_in_its_time() {
    let scene = Scene::new();
    let mut agent = scene.start();
    scene.wait_for_spool();
    assert!(agent.terminate(PATIENCE));

    for array in ["/dev/md3", "/dev/md1", "/dev/md2"] {
        succeeds(&scene.hook(&["mdadm", "SparesMissing", array], "PATH=/bin"));
    }
    assert_eq!(scene.spool().len(), 3);
    fs::write(scene.path("state/spool/0-strange.event"), "no event").expect("write a file");
    let _agent = scene.start();
    let told = || scene.events("storage.pool.spares_missing");
    wait("all are told", PATIENCE, || (told().len() == 3).then_some(()));
    wait("the spool is empty", PATIENCE, || (scene.spool().len() == 1).then_some(()));
    let arrays: Vec<_> = told().iter().map(|event| event["payload"]["pool_name"].clone()).collect();
    assert_eq!(arrays, ["md3", "md1", "md2"]);
    let aside = scene.path("state/spool/0-strange.refused");
    assert!(aside.exists(), "what is no event is kept for somebody to look at: {:?}", scene.spool());
}

#[test]
fn what_a_running_agent_cannot_be_given_is_taken_in_without_a_restart() {
    let scene = Scene::new();
    let _agent = scene.start();
    scene.wait_for_spool();
    let elsewhere = Path::new("/nonexistent/rodent.sock").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
    command.args(["--socket", &elsewhere, "hook", "--config"]).arg(scene.path("rodent.yml"));
    command.args(["mdadm", "SparesMissing", "/dev/md7"]).env_clear().stdin(Stdio::null());
    succeeds(&command.output().expect("start rodent"));
    wait("it is told", PATIENCE, || (scene.events("storage.pool.spares_missing").len() == 1).then_some(()));
}

#[test]
fn an_event_that_can_be_neither_given_nor_left_is_named_and_the_hook_fails() {
    let scene = Scene::new();
    let output = scene.hook(&["mdadm", "DeviceDisappeared", "/dev/md0"], "PATH=/bin");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("storage.pool.removed md0 is lost: no agent answers on"), "{said}");
    assert!(said.contains("there is no spool"), "{said}");
    let output = scene.hook(&["smartd"], "PATH=/bin");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}

#[test]
fn an_agent_that_does_not_answer_costs_a_daemon_seconds_and_no_event() {
    let scene = Scene::new();
    let mut agent = scene.start();
    scene.wait_for_spool();
    assert!(agent.terminate(PATIENCE));
    // Takes connections and never says anything.
    let _mute = std::os::unix::net::UnixListener::bind(scene.path("rodent.sock")).expect("listen");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
    command.arg("hook").arg("--config").arg(scene.path("rodent.yml")).args(["mdadm", "DeviceDisappeared", "/dev/md0"]);
    let mut hook = Process::start(command.env_clear(), &scene.path("hook.log"));
    let ended = wait("the hook ends before ZED kills it", ZED_PATIENCE, || hook.child.try_wait().expect("look at it"));
    assert!(ended.success());
    assert_eq!(scene.spool().len(), 1);
}

/// How large the files of a program may grow, bytes.
fn limit_files(program: &Process, bytes: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &program.child.id().to_string()]).arg(format!("--fsize={bytes}:"));
    assert!(command.status().expect("util-linux is here").success());
}

#[test]
fn what_is_in_memory_only_keeps_its_file_until_it_is_durable_and_the_hook_says_so() {
    let scene = Scene::new();
    // A file that may not grow is an error and not the end.
    let mut command = Command::new("env");
    command.args(["--ignore-signal=XFSZ", env!("CARGO_BIN_EXE_rodent")]);
    let agent = scene.start_by(command);
    scene.wait_for_spool();
    limit_files(&agent, "0");
    let output = scene.hook(&["mdadm", "SparesMissing", "/dev/md1"], "PATH=/bin");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("storage.pool.spares_missing md1 is kept in the agent's memory only: "), "{said}");
    assert_eq!(scene.spool().len(), 0);

    let leave = |array: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.args(["--socket", "/nonexistent/rodent.sock", "hook", "--config"]).arg(scene.path("rodent.yml"));
        command.args(["mdadm", "SparesMissing", array]).env_clear().stdin(Stdio::null());
        succeeds(&command.output().expect("start rodent"));
    };
    let told = || scene.events("storage.pool.spares_missing").len();
    leave("/dev/md2");
    wait("it is told", PATIENCE, || (told() == 2).then_some(()));
    assert_eq!(scene.spool().len(), 1, "the file is all there is on the disk");
    // That the next is taken shows that there was another look.
    leave("/dev/md3");
    wait("it is told", PATIENCE, || (told() >= 3).then_some(()));
    assert_eq!((told(), scene.spool().len()), (3, 2));
    limit_files(&agent, "unlimited");
    wait("the spool is empty", PATIENCE, || scene.spool().is_empty().then_some(()));
    assert_eq!(told(), 3);
}

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    };

    use super::*;

    const USER: u32 = 65_534;

    #[test]
    fn a_file_that_cannot_be_removed_is_taken_once_and_one_that_cannot_be_read_keeps_no_other_waiting() {
        assert!(nix::unistd::geteuid().is_root(), "only root can become somebody else: run `make test` as root");
        let scene = Scene::new();
        let spool = scene.path("state/spool");
        fs::create_dir_all(&spool).expect("make directories");
        // Root's own, so that the agent may look and not remove.
        fs::set_permissions(&spool, fs::Permissions::from_mode(0o755)).expect("set permissions");
        chown(scene.path("state"), Some(USER), Some(USER)).expect("root may");
        chown(scene.path(""), Some(USER), Some(USER)).expect("root may");
        let closed = spool.join("00000000-0000-0000-0000-000000000000.event");
        fs::write(&closed, "x").expect("write a file");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("set permissions");
        succeeds(&scene.hook(&["mdadm", "SparesMissing", "/dev/md1"], "PATH=/bin"));

        let program = scene.path("rodent");
        copy_program(&program);
        let mut command = Command::new(program);
        command.uid(USER).gid(USER);
        let agent = scene.start_by(command);
        let told = || scene.events("storage.pool.spares_missing").len();
        wait("it is told", PATIENCE, || (told() == 1).then_some(()));
        for (number, array) in [(2, "/dev/md2"), (3, "/dev/md3")] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
            command.args(["--socket", "/nonexistent/rodent.sock", "hook", "--config"]).arg(scene.path("rodent.yml"));
            command.args(["mdadm", "SparesMissing", array]).env_clear().stdin(Stdio::null());
            succeeds(&command.output().expect("start rodent"));
            wait("it is told", PATIENCE, || (told() >= number).then_some(()));
        }
        assert_eq!((told(), scene.spool().len()), (3, 4), "each look has passed over those before");
        fs::remove_file(&closed).expect("remove a file");
        chown(&spool, Some(USER), Some(USER)).expect("root may");
        wait("the spool is empty", PATIENCE, || scene.spool().is_empty().then_some(()));
        assert_eq!(told(), 3);
        drop(agent);
    }
}

#[test]
fn an_event_that_the_agent_does_not_take_now_is_left_in_its_spool_and_one_that_cannot_be_left_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let (state, config) = (directory.path().join("state"), directory.path().join("rodent.yml"));
    fs::create_dir(&state).expect("a state directory");
    fs::write(&config, format!("state_directory: {}\n", state.display())).expect("a configuration");
    let emit = || {
        let mut rodent = Command::new(env!("CARGO_BIN_EXE_rodent"));
        rodent.arg("--socket").arg(directory.path().join("nobody.sock"));
        rodent.args(["emit", "--spool", "--config"]).arg(&config).args(["storage.pool.created", "pool_name=tank"]);
        rodent.output().expect("rodent runs")
    };
    let lost = emit();
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(lost.status.code() == Some(69) && said.contains("there is no spool"), "{said}");
    let spool = rodent::spool::Spool::of(&state);
    spool.make().expect("the agent makes it");
    let left = emit();
    let said = String::from_utf8_lossy(&left.stderr).into_owned();
    assert!(left.status.success() && said.contains("left for the agent as"), "{said}");
    assert_eq!(fs::read_dir(state.join("spool")).expect("the spool").count(), 1);
}
