//! `rodent log`: what it says of a damaged log, and what it does.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, Output},
};

use rodent::{
    event_log::{Draft, EventLog, Lane},
    schema::{
        Payload as _,
        events::{Event, EventLevel, StoragePoolPayload},
    },
};
use serde_json::Value;

use crate::store::{Original, frames, read, scratch, settings};

fn rodent(root: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
    command.arg("log").args(words).arg("--directory").arg(root.join("log"));
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// Damages the second frame of the newest generation of `routine`; gives its sequences.
fn damage(original: &Original, root: &Path) -> std::ops::Range<u64> {
    let path = root.join(original.newest(Lane::Routine));
    let frame = frames(&fs::read(&path).expect("readable"))[1].clone();
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.write_all_at(b"damage", frame.bytes.start as u64 + 120).expect("written");
    frame.sequences
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_sound_log_is_called_sound_and_nothing_is_done_to_it() {
    let original = Original::new(true);
    let copy = original.copy();
    let (code, said, _) = rodent(copy.path(), &["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("all is well\n"), "{said}");
    assert!(!said.contains("not the log's"), "the log knows what it made: {said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let (code, said, _) = rodent(copy.path(), &["repair", "--apply"]);
    assert_eq!((code, said.as_str()), (Some(0), "there is nothing to repair\n"));
    let before: Vec<_> = original.files().iter().map(|(path, _)| fs::read(copy.path().join(path)).ok()).collect();
    let same = original.copy();
    let after: Vec<_> = original.files().iter().map(|(path, _)| fs::read(same.path().join(path)).ok()).collect();
    assert!(before == after, "looking changes nothing");
}

#[test]
fn damage_is_named_to_the_event_repaired_on_demand_only_and_the_damaged_kept() {
    let original = Original::new(true);
    let copy = original.copy();
    let gone = damage(&original, copy.path());
    let (code, said, _) = rodent(copy.path(), &["check", "-o", "json"]);
    assert_eq!(code, Some(65), "{said}");
    let damaged: Vec<Value> = json(&said)["generations"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|g| g["damaged"] == true)
        .cloned()
        .collect();
    assert_eq!(damaged.len(), 1, "{said}");
    assert_eq!(damaged[0]["missing"], serde_json::json!([{ "first": gone.start, "last": gone.end - 1 }]));
    let (_, said, _) = rodent(copy.path(), &["check"]);
    let line = format!("4 events are gone: {}-{}", gone.start, gone.end - 1);
    assert!(said.contains(&line), "{said}");

    let (code, said, _) = rodent(copy.path(), &["repair"]);
    assert_eq!(code, Some(0));
    assert!(said.ends_with("nothing has been changed; --apply does it\n"), "{said}");
    assert!(!copy.path().join("log/quarantine").exists(), "a plan does nothing");
    let (code, said, _) = rodent(copy.path(), &["repair", "--apply"]);
    assert_eq!(code, Some(0), "{said}");
    let kept: Vec<_> = fs::read_dir(copy.path().join("log/quarantine")).expect("made").flatten().collect();
    assert_eq!(kept.len(), 1);
    assert!(fs::read(kept[0].path().join("db")).expect("kept").windows(6).any(|bytes| bytes == b"damage"));
    let (_, said, _) = rodent(copy.path(), &["repair"]);
    assert_eq!(said, "there is nothing to repair\n");

    let found = read(settings(copy.path()));
    assert_eq!(found.missing(&original, Lane::Routine), gone.clone().collect());
    assert_eq!(found.recorded[1], gone.collect::<Vec<_>>(), "the agent records it when it runs again");
}

#[test]
fn damaged_cursors_are_set_aside_and_no_event_goes_with_them() {
    let original = Original::new(true);
    let copy = original.copy();
    fs::write(copy.path().join("log/ledger"), "nothing of the kind").expect("written");
    let (code, said, _) = rodent(copy.path(), &["check"]);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("the ledger, which has the cursors, is damaged"), "{said}");
    let (code, said, _) = rodent(copy.path(), &["repair", "--apply"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(copy.path().join("log/quarantine/ledger-1").exists());
    let found = read(settings(copy.path()));
    assert!(Lane::ALL.iter().all(|lane| found.missing(&original, *lane).is_empty()));
    assert_ne!(found.epoch, original.epoch);
}

#[test]
fn events_are_exported_as_they_are_emitted_and_what_is_gone_is_said() {
    let root = scratch();
    let log = EventLog::open(settings(root.path())).expect("a log");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (number, lane) in [Lane::Routine, Lane::Urgent, Lane::Routine].into_iter().enumerate() {
        let payload = StoragePoolPayload { pool_name: format!("tank{number}"), operation: 1, ..Default::default() };
        let event = Event {
            event_id: uuid::Uuid::now_v7().to_string(),
            level: EventLevel::Info.into(),
            category: StoragePoolPayload::CATEGORY.into(),
            timestamp: 1_700_000_000_000,
            event_payload: Some(payload.into_event_payload()),
            ..Event::default()
        };
        let event = prost::Message::encode_to_vec(&event);
        let draft = Draft { event: &event, level: 1, category: 2, timestamp: 1_700_000_000_000, kind: None };
        let next = runtime.block_on(log.append(lane, &[draft])).expect("appended");
        runtime.block_on(log.commit(lane, next)).expect("durable");
    }
    let (code, _, said) = rodent(root.path(), &["export"]);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    log.close();

    let (code, printed, said) = rodent(root.path(), &["export"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let pools: Vec<_> = printed.lines().map(|line| json(line)["payload"]["pool_name"].clone()).collect();
    assert_eq!(pools, ["tank1", "tank0", "tank2"], "urgent ones first");
    for line in printed.lines() {
        rodent::event::json::from_str(line).expect("what `rodent emit --json` takes");
    }
    let (_, printed, _) = rodent(root.path(), &["export", "--lane", "urgent"]);
    assert_eq!(printed.lines().count(), 1);

    let db = root.path().join("log/routine/gen-0000000001/db");
    let first = frames(&fs::read(&db).expect("readable"))[0].clone();
    let file = fs::File::options().write(true).open(db).expect("a file");
    file.write_all_at(b"damage", first.bytes.start as u64 + 100).expect("written");
    let (code, printed, said) = rodent(root.path(), &["export", "--lane", "routine"]);
    assert_eq!((code, printed.lines().count()), (Some(65), 1));
    assert_eq!(said, "rodent: routine 1 is not there\n");
}

#[test]
fn a_log_that_is_not_there_is_not_made() {
    let root = scratch();
    let (code, _, said) = rodent(root.path(), &["check"]);
    assert_eq!(code, Some(66), "{said}");
    assert!(!root.path().join("log").exists());
}

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    use super::*;

    const OWNER: u32 = 65_534;

    /// Calls `visit` for everything below `path`, and for that.
    fn walk(path: &Path, visit: &mut impl FnMut(&Path)) {
        visit(path);
        if path.is_dir() {
            fs::read_dir(path).expect("a directory").flatten().for_each(|entry| walk(&entry.path(), visit));
        }
    }

    fn damaged() -> (Original, tempfile::TempDir) {
        assert!(nix::unistd::geteuid().is_root(), "only root can become somebody else: run `make test` as root");
        let original = Original::new(true);
        let copy = original.copy();
        damage(&original, copy.path());
        fs::write(copy.path().join("log/ledger"), "nothing of the kind").expect("written");
        (original, copy)
    }

    #[test]
    fn what_root_repairs_belongs_to_the_owner_of_the_log() {
        let (_original, copy) = damaged();
        walk(copy.path(), &mut |path| chown(path, Some(OWNER), Some(OWNER)).expect("root may"));
        for words in [&["check"][..], &["export"], &["repair"], &["repair", "--apply"], &["check"]] {
            let (code, said, why) = rodent(copy.path(), words);
            assert!(matches!(code, Some(0 | 65)), "{words:?}: {said}{why}");
        }
        assert!(copy.path().join("log/quarantine/ledger-1").exists());
        walk(copy.path(), &mut |path| {
            let metadata = fs::symlink_metadata(path).expect("it is there");
            assert_eq!((metadata.uid(), metadata.gid()), (OWNER, OWNER), "{}", path.display());
        });
    }

    #[test]
    fn root_does_nothing_as_root_where_another_user_decides_what_lies_there() {
        let (_original, copy) = damaged();
        let log = copy.path().join("log");
        walk(&log, &mut |path| chown(path, Some(OWNER), Some(OWNER)).expect("root may"));
        let refused = |words: &[&str], part: &str| {
            let (code, said, why) = rodent(copy.path(), words);
            assert!(!matches!(code, Some(0 | 65)), "{words:?}: {said}{why}");
            assert!(why.contains(part), "{words:?}: {why}");
            assert!(!log.join("quarantine").exists(), "{words:?}");
        };
        let all = [&["check"][..], &["export"], &["repair"], &["repair", "--apply"]];
        // Its owner cannot come there, and may have brought that about.
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o700)).expect("root may");
        all.iter().for_each(|words| refused(words, "chown -R root:"));
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).expect("root may");
        fs::set_permissions(&log, fs::Permissions::from_mode(0o0)).expect("root may");
        all.iter().for_each(|words| refused(words, "chown -R root:"));
        // Root's own, but where its name leads is another's to say.
        walk(&log, &mut |path| chown(path, Some(0), Some(0)).expect("root may"));
        fs::set_permissions(&log, fs::Permissions::from_mode(0o700)).expect("root may");
        chown(copy.path(), Some(OWNER), Some(OWNER)).expect("root may");
        all.iter().for_each(|words| refused(words, "as its owner, user 65534"));
        chown(copy.path(), Some(0), Some(0)).expect("root may");
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o777)).expect("root may");
        all.iter().for_each(|words| refused(words, "others may write there"));
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o700)).expect("root may");
        let (code, said, why) = rodent(copy.path(), &["repair", "--apply"]);
        assert_eq!(code, Some(0), "{said}{why}");
        assert!(log.join("quarantine/ledger-1").exists());
    }

    #[test]
    fn what_the_owner_puts_in_root_s_way_stays_where_it_is() {
        let (_original, copy) = damaged();
        let (log, target) = (copy.path().join("log"), copy.path().join("cron"));
        fs::create_dir(&target).expect("made");
        fs::write(log.join("ledger"), "#!/bin/sh").expect("written");
        std::os::unix::fs::symlink(&target, log.join("quarantine")).expect("linked");
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o711)).expect("root may");
        walk(&log, &mut |path| std::os::unix::fs::lchown(path, Some(OWNER), Some(OWNER)).expect("root may"));
        fs::set_permissions(&log, fs::Permissions::from_mode(0o0)).expect("root may");
        rodent(copy.path(), &["repair", "--apply"]);
        fs::set_permissions(&log, fs::Permissions::from_mode(0o700)).expect("root may");
        rodent(copy.path(), &["repair", "--apply"]);
        assert_eq!(fs::read_dir(&target).expect("a directory").count(), 0, "nothing comes where root only may write");
    }

    #[test]
    fn what_an_owner_left_in_a_copy_that_was_made_root_s_leads_root_nowhere() {
        let (_original, copy) = damaged();
        let (log, target) = (copy.path().join("log"), copy.path().join("cron"));
        fs::create_dir(&target).expect("made");
        let refused = |left: &str, part: &str| {
            for words in [&["check"][..], &["export"], &["repair"], &["repair", "--apply"]] {
                let (code, said, why) = rodent(copy.path(), words);
                assert_eq!(code, Some(77), "{left}, {words:?}: {said}{why}");
                assert!(why.contains(part), "{left}, {words:?}: {why}");
            }
            assert_eq!(fs::read_dir(&target).expect("a directory").count(), 0, "{left} leads root");
        };
        for left in ["quarantine", "routine/gen-0000000099", "urgent/away"] {
            std::os::unix::fs::symlink(&target, log.join(left)).expect("linked");
            refused(left, &format!("log/{left}: a link"));
            fs::remove_file(log.join(left)).expect("it is there");
        }
        let lane = log.join("routine");
        chown(&lane, Some(OWNER), Some(OWNER)).expect("root may");
        refused("routine", "log/routine belongs to user 65534");
        chown(&lane, Some(0), Some(0)).expect("root may");
        fs::set_permissions(&lane, fs::Permissions::from_mode(0o777)).expect("root may");
        refused("routine", "log/routine: others may write there");
        fs::set_permissions(&lane, fs::Permissions::from_mode(0o700)).expect("root may");
        let (code, said, why) = rodent(copy.path(), &["repair", "--apply"]);
        assert_eq!(code, Some(0), "{said}{why}");
        assert!(log.join("quarantine/ledger-1").exists());
    }
}
