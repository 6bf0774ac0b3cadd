//! What the log must not get wrong, however the disk and the machine behave.

use std::collections::BTreeSet;

use super::{disk::frame, *};

/// A path at which no directory can be made, until [`appear`].
fn nowhere(directory: &Path) -> Settings {
    std::os::unix::fs::symlink(directory.join("target"), directory.join("link")).expect("a link to nothing");
    settings(&directory.join("link"))
}

fn urgent(directory: &Path) -> Settings {
    Settings { disk_bytes_max: 10 << 20, ballast_bytes_max: 0, generation_bytes: 512 << 10, ..settings(directory) }
}

async fn commit(log: &EventLog, lane: Lane, events: &[Vec<u8>]) -> u64 {
    let drafts: Vec<_> = events.iter().map(|event| draft(event)).collect();
    let next = log.append(lane, &drafts).await.expect("an open log");
    log.commit(lane, next).await.expect("durable");
    next
}

#[tokio::test]
async fn a_directory_that_somebody_made_and_put_nothing_in_is_told_of_and_a_new_one_is_not() {
    for (is_made, told) in [(false, 0), (true, 2)] {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = settings(directory.path());
        if is_made {
            std::fs::create_dir(&settings.directory).expect("made");
        }
        let log = EventLog::open(settings).expect("a log");
        log.commit(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("durable");
        let unclean = losses(&log).iter().filter(|loss| loss.operation() == EventLossOperation::UncleanStop).count();
        assert_eq!(unclean, told, "one for each lane: whoever made it may have had events in memory");
        log.close();
    }
}

#[tokio::test]
async fn a_log_whose_last_generation_was_completed_by_a_start_keeps_its_epoch_at_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    commit(&log, Lane::Routine, &[b"one".to_vec()]).await;
    let killed = copy_of(directory.path());
    log.close();
    let log = EventLog::open(settings(killed.path())).expect("a log");
    let epoch = log.epoch();
    log.close();
    let log = EventLog::open(settings(killed.path())).expect("a log");
    assert_eq!(log.epoch(), epoch, "it was closed in good order");
    log.close();
}

#[tokio::test]
async fn a_log_begun_in_memory_does_not_mix_with_one_that_appears_in_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("other");
    let log = EventLog::open(settings(&place)).expect("a log");
    let cursor = log.cursor("uplink").expect("room");
    commit(&log, Lane::Routine, &(0..50).map(|n| noise(n, 100)).collect::<Vec<_>>()).await;
    cursor.commit(Lane::Routine, 21);
    log.close();
    let late = nowhere(directory.path());
    let log = EventLog::open(late.clone()).expect("a log in memory");
    assert!(log.degraded().is_some());
    let _cursor = log.cursor("uplink").expect("room");
    let next = append(&log, &[b"in memory".to_vec()]).await;
    std::fs::rename(&place, directory.path().join("target")).expect("it appears");
    let committed = tokio::time::timeout(Duration::from_secs(7), log.commit(Lane::Routine, next)).await;
    log.close();
    let log = EventLog::open(late).expect("a log");
    assert_eq!(log.cursor("uplink").expect("room").next(Lane::Routine), 21);
    let (read, gaps) = read_all(&log, 1);
    assert!(gaps.is_empty(), "{gaps:?}");
    let events: BTreeSet<_> = read.iter().map(|event| event.event.to_vec()).collect();
    assert!((0..50).all(|n| events.contains(&noise(n, 100))), "what was there is there");
    let kept = events.contains(&b"in memory"[..]);
    assert!(kept || !matches!(committed, Ok(Ok(()))), "what was called durable is there");
    log.close();
}

#[tokio::test]
async fn a_record_that_is_only_on_its_way_to_a_consumer_does_not_go_with_its_generation() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(urgent(directory.path())).expect("a log");
    let cursor = log.cursor("uplink").expect("room");
    commit(&log, Lane::Routine, &[b"one".to_vec()]).await;
    let killed = copy_of(directory.path());
    log.close();
    drop(cursor);
    // The record of the unclean stop is not delivered yet.
    let log = EventLog::open(urgent(killed.path())).expect("a log");
    let cursor = log.cursor("uplink").expect("room");
    // As if it had read everything, and delivered nothing.
    cursor.held(Lane::Urgent, u64::MAX);
    let mut number = 0;
    while log.bounds(Lane::Urgent).0 < 3 {
        number += 100;
        commit(&log, Lane::Urgent, &(0..100).map(|n| noise(number + n, 8000)).collect::<Vec<_>>()).await;
        assert!(number < 100_000, "nothing is removed");
    }
    assert!(stopped(&log) >= 2, "nobody has taken the records of the unclean stop");
    log.close();
}

