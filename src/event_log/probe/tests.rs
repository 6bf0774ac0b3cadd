//! Tests of the probe. The child is this test program, asked for one test that plays the part.

use std::env;

use super::*;
use crate::event_log::{Lane, meta::Meta};

/// Set for the child: what it is to do, and to which store.
const PART: &str = "RODENT_TEST_PROBE";

fn child_that(does: &str, store: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "event_log::probe::tests::the_child", "--nocapture"]);
    command.env(PART, does).env("RODENT_TEST_STORE", store);
    command
}

/// Nothing of its own: what the tests below start as their child.
#[test]
fn the_child() {
    let (Ok(part), Some(store)) = (env::var(PART), env::var_os("RODENT_TEST_STORE")) else { return };
    match part.as_str() {
        "probe" => {
            let (code, why) = child(Path::new(&store));
            let said = std::io::Write::write_all(&mut std::io::stdout(), format!("\n{why}\n").as_bytes());
            said.expect("a pipe");
            std::process::exit(code.into());
        }
        "be told to stop" => {
            for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
                nix::sys::signal::raise(signal).expect("a signal");
            }
            std::process::exit(0);
        }
        "abort" => std::process::abort(),
        "hang" => thread::sleep(Duration::from_secs(600)),
        "panic" => panic!("as sled would"),
        "devour" => {
            setrlimit(Resource::RLIMIT_AS, 64 << 20, 64 << 20).expect("a limit");
            let all = vec![1u8; 1 << 30];
            std::process::exit(i32::from(all[all.len() / 2]) - 1);
        }
        other => panic!("no such part: {other}"),
    }
}

fn probing(store: &Path) -> Command {
    child_that("probe", store)
}

fn store(root: &Path) -> PathBuf {
    let meta = Meta::open(root).expect("a store");
    for number in 0..50 {
        meta.set_cursor(&format!("cursor {number}"), Lane::Urgent, 7).expect("written");
    }
    meta.flush().expect("durable");
    drop(meta);
    // The second opening leaves a snapshot.
    drop(Meta::open(root).expect("a store"));
    root.join("meta")
}

#[test]
fn a_sound_store_is_found_sound_by_a_child_and_by_a_thread_and_is_not_touched() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    let before = fs::read(store.join("db")).expect("readable");
    fs::write(store.join("snap.0000000000000001.generating"), "half").expect("written");
    for part in [Part::All, Part::Log] {
        assert_eq!(probe(root.path(), &store, part, Some(probing)), Verdict::Sound);
        assert_eq!(probe(root.path(), &store, part, None), Verdict::Sound);
    }
    assert_eq!(fs::read(store.join("db")).expect("readable"), before);
    assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1, "no copy stays");
}

#[test]
fn a_damaged_store_is_found_damaged_by_a_child_and_by_a_thread() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    let conf = fs::read(store.join("conf")).expect("readable");
    fs::write(store.join("conf"), conf.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>()).expect("written");
    for command in [None, Some(probing as ProbeCommand)] {
        let verdict = probe(root.path(), &store, Part::All, command);
        assert!(matches!(verdict, Verdict::Damaged(_)), "{verdict:?}");
    }
}

#[test]
fn a_damaged_snapshot_does_no_harm_when_it_is_left_out() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    for entry in fs::read_dir(&store).expect("readable").flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::write(entry.path(), "not a snapshot at all").expect("written");
        }
    }
    assert!(matches!(probe(root.path(), &store, Part::All, Some(probing)), Verdict::Damaged(_)));
    assert_eq!(probe(root.path(), &store, Part::Log, Some(probing)), Verdict::Sound);
}

#[test]
fn a_child_that_panics_aborts_hangs_or_devours_memory_means_damage() {
    for part in ["panic", "abort", "hang", "devour"] {
        let started = Instant::now();
        let verdict =
            in_child(child_that(part, Path::new("/")), Duration::from_secs(if part == "hang" { 1 } else { 60 }));
        assert!(matches!(verdict, Verdict::Damaged(_)), "{part}: {verdict:?} after {:?}", started.elapsed());
    }
}

#[test]
fn a_child_is_not_ended_by_what_tells_the_whole_service_or_job_to_stop() {
    assert_eq!(in_child(child_that("be told to stop", Path::new("/")), TIME_MAX), Verdict::Sound);
    let mine = SigSet::thread_get_mask().expect("a mask");
    assert!(!mine.contains(Signal::SIGTERM), "the parent goes on to be told");
}

#[test]
fn a_child_that_cannot_be_started_says_nothing_about_the_store() {
    let verdict = in_child(Command::new("/nowhere/at/all"), TIME_MAX);
    assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
}
