//! Stories of a log with several consumers, by dice: events, consumers that take some, a disk that fills up to the last
//! byte until memory overflows, room again, an orderly end, a crash, generations that vanish. Whatever happened: of each
//! lane every number from 1 on was taken by each consumer or is in a loss record that names it and that it took.

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::{
        collections::BTreeMap,
        fs::{self, File},
        io::Write as _,
        path::PathBuf,
        thread,
        time::{Duration, Instant},
    };

    use rodent::{
        event_log::{Cursor, EventLog, Lane, Ownership, Read, Settings},
        schema::events::event_loss_payload::EventLossOperation,
    };
    use tokio::runtime::Runtime;

    use crate::{
        dice::{self, Dice},
        disk::Mounted,
        model::{copy, is_copy},
        numbered::{self, Kind},
        ranges::Ranges,
        writer,
    };

    const STORIES: u64 = 8;
    const STEPS: u64 = 18;
    const MEGABYTES: u64 = 40;
    const PATIENCE: Duration = Duration::from_secs(60);
    const LOOK_PAUSE: Duration = Duration::from_millis(10);
    const NAMES: [&str; 3] = ["uplink", "phone", PROGRAM];
    /// It is rewound and released, too.
    const PROGRAM: &str = "program.relay";
    /// Events of a step and their size: a few, and more than memory holds.
    const FEW: (u64, usize) = (300, 1500);
    const MANY: (u64, usize) = (2600, 8000);

    #[test]
    fn each_consumer_takes_every_number_or_the_record_of_its_loss_whatever_happens() {
        let mut dice = Dice::of_this_run();
        let mut lost = 0;
        for number in 0..dice::trials(STORIES) {
            let directory = tempfile::tempdir().expect("a directory");
            let mut story = Story::begin(directory.path().to_owned(), Dice::with_seed(dice.throw()), 6 << 20);
            for _ in 0..STEPS {
                story.go_on();
            }
            lost += story.end(number);
        }
        assert!(lost > 0, "nothing was lost in any story: a part was not tried");
    }

    /// The story of V1: what is stored lies in front of what memory loses, and is delivered all the same.
    #[test]
    fn what_is_stored_is_delivered_when_memory_overflows_on_a_full_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut story = Story::begin(directory.path().to_owned(), Dice::with_seed(1), 30 << 20);
        story.append(FEW);
        let stored = Lane::ALL.map(|lane| story.log.next_sequence(lane));
        story.fill();
        story.append(MANY);
        for lane in Lane::ALL {
            assert_eq!(story.consumers[0].cursor.next(lane), 1, "{lane:?}: nothing was taken yet");
        }
        story.free();
        let accounts = story.drain();
        for account in &accounts {
            for lane in Lane::ALL {
                let missing = account.taken[lane as usize].first_missing(1, stored[lane as usize]);
                assert_eq!(missing, None, "{}: {lane:?} was stored", account.name);
            }
        }
        assert!(story.end(0) > 0, "memory overflowed");
    }

    /// What a consumer has, over all openings.
    #[derive(Clone)]
    struct Account {
        name: &'static str,
        taken: [Ranges; 2],
        told: [Ranges; 2],
        /// The records, in words.
        records: Vec<String>,
    }

    struct Consumer {
        account: Account,
        cursor: Cursor,
    }

    struct Story {
        directory: PathBuf,
        dice: Dice,
        disk_bytes_max: u64,
        /// How often it has moved to another disk.
        moves: u64,
        disk: Mounted,
        runtime: Runtime,
        log: EventLog,
        consumers: Vec<Consumer>,
        next_number: u64,
        /// Number by place of what was acknowledged.
        acknowledged: BTreeMap<(Lane, u64), u64>,
        is_full: bool,
        /// A crash gives back what was taken and not yet durable.
        has_crashed: bool,
        /// So does somebody who has a consumer begin again.
        has_rewound: bool,
        steps: Vec<&'static str>,
    }

    impl Story {
        fn begin(directory: PathBuf, dice: Dice, disk_bytes_max: u64) -> Story {
            let disk = Mounted::memory(MEGABYTES, &directory.join("0"));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let log = open(&disk, disk_bytes_max);
            let account =
                |name| Account { name, taken: Default::default(), told: Default::default(), records: Vec::new() };
            let consumers = NAMES.map(|name| Consumer { account: account(name), cursor: cursor(&log, name) }).into();
            Story {
                directory,
                dice,
                disk_bytes_max,
                moves: 0,
                disk,
                runtime,
                log,
                consumers,
                next_number: 1,
                acknowledged: BTreeMap::new(),
                is_full: false,
                has_crashed: false,
                has_rewound: false,
                steps: Vec::new(),
            }
        }

        fn go_on(&mut self) {
            let step = self.dice.below(14);
            let which = self.dice.below(self.consumers.len() as u64) as usize;
            let what = match step {
                0..=3 => {
                    self.append(FEW);
                    "few"
                }
                4 | 5 if self.is_full => {
                    self.append(MANY);
                    "many"
                }
                4..=7 => {
                    let events = 1 + self.dice.below(900) as usize;
                    self.take(which, events);
                    "take"
                }
                8 | 9 if self.is_full => {
                    self.free();
                    "free"
                }
                8 | 9 => {
                    self.fill();
                    "fill"
                }
                10 => {
                    self.reopen();
                    "reopen"
                }
                11 => {
                    let to = Lane::ALL.map(|lane| self.dice.below(self.log.next_sequence(lane)).max(1));
                    self.has_rewound |= self.log.rewind(PROGRAM, to);
                    "rewind"
                }
                12 => {
                    self.attend(true);
                    "release"
                }
                _ => {
                    self.crash();
                    "crash"
                }
            };
            self.steps.push(what);
        }

        fn append(&mut self, (events, bytes): (u64, usize)) {
            for lane in Lane::ALL {
                // Urgent events are few.
                let events = if lane == Lane::Urgent { events / 20 } else { events };
                let mut accepted = Vec::new();
                for _ in 0..events.div_ceil(20) {
                    let (first, sizes) = (self.next_number, [bytes; 20]);
                    self.next_number += 20;
                    let append = writer::append(&self.log, lane, first, &sizes);
                    let append = async { tokio::time::timeout(PATIENCE, append).await };
                    let next = self.runtime.block_on(append).expect("no producer waits for ever").expect("an open log");
                    accepted.extend((next - 20..next).map(|sequence| (lane, sequence)).zip(first..));
                }
                let next = self.log.next_sequence(lane);
                let secure = async { tokio::time::timeout(PATIENCE, self.log.secure(lane, next)).await };
                let reason = self.runtime.block_on(secure).expect("it answers").expect("an open log");
                if reason.is_none() {
                    self.acknowledged.extend(accepted);
                }
            }
        }

        /// Nothing is kept for the program until it comes again.
        fn attend(&self, is_released: bool) {
            let program = self.log.program(PROGRAM).expect("it is there");
            self.log.set_program(PROGRAM, Ownership { is_released, ..program });
        }

        /// A consumer reads on and commits.
        fn take(&mut self, which: usize, events: usize) {
            if self.consumers[which].account.name == PROGRAM {
                self.attend(false);
            }
            let Consumer { account, cursor } = &mut self.consumers[which];
            for lane in Lane::ALL {
                let readable = cursor.hold(lane, cursor.next(lane), events as u64);
                let from = readable.start;
                let mut reader = self.log.reader(lane, from);
                reader.until(readable.end);
                match reader.read(events, 1 << 22).expect("readable") {
                    Read::Run(run) => {
                        assert_eq!(run.first_sequence, from, "{lane:?}: no hole without a gap");
                        for stored in run.events() {
                            account.take(lane, stored.sequence, &stored.event, &self.acknowledged);
                        }
                    }
                    Read::Gap(gap) => {
                        account.records.push(format!("{lane:?}: a gap of {}-{}", gap.from, gap.to - 1));
                        cursor.lost(lane, gap);
                    }
                    Read::End => {}
                }
                cursor.held(lane, reader.position());
                cursor.commit(lane, reader.position());
            }
        }

        fn fill(&mut self) {
            let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file");
            let start = Instant::now();
            // The log finds some room yet, and gives up what it has kept in reserve.
            loop {
                for bytes in [1 << 20, 1 << 16, 4096, 512, 1] {
                    let zeros = vec![0; bytes];
                    while file.write_all(&zeros).is_ok() {}
                }
                if self.log.degraded().is_some() {
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "a full disk goes unnoticed");
                self.append((20, 1000));
                thread::sleep(LOOK_PAUSE);
            }
            self.is_full = true;
        }

        fn free(&mut self) {
            let _ = fs::remove_file(self.filler());
            self.is_full = false;
            let start = Instant::now();
            while let Some(reason) = self.log.degraded() {
                assert!(start.elapsed() < PATIENCE, "still degraded: {reason}");
                thread::sleep(LOOK_PAUSE);
            }
        }

        fn filler(&self) -> PathBuf {
            self.disk.point.join("filler")
        }

        fn reopen(&mut self) {
            self.log.close();
            self.open();
        }

        /// The log as it lies on the disk at this moment, on another disk with room.
        fn crash(&mut self) {
            let next = self.directory.join((self.moves + 1).to_string());
            let disk = Mounted::memory(MEGABYTES, &next);
            let (here, there) = (self.disk.point.join("log"), disk.point.join("log"));
            // Its writer may just be making something durable: a copy counts when nothing has changed meanwhile.
            while !copy(&here, &there).is_ok_and(|()| is_copy(&here, &there).unwrap_or(false)) {
                let _ = fs::remove_dir_all(&there);
            }
            self.log.close();
            (self.moves, self.is_full, self.has_crashed) = (self.moves + 1, false, true);
            self.disk = disk;
            self.open();
        }

        fn open(&mut self) {
            self.log = open(&self.disk, self.disk_bytes_max);
            for consumer in &mut self.consumers {
                consumer.cursor = cursor(&self.log, consumer.account.name);
            }
        }

        /// Each consumer takes all that there is.
        fn drain(&mut self) -> Vec<Account> {
            for which in 0..self.consumers.len() {
                let start = Instant::now();
                while Lane::ALL
                    .into_iter()
                    .any(|lane| self.consumers[which].cursor.next(lane) < self.log.next_sequence(lane))
                {
                    assert!(start.elapsed() < PATIENCE, "{:?}: it does not come to the end", self.steps);
                    self.take(which, 5000);
                }
            }
            self.consumers.iter().map(|consumer| consumer.account.clone()).collect()
        }

        /// Gives how many events were lost to somebody.
        fn end(mut self, number: u64) -> u64 {
            if self.is_full {
                self.free();
            }
            // Once as it is, and once as the next start has it.
            self.drain();
            self.reopen();
            let accounts = self.drain();
            let steps = &self.steps;
            let mut lost = 0;
            for Account { name, taken, told, records } in &accounts {
                for lane in Lane::ALL {
                    let (taken, told) = (&taken[lane as usize], &told[lane as usize]);
                    let mut all = taken.clone();
                    told.each(|from, to| all.add(from, to));
                    let end = self.log.next_sequence(lane);
                    let silent = all.first_missing(1, end);
                    assert_eq!(
                        silent, None,
                        "story {number}, {name}, {lane:?} of {end}: neither taken nor told: {steps:?} {records:#?}"
                    );
                    let mut both = Ranges::default();
                    told.each(|from, to| {
                        (from..to).filter(|at| taken.contains(*at)).for_each(|at| both.add(at, at + 1))
                    });
                    assert!(
                        self.has_crashed || (self.has_rewound && *name == PROGRAM) || both.count() == 0,
                        "story {number}, {name}, {lane:?}: {both:?} were taken and are recorded as lost: {steps:?} {records:#?}"
                    );
                    lost += told.count();
                }
            }
            self.log.close();
            lost
        }
    }

    impl Account {
        fn take(&mut self, lane: Lane, sequence: u64, event: &[u8], acknowledged: &BTreeMap<(Lane, u64), u64>) {
            self.taken[lane as usize].add(sequence, sequence + 1);
            match numbered::kind(lane, event) {
                Kind::Numbered(number) => {
                    if let Some(known) = acknowledged.get(&(lane, sequence)) {
                        assert_eq!(*known, number, "{lane:?} {sequence} holds another event than was acknowledged");
                    }
                }
                Kind::Loss(loss) if loss.consumer == self.name || loss.consumer.is_empty() => {
                    let of = Lane::from_name(&loss.lane).expect("a lane");
                    let (cause, from, to) = (loss.operation().as_str_name(), loss.first_sequence, loss.last_sequence);
                    self.records.push(format!("{lane:?} {sequence}: {cause} {of:?} {from}-{to} {}", loss.log_epoch));
                    if loss.first_sequence > 0 {
                        assert_ne!(loss.operation, EventLossOperation::Refused as i32);
                        assert!(loss.count_exact && loss.count > 0, "{loss:?}");
                        let levels: u64 = loss.count_by_level.values().sum();
                        assert!(levels == 0 || levels == loss.count, "levels add up: {loss:?}");
                        self.told[of as usize].add(loss.first_sequence, loss.last_sequence + 1);
                    }
                }
                Kind::Loss(_) => {}
            }
        }
    }

    fn open(disk: &Mounted, disk_bytes_max: u64) -> EventLog {
        let settings = Settings {
            flush_interval: Duration::from_millis(30),
            generation_bytes: 256 << 10,
            disk_bytes_max,
            history_bytes: Some(1 << 20),
            ..Settings::new(disk.point.join("log"))
        };
        EventLog::open(settings).expect("the log opens")
    }

    fn cursor(log: &EventLog, name: &str) -> Cursor {
        match name {
            PROGRAM => writer::program_cursor(log, name),
            _ => log.cursor(name).expect("room for a cursor"),
        }
    }
}