/// How many records of an unclean stop are there to be read.
fn stopped(log: &EventLog) -> usize {
    let (read, _) = read_lane(log, Lane::Urgent, 1);
    let told = read.iter().filter_map(|stored| Event::decode(&stored.event[..]).ok().and_then(loss_of));
    told.filter(|loss| loss.operation() == EventLossOperation::UncleanStop).count()
}

async fn commit_noise(log: &EventLog, first: u64) {
    commit(log, Lane::Urgent, &(0..100).map(|n| noise(first + n, 8000)).collect::<Vec<_>>()).await;
}

/// A log in whose first urgent generation, which is sealed, lie the two records of an unclean stop, before other events.
async fn with_records(killed: &Path) -> (EventLog, Cursor) {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(urgent(directory.path())).expect("a log");
    log.cursor("uplink").expect("room");
    commit(&log, Lane::Routine, &[b"one".to_vec()]).await;
    let left = copy_of(directory.path());
    log.close();
    std::fs::rename(left.path().join("log"), killed.join("log")).expect("moved");
    let log = EventLog::open(urgent(killed)).expect("a log");
    let cursor = log.cursor("uplink").expect("room");
    commit_noise(&log, 1000).await;
    assert_eq!((stopped(&log), log.shared.rows[Lane::Urgent.index()].list().len()), (2, 1));
    (log, cursor)
}

#[tokio::test]
async fn a_loss_record_does_not_go_with_its_generation_because_a_frame_beside_it_has_rotted() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, _cursor) = with_records(directory.path()).await;
    let mut reader = log.reader(Lane::Urgent, 1);
    assert!(matches!(reader.read(1, 100), Ok(Read::Run(_))), "it has the generation open");
    let path = directory.path().join("log/urgent/gen-0000000001/db");
    let mut db = std::fs::read(&path).expect("read");
    let last = db.windows(8).rposition(|window| *window == frame::MAGIC).expect("a frame");
    db[last + 20] ^= 1;
    std::fs::write(&path, db).expect("spoilt");
    for round in 2.. {
        commit_noise(&log, round * 1000).await;
        if log.bounds(Lane::Urgent).0 > 2 {
            break;
        }
        assert!(round < 100, "nothing is removed");
    }
    assert_eq!(stopped(&log), 2, "nobody has taken them");
    log.close();
}

#[tokio::test]
async fn a_generation_that_must_go_and_cannot_be_opened_stays_until_its_loss_records_are_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, _cursor) = with_records(directory.path()).await;
    let path = directory.path().join("log/urgent/gen-0000000001/db");
    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).expect("moved");
    std::os::unix::fs::symlink(&path, &path).expect("a link to itself");
    for round in 2..20 {
        commit_noise(&log, round * 1000).await;
    }
    assert_eq!(log.bounds(Lane::Urgent).0, 1, "it may hold records");
    std::fs::rename(&aside, &path).expect("moved back");
    for round in 20.. {
        commit_noise(&log, round * 1000).await;
        if log.bounds(Lane::Urgent).0 > 2 {
            break;
        }
        assert!(round < 100, "nothing is removed");
    }
    assert_eq!(stopped(&log), 2, "nobody has taken them");
    log.close();
}

#[tokio::test]
async fn what_a_disk_refuses_while_it_gives_the_rest_is_damaged_and_recorded() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let _cursor = log.cursor("uplink").expect("room");
    commit(&log, Lane::Routine, &(0..10).map(|n| noise(n, 50)).collect::<Vec<_>>()).await;
    log.close();
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let path = directory.path().join("log/routine/gen-0000000001/db");
    std::fs::remove_file(&path).expect("removed");
    // Of a process's memory, the kernel refuses what is nowhere, as a disk refuses a bad sector.
    std::os::unix::fs::symlink("/proc/self/mem", &path).expect("linked");
    let refused = std::fs::read(&path).expect_err("there is nothing at address 0");
    assert_eq!(refused.raw_os_error(), Some(libc::EIO));
    assert_eq!(read_all(&log, 1), (vec![], vec![Gap { from: 1, to: 11 }]));
    log.commit(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("durable");
    let told: Vec<_> = losses(&log).iter().map(|loss| (loss.first_sequence, loss.last_sequence)).collect();
    assert_eq!(told, [(1, 10)]);
    log.close();
}

