//! A disk that is full to the last block, by somebody else's file: what is accepted meanwhile is delivered from memory, and
//! is durable or recorded as lost once there is room again, without a restart.

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::{
        fs::{self, File},
        io::Write as _,
        path::Path,
        thread,
        time::{Duration, Instant},
    };

    use rodent::event_log::{Cursor, EventLog, Lane, Read, Settings};
    use tokio::runtime::Runtime;

    use crate::{
        account::Account,
        disk::{Mounted, make_image},
        writer,
    };

    const MEGABYTES: u64 = 48;
    /// For what the log looks for itself every few seconds.
    const PATIENCE: Duration = Duration::from_secs(60);
    const LOOK_PAUSE: Duration = Duration::from_millis(10);
    /// How many events of which size are accepted while the disk is full: a few, and more than the log keeps in memory.
    const FEW: (u64, usize) = (500, 1000);
    const TOO_MANY: (u64, usize) = (2600, 8000);

    fn in_memory<T>(trial: impl FnOnce(&Site) -> T) -> T {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = Mounted::memory(MEGABYTES, &directory.path().join("disk"));
        let site = Site::new(disk);
        trial(&site)
    }

    fn on_ext4<T>(trial: impl FnOnce(&Site) -> T) -> T {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let image = directory.path().join("device");
        make_image(&image, MEGABYTES);
        let site = Site::new(Mounted::image(&image, &directory.path().join("disk")));
        trial(&site)
    }

    #[test]
    fn a_full_file_system_in_memory_is_held_out_and_recovered_from() {
        let lost = in_memory(|site| fill_hold_free(site, FEW));
        assert_eq!(lost, 0, "memory was large enough");
    }

    #[test]
    fn a_full_ext4_is_held_out_and_recovered_from() {
        let lost = on_ext4(|site| fill_hold_free(site, FEW));
        assert_eq!(lost, 0, "memory was large enough");
    }

    #[test]
    fn what_a_full_disk_costs_beyond_the_bound_of_memory_is_recorded() {
        let lost = on_ext4(|site| fill_hold_free(site, TOO_MANY));
        assert!(lost > 0, "more was accepted than memory holds");
    }

    #[test]
    fn a_log_opens_on_a_full_file_system_in_memory() {
        in_memory(open_on_full);
    }

    #[test]
    fn a_log_opens_on_a_full_ext4() {
        on_ext4(open_on_full);
    }

    #[test]
    fn a_log_opens_on_a_read_only_disk_and_is_on_it_again_when_that_takes_it() {
        on_ext4(|site| {
            let mut account = Account::new(true);
            let (log, cursor) = site.open();
            site.append(&log, &mut account, FEW);
            site.commit(&log, &mut account);
            drop(cursor);
            log.close();
            site.disk.remount("ro");
            let (log, cursor) = site.open();
            site.append(&log, &mut account, FEW);
            site.see_the_newest(&log);
            assert!(log.degraded().is_some(), "it says that events are not durable");
            site.consume(&log, &cursor, &mut account);
            site.disk.remount("rw");
            site.wait_until_whole(&log);
            site.commit(&log, &mut account);
            account.settle(&log, false).expect("everything is accounted for");
            log.close();
            let (log, _) = site.open();
            account.settle(&log, false).expect("everything is accounted for after a restart");
            log.close();
        });
    }

    #[test]
    fn a_log_that_cannot_even_be_made_begins_in_memory_and_is_made_when_there_are_inodes_again() {
        in_memory(|site| {
            let mut account = Account::new(true);
            let taken = site.take_inodes();
            let (log, _cursor) = site.open();
            site.append(&log, &mut account, FEW);
            site.see_the_newest(&log);
            assert!(log.degraded().is_some() && !site.disk.point.join("log").exists());
            taken.iter().for_each(|path| fs::remove_file(path).expect("it goes"));
            site.wait_until_whole(&log);
            site.commit(&log, &mut account);
            account.settle(&log, false).expect("everything is accounted for");
            log.close();
            let (log, _) = site.open();
            account.settle(&log, false).expect("everything is accounted for after a restart");
            log.close();
        });
    }

    #[test]
    fn a_log_that_began_in_memory_leaves_another_alone_that_has_come_in_its_place() {
        in_memory(|site| {
            let elsewhere = tempfile::tempdir().expect("a directory");
            let other = EventLog::open(Settings::new(elsewhere.path().join("log"))).expect("a log");
            other.close();
            let ledger = fs::read(elsewhere.path().join("log/ledger")).expect("it has one");
            let taken = site.take_inodes();
            let (log, _cursor) = site.open();
            site.append(&log, &mut Account::default(), FEW);
            taken.iter().take(64).for_each(|path| fs::remove_file(path).expect("it goes"));
            crate::model::copy(&elsewhere.path().join("log"), &site.disk.point.join("log")).expect("copied");
            let start = Instant::now();
            while !log.degraded().is_some_and(|reason| reason.contains("restart the agent")) {
                assert!(start.elapsed() < PATIENCE, "{:?}", log.degraded());
                thread::sleep(LOOK_PAUSE);
            }
            log.close();
            assert!(fs::read(site.disk.point.join("log/ledger")).expect("it is there") == ledger);
        });
    }

    #[test]
    fn a_log_that_is_closed_on_a_full_disk_tells_that_something_may_be_lost() {
        on_ext4(|site| {
            let mut account = Account::new(true);
            let (log, cursor) = site.open();
            site.append(&log, &mut account, FEW);
            site.commit(&log, &mut account);
            site.fill();
            site.append_until_degraded(&log, &mut account);
            drop(cursor);
            log.close();
            site.free();
            let (log, _) = site.open();
            site.commit(&log, &mut Account::default());
            account.settle(&log, true).expect("what was acknowledged is there, the rest is told of");
            log.close();
        });
    }

    #[test]
    fn what_the_disk_damages_of_the_cursors_while_it_is_full_is_written_anew() {
        on_ext4(|site| {
            let mut account = Account::new(true);
            let (log, cursor) = site.open();
            site.append(&log, &mut account, FEW);
            site.commit(&log, &mut account);
            site.consume(&log, &cursor, &mut account);
            let taken = cursor.next(Lane::Routine);
            // Closed, so that what is durable then is not durable by chance.
            log.close();
            drop((cursor, log));
            let (log, cursor) = site.open();
            site.fill();
            site.append_until_degraded(&log, &mut account);
            site.damage("log/ledger");
            site.free();
            site.wait_until_whole(&log);
            site.commit(&log, &mut account);
            let aside = fs::read_dir(site.disk.point.join("log/quarantine")).expect("a quarantine");
            assert_eq!(aside.count(), 1, "what was damaged is kept");
            log.close();
            drop((cursor, log));
            let (log, cursor) = site.open();
            assert_eq!(cursor.next(Lane::Routine), taken, "the cursor stands where it stood");
            account.settle(&log, false).expect("everything is accounted for");
            log.close();
        });
    }

    /// Gives how many events are recorded as lost.
    fn fill_hold_free(site: &Site, held: (u64, usize)) -> u64 {
        let mut account = Account::new(true);
        let (log, cursor) = site.open();
        site.append(&log, &mut account, FEW);
        site.commit(&log, &mut account);
        site.consume(&log, &cursor, &mut account);
        site.fill();
        site.append_until_degraded(&log, &mut account);
        site.append(&log, &mut account, held);
        site.see_the_newest(&log);
        assert!(!log.status().degraded.is_empty(), "the log says that it is degraded for as long as it is");
        let secured = site.runtime.block_on(log.secure(Lane::Urgent, log.next_sequence(Lane::Urgent)));
        assert!(secured.expect("the log is open").is_some(), "who waits is told that it is in memory only");
        site.free();
        site.wait_until_whole(&log);
        site.commit(&log, &mut account);
        site.append(&log, &mut account, FEW);
        site.commit(&log, &mut account);
        account.settle(&log, false).expect("everything is accounted for");
        drop(cursor);
        log.close();
        let (log, _) = site.open();
        let lost = account.settle(&log, false).expect("everything is accounted for after a restart");
        log.close();
        lost
    }

    fn open_on_full(site: &Site) {
        let mut account = Account::new(true);
        let (log, cursor) = site.open();
        site.append(&log, &mut account, FEW);
        site.commit(&log, &mut account);
        drop(cursor);
        log.close();
        site.fill();
        let (log, _cursor) = site.open();
        site.append_until_degraded(&log, &mut account);
        site.see_the_newest(&log);
        site.free();
        site.wait_until_whole(&log);
        site.commit(&log, &mut account);
        account.settle(&log, false).expect("everything is accounted for");
        log.close();
    }

    struct Site {
        disk: Mounted,
        runtime: Runtime,
    }

    impl Site {
        fn new(disk: Mounted) -> Site {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            Site { disk, runtime }
        }

        fn open(&self) -> (EventLog, Cursor) {
            let settings = Settings {
                flush_interval: Duration::from_millis(30),
                generation_bytes: 512 << 10,
                disk_bytes_max: (MEGABYTES << 20) * 3 / 4,
                ..Settings::new(self.disk.point.join("log"))
            };
            let log = EventLog::open(settings).expect("the log opens");
            let cursor = log.cursor(writer::CONSUMER).expect("room for a cursor");
            (log, cursor)
        }

        /// Writes until nothing more fits, also of what the log has just let go of.
        fn fill(&self) {
            let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file");
            for bytes in [1 << 20, 1 << 16, 4096, 512, 1] {
                let zeros = vec![0; bytes];
                while file.write_all(&zeros).and_then(|()| file.sync_data()).is_ok() {}
            }
        }

        /// Makes empty files until there is no inode left; gives them.
        fn take_inodes(&self) -> Vec<std::path::PathBuf> {
            let empty = (0..).map(|number| self.disk.point.join(format!("empty-{number}")));
            empty.take_while(|path| File::create(path).is_ok()).collect()
        }

        /// Writes over a file in its place.
        fn damage(&self, file: &str) {
            let mut file = File::options().write(true).open(self.disk.point.join(file)).expect("a file of the log");
            let bytes = file.metadata().expect("its length").len();
            file.write_all(&vec![0xA5; usize::try_from(bytes).expect("a small file")]).expect("its blocks are there");
        }

        fn free(&self) {
            fs::remove_file(self.filler()).expect("the file goes");
        }

        fn filler(&self) -> std::path::PathBuf {
            self.disk.point.join("filler")
        }

        fn append(&self, log: &EventLog, account: &mut Account, (events, bytes): (u64, usize)) {
            for lane in Lane::ALL {
                // Urgent events are few.
                let events = if lane == Lane::Urgent { events / 20 } else { events };
                for _ in 0..events.div_ceil(20) {
                    let (first, sizes) = (account.numbers(20), [bytes; 20]);
                    let append = writer::append(log, lane, first, &sizes);
                    let append = async { tokio::time::timeout(PATIENCE, append).await };
                    let next = self.runtime.block_on(append).expect("no producer waits for ever");
                    account.accept(lane, first, 20, next.expect("the log takes events"));
                }
            }
        }

        /// The log may find some room left, and give up what it has kept in reserve: that is taken, too.
        fn append_until_degraded(&self, log: &EventLog, account: &mut Account) {
            let start = Instant::now();
            while log.status().degraded.is_empty() {
                assert!(start.elapsed() < PATIENCE, "a full disk goes unnoticed");
                self.append(log, account, (20, 1000));
                thread::sleep(LOOK_PAUSE);
                self.fill();
            }
        }

        fn commit(&self, log: &EventLog, account: &mut Account) {
            for lane in Lane::ALL {
                let next = log.next_sequence(lane);
                let commit = async { tokio::time::timeout(PATIENCE, log.commit(lane, next)).await };
                self.runtime.block_on(commit).expect("a commit ends").expect("the log makes events durable");
                account.acknowledge(lane, next);
            }
        }

        fn consume(&self, log: &EventLog, cursor: &Cursor, account: &mut Account) {
            let mut reader = log.reader(Lane::Routine, cursor.next(Lane::Routine));
            let Read::Run(run) = reader.read(100, 1 << 20).expect("readable") else { panic!("events are there") };
            account.take(Lane::Routine, run.first_sequence, run.next_sequence());
            cursor.commit(Lane::Routine, run.next_sequence());
        }

        /// Reads what was accepted last, although no disk has it.
        fn see_the_newest(&self, log: &EventLog) {
            for lane in Lane::ALL {
                let mut reader = log.reader(lane, log.next_sequence(lane) - 1);
                let ready = async { tokio::time::timeout(PATIENCE, reader.ready()).await };
                self.runtime.block_on(ready).expect("what is in memory can be read");
                assert!(matches!(reader.read(1, 1).expect("readable"), Read::Run(run) if run.count == 1));
            }
        }

        #[expect(clippy::print_stderr, reason = "how long it took is worth knowing")]
        fn wait_until_whole(&self, log: &EventLog) {
            let start = Instant::now();
            while !log.status().degraded.is_empty() {
                assert!(start.elapsed() < PATIENCE, "still degraded: {}", log.status().degraded);
                thread::sleep(LOOK_PAUSE);
            }
            eprintln!(
                "recovered {:?} after there was room on {}",
                start.elapsed(),
                Path::new(&self.disk.point).display()
            );
        }
    }
}