#[tokio::test]
async fn damage_is_recorded_under_each_epoch_that_its_events_were_to_be_sent_under() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let (ahead, _behind) = (log.cursor("ahead").expect("room"), log.cursor("behind").expect("room"));
    for frame in 0..3 {
        commit(&log, Lane::Routine, &(0..40).map(|n| noise(frame * 40 + n, 50)).collect::<Vec<_>>()).await;
    }
    ahead.commit(Lane::Routine, 51);
    let (before, after) = (log.epoch(), log.renumber(&ahead));
    log.renumbered().await;
    log.close();
    let path = directory.path().join("log/routine/gen-0000000001/db");
    let mut db = std::fs::read(&path).expect("read");
    let frames = db.windows(8).enumerate().filter(|(_, window)| **window == frame::MAGIC).map(|(at, _)| at);
    let second = frames.take(2).last().expect("three frames") + frame::HEADER_BYTES;
    db[second] ^= 1;
    std::fs::write(&path, db).expect("spoilt");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    assert_eq!(read_all(&log, 1).0.len(), 80);
    log.commit(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("durable");
    let mut told: Vec<_> = losses(&log)
        .into_iter()
        .filter(|loss| loss.consumer == "behind")
        .map(|loss| (loss.log_epoch, loss.first_sequence, loss.last_sequence))
        .collect();
    told.sort_by_key(|loss| loss.1);
    assert_eq!(told, [(before.to_string(), 41, 50), (after.to_string(), 51, 80)]);
    log.close();
}

#[tokio::test]
async fn who_comes_after_damage_was_told_to_others_is_told_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let _first = log.cursor("first").expect("room");
    commit(&log, Lane::Routine, &(0..100).map(|n| noise(n, 50)).collect::<Vec<_>>()).await;
    log.close();
    std::fs::write(directory.path().join("log/routine/gen-0000000001/db"), b"").expect("spoilt");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    assert_eq!(read_all(&log, 1).0, []);
    log.commit(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("durable");
    let second = log.cursor("second").expect("room");
    let from = second.next(Lane::Routine);
    for gap in read_all(&log, from).1 {
        second.lost(Lane::Routine, gap);
        second.commit(Lane::Routine, gap.to);
    }
    log.commit(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("durable");
    let told: u64 = losses(&log).iter().filter(|loss| loss.consumer == "second").map(|loss| loss.count).sum();
    assert_eq!((second.next(Lane::Routine), told), (101, 101 - from));
    log.close();
}

#[tokio::test]
async fn a_generation_that_two_lanes_claim_is_not_moved_to_and_fro_for_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let mut torn = Vec::new();
    for lane in Lane::ALL {
        commit(&log, lane, &[noise(1, 500)]).await;
        let db = directory.path().join("log").join(lane.name()).join("gen-0000000001/db");
        let db = std::fs::read(db).expect("read");
        let at = db.windows(8).position(|window| *window == frame::MAGIC).expect("a frame");
        torn.extend_from_slice(&db[at..at + frame::HEADER_BYTES + 10]);
        torn.extend_from_slice(&[0; 600]);
    }
    log.close();
    let planted = directory.path().join("log/routine/gen-0000000009");
    std::fs::create_dir(&planted).expect("made");
    std::fs::write(planted.join("db"), torn).expect("written");
    let settings = settings(directory.path());
    let opening = std::thread::spawn(move || EventLog::open(settings).map(|log| log.close()));
    eventually(|| opening.is_finished()).await;
    opening.join().expect("no panic").expect("a log");
}

#[tokio::test]
async fn nobody_waits_for_events_that_memory_had_no_room_for_once_the_disk_is_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(nowhere(directory.path())).expect("a log in memory");
    let row = &log.shared.rows[Lane::Routine.index()];
    let mut number = 0;
    while number == 0 || row.sealed_in_memory().len() < row.in_memory().len() {
        number += 1;
        let next = append(&log, &[noise(number, 20_000)]).await;
        log.secure(Lane::Routine, next).await.expect("open");
    }
    while !row.in_memory().is_empty() {
        let events: Vec<_> = (0..40).map(|n| noise(n, 20_000)).collect();
        let drafts: Vec<_> = events.iter().map(|event| draft(event)).collect();
        let next = log.append(Lane::Urgent, &drafts).await.expect("open");
        log.secure(Lane::Urgent, next).await.expect("open");
    }
    std::fs::create_dir(directory.path().join("target")).expect("the disk is back");
    eventually(|| log.degraded().is_none()).await;
    let next = log.next_sequence(Lane::Routine);
    let waited = tokio::time::timeout(Duration::from_secs(3), log.secure(Lane::Routine, next)).await;
    assert!(waited.is_ok(), "nothing of it is in memory any more");
    log.close();
}

#[tokio::test]
async fn without_a_boot_to_tell_by_the_ledger_is_not_believed_to_know_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let unknown = |directory: &Path| Settings { boot_id: Uuid::nil(), ..settings(directory) };
    let log = EventLog::open(unknown(directory.path())).expect("a log");
    let _cursor = log.cursor("uplink").expect("room");
    commit(&log, Lane::Routine, &(0..10).map(|n| noise(n, 50)).collect::<Vec<_>>()).await;
    let before = copy_of(directory.path());
    commit(&log, Lane::Routine, &(10..20).map(|n| noise(n, 50)).collect::<Vec<_>>()).await;
    let cut_off = copy_of(directory.path());
    log.close();
    // As after a loss of power: the end was noted without a sync.
    std::fs::copy(before.path().join("log/ledger"), cut_off.path().join("log/ledger")).expect("copied");
    let path = cut_off.path().join("log/routine/gen-0000000001/db");
    let mut db = std::fs::read(&path).expect("read");
    let last = db.windows(8).rposition(|window| *window == frame::MAGIC).expect("a frame") + frame::HEADER_BYTES;
    db[last] ^= 1;
    std::fs::write(&path, db).expect("spoilt");
    let log = EventLog::open(unknown(cut_off.path())).expect("a log");
    let _cursor = log.cursor("uplink").expect("room");
    assert_eq!(read_all(&log, 1).0.len(), 10);
    log.commit(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("durable");
    let told: Vec<_> = losses(&log).iter().map(|loss| (loss.first_sequence, loss.last_sequence)).collect();
    assert!(told.contains(&(11, 20)), "{told:?}");
    log.close();
}

/// What only root can try.
mod as_root {
    use std::process::Command;

    use super::*;

    /// A small file system in memory; it goes with this value.
    struct Small(tempfile::TempDir);

    impl Small {
        fn mounted() -> Small {
            let small = Small(tempfile::tempdir().expect("a directory"));
            let mount =
                Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(small.path()).status();
            assert!(mount.expect("there is a mount").success());
            small
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        /// Takes all the room there is; gives the file to remove.
        fn fill(&self) -> std::path::PathBuf {
            let hog = self.path().join("hog");
            _ = std::fs::write(&hog, vec![1; 8 << 20]);
            hog
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }

    #[tokio::test]
    async fn an_epoch_of_memory_is_never_gone_on_with_after_a_loss_of_power() {
        let directory = Small::mounted();
        let log = EventLog::open(Settings { ballast_bytes_max: 0, ..settings(directory.path()) }).expect("a log");
        for number in 0..8 {
            assert!(log.cursor(&number.to_string()).is_some());
        }
        let cursor = log.cursor("0").expect("it is there");
        commit(&log, Lane::Routine, &[b"one".to_vec()]).await;
        commit(&log, Lane::Urgent, &[b"one".to_vec()]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let hog = directory.fill();
        // There is no room for another slot of the ledger, and nothing is pending.
        assert!(log.cursor("one more").is_some());
        eventually(|| log.degraded().is_some()).await;
        std::fs::remove_file(&hog).expect("there is room");
        cursor.commit(Lane::Routine, 2);
        tokio::time::sleep(Duration::from_millis(600)).await;
        let cut_off = copy_of(directory.path());
        let degraded = log.degraded();
        let next = append(&log, &[b"only in memory".to_vec()]).await;
        log.secure(Lane::Routine, next).await.expect("open");
        let run = |log: &EventLog| match log.reader(Lane::Routine, next - 1).read(1, 100).expect("readable") {
            Read::Run(run) => (run.epoch, run.first_sequence),
            other => panic!("{other:?}"),
        };
        let sent = run(&log);
        let in_memory = log.degraded();
        log.close();
        assert!(degraded.is_some() && in_memory.is_some(), "it was in memory");
        let log = EventLog::open(settings(cut_off.path())).expect("a log");
        commit(&log, Lane::Routine, &[b"another".to_vec()]).await;
        assert_ne!(run(&log), sent, "two events have one number");
        log.close();
    }

    #[tokio::test]
    async fn an_unclean_stop_is_told_of_also_when_the_log_was_closed_in_memory_since() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(settings(directory.path())).expect("a log");
        let cursor = log.cursor("uplink").expect("room");
        commit(&log, Lane::Routine, &[b"one".to_vec()]).await;
        cursor.commit(Lane::Routine, 2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let killed = copy_of(directory.path());
        log.close();
        let disk = Small::mounted();
        let copied = Command::new("cp").arg("-a").arg(killed.path().join("log")).arg(disk.path()).status();
        assert!(copied.expect("there is a cp").success());
        let hog = disk.fill();
        let log = EventLog::open(settings(disk.path())).expect("a log");
        log.secure(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("open");
        let degraded = log.degraded();
        log.close();
        std::fs::remove_file(&hog).expect("there is room");
        let log = EventLog::open(settings(disk.path())).expect("a log");
        log.secure(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("open");
        let (read, _) = read_lane(&log, Lane::Urgent, 1);
        let told: Vec<_> = read.iter().filter_map(|it| Event::decode(&it.event[..]).ok().and_then(loss_of)).collect();
        log.close();
        assert!(degraded.is_some(), "it was in memory");
        assert!(told.iter().any(|loss| loss.operation == EventLossOperation::UncleanStop as i32), "{told:?}");
    }
}
