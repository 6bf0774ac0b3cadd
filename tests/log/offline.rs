//! A month without a controller: more events than the disk's share takes, while the wall clock steps by years. What retention
//! removes is recorded to the event, order is kept, and the process does not grow.

use std::{
    env, fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rodent::event_log::{Draft, EventLog, Lane, Read, Settings};
use tokio::runtime::Runtime;

use crate::{
    dice::{self, Dice},
    numbered::{self, Kind},
    ranges::Ranges,
    writer::CONSUMER,
};

/// Thirteen million at full size: five a second for a month.
const EVENTS: (&str, u64) = ("RODENT_OFFLINE_EVENTS", 1_000_000);
/// A gibibyte at full size.
const DISK_BYTES: (&str, u64) = ("RODENT_OFFLINE_DISK_BYTES", 24 << 20);
/// 8080 KiB at full size.
const GENERATION_BYTES: (&str, u64) = ("RODENT_OFFLINE_GENERATION_BYTES", 512 << 10);

/// Set for the process that has the month for itself, so that its memory is its own.
const ALONE: &str = "RODENT_OFFLINE_ALONE";
const MONTH: &str = "offline::a_month_offline_is_accounted_for_to_the_event";
/// Boot clock between two events.
const PACE: Duration = Duration::from_millis(200);
const DAY: Duration = Duration::from_secs(86_400);
const EVENT_BYTES: usize = 100;
/// Events of one append; every third append is of urgent ones.
const BATCH: u64 = 250;
/// How much the process may grow in the second half: what the allocator keeps, not what is stored.
const GROWTH_BYTES_MAX: u64 = 24 << 20;
const GROWTH_DESCRIPTORS_MAX: usize = 16;
/// For retention to have finished.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(20);

static MONTH_CLOCK: AtomicU64 = AtomicU64::new(0);
static YEARS_CLOCK: AtomicU64 = AtomicU64::new(0);

fn read_clock(clock: &AtomicU64) -> Duration {
    Duration::from_millis(clock.load(Ordering::Relaxed))
}

fn advance(clock: &AtomicU64, by: Duration) {
    clock.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
}

fn size((variable, usually): (&str, u64)) -> u64 {
    dice::number(variable).unwrap_or(usually)
}

#[test]
fn a_month_offline_is_accounted_for_to_the_event() {
    if env::var_os(ALONE).is_some() {
        return month();
    }
    let program = env::current_exe().expect("the test's own program");
    let status = Command::new(program).args([MONTH, "--exact", "--nocapture"]).env(ALONE, "1").status();
    assert!(status.expect("start the test's own program").success());
}

fn month() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let settings = Settings {
        disk_bytes_max: size(DISK_BYTES),
        generation_bytes: size(GENERATION_BYTES),
        // Nothing is too old; a wall clock that steps by years says otherwise.
        age_max: Some(365 * DAY),
        since_boot: || read_clock(&MONTH_CLOCK),
        ..Settings::new(directory.path().join("log"))
    };
    let mut course = Course::open(settings, &MONTH_CLOCK);
    let events = size(EVENTS);
    course.run(events / 2);
    let (memory, descriptors) = (anonymous_bytes(), descriptors());
    course.run(events / 2);
    let (memory_then, descriptors_then) = (anonymous_bytes(), self::descriptors());
    course.commit();
    // A lane of more than the whole disk cannot be kept.
    let [urgent, _] = course.accepted.map(|events| events * EVENT_BYTES as u64 > size(DISK_BYTES));
    let counted = course.settle(|lanes| lanes[1].recorded > 0 && (lanes[0].recorded > 0 || !urgent));
    course.log.close();
    course.show(&counted, memory, memory_then);
    assert!(counted.iter().all(|lane| lane.stored > 0), "{counted:?}: some are kept");
    assert!(memory_then < memory + GROWTH_BYTES_MAX, "from {memory} to {memory_then} bytes");
    assert!(descriptors_then < descriptors + GROWTH_DESCRIPTORS_MAX, "from {descriptors} to {descriptors_then}");
}

#[test]
fn a_wall_clock_that_steps_by_years_expires_nothing_and_the_boot_clock_does() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let settings = Settings {
        generation_bytes: 64 << 10,
        age_max: Some(40 * DAY),
        since_boot: || read_clock(&YEARS_CLOCK),
        ..Settings::new(directory.path().join("log"))
    };
    let mut course = Course::open(settings, &YEARS_CLOCK);
    course.run(20_000);
    course.commit();
    // What is written later counts as younger.
    let oldest = course.accepted;
    advance(&YEARS_CLOCK, 39 * DAY);
    course.run(20_000);
    course.commit();
    let young = course.settle(|_| true);
    assert_eq!(young.each_ref().map(|lane| lane.recorded), [0, 0], "nothing is forty days old");
    advance(&YEARS_CLOCK, 2 * DAY);
    course.run(20_000);
    course.commit();
    // What is older than forty days goes.
    let old = course.settle(|lanes| lanes.iter().all(|lane| lane.recorded > 0));
    course.log.close();
    for (lane, (counted, oldest)) in old.iter().zip(oldest).enumerate() {
        assert!(counted.recorded <= oldest, "nothing younger goes: {lane} {counted:?}");
    }
}

/// A log that nobody reads, and what it took.
struct Course {
    log: EventLog,
    clock: &'static AtomicU64,
    runtime: Runtime,
    dice: Dice,
    /// Unix milliseconds of the wall clock, which steps.
    wall: i64,
    /// Events of each lane, numbered from 1.
    accepted: [u64; 2],
    batches: u64,
}

/// What a reading of the whole log found of a lane.
#[derive(Debug, Default)]
struct Counted {
    stored: u64,
    recorded: u64,
    /// In loss records.
    lost: Ranges,
    /// Told by gaps.
    gone: u64,
}

impl Course {
    fn open(settings: Settings, clock: &'static AtomicU64) -> Course {
        let log = EventLog::open(settings).expect("a log");
        log.cursor(CONSUMER).expect("room for a cursor");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let wall = 1_700_000_000_000;
        Course { log, clock, runtime, dice: Dice::of_this_run(), wall, accepted: [0; 2], batches: 0 }
    }

    fn run(&mut self, events: u64) {
        for _ in 0..events / BATCH {
            self.batches += 1;
            let lane = if self.batches.is_multiple_of(3) { Lane::Urgent } else { Lane::Routine };
            if self.dice.once_in(20) {
                self.step_wall_clock();
            }
            self.append(lane);
            advance(self.clock, PACE * BATCH as u32);
        }
    }

    /// By up to ten years, in either direction.
    fn step_wall_clock(&mut self) {
        let years = self.dice.below(21) as i64 - 10;
        self.wall = (self.wall + years * 365 * DAY.as_millis() as i64).max(0);
    }

    fn append(&mut self, lane: Lane) {
        let first = self.accepted[lane as usize] + 1;
        let events: Vec<_> = (first..first + BATCH).map(|number| numbered::event(lane, number, EVENT_BYTES)).collect();
        let timestamp = self.wall;
        let drafts: Vec<_> =
            events.iter().map(|event| Draft { event, level: 2, category: 2, timestamp, kind: None }).collect();
        self.runtime.block_on(self.log.append(lane, &drafts)).expect("accepted");
        self.accepted[lane as usize] += BATCH;
    }

    fn commit(&self) {
        for lane in Lane::ALL {
            self.runtime.block_on(self.log.commit(lane, self.log.next_sequence(lane))).expect("durable");
        }
    }

    /// Waits until retention has finished and what is expected of it has come: until then events may be both there and recorded as lost, never neither.
    fn settle(&self, has_come: impl Fn(&[Counted; 2]) -> bool) -> [Counted; 2] {
        let start = Instant::now();
        loop {
            let Some(counted) = self.count() else {
                assert!(start.elapsed() < PATIENCE, "retention does not come to an end");
                continue;
            };
            let sums = counted.each_ref().map(|lane| lane.stored + lane.recorded);
            for (sum, accepted) in sums.iter().zip(self.accepted) {
                assert!(*sum >= accepted, "{accepted} accepted, {sum} accounted for: {counted:?}");
            }
            let told = counted.iter().all(|lane| lane.lost.first_missing(1, 1 + lane.gone).is_none());
            assert!(told, "a gap without a record: {counted:?}");
            if sums == self.accepted && has_come(&counted) {
                return counted;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{:?} accepted, not exact, or not what was expected: {counted:?}",
                self.accepted
            );
            thread::sleep(LOOK_PAUSE);
        }
    }

    /// Reads both lanes, the routine one first: what goes from it is recorded in the other before. Nothing when retention has
    /// overtaken the reading.
    fn count(&self) -> Option<[Counted; 2]> {
        let mut counted = [Counted::default(), Counted::default()];
        for lane in [Lane::Routine, Lane::Urgent] {
            let mut reader = self.log.reader(lane, 1);
            let mut last = None;
            loop {
                match reader.read(1000, 1 << 20).expect("readable") {
                    Read::Run(run) => {
                        for stored in run.events() {
                            add(&mut counted, lane, &mut last, &stored.event);
                        }
                    }
                    Read::Gap(_) if last.is_some() => return None,
                    Read::Gap(gap) => counted[lane as usize].gone += gap.to - gap.from,
                    Read::End => break,
                }
            }
            assert!(last.is_none_or(|last| last == self.accepted[lane as usize]), "{lane:?} ends with {last:?}");
        }
        Some(counted)
    }

    #[expect(clippy::print_stderr, reason = "the figures of the trial")]
    fn show(&self, counted: &[Counted; 2], memory: u64, memory_then: u64) {
        let [urgent, routine] = counted.each_ref().map(|lane| (lane.stored, lane.recorded));
        eprintln!(
            "urgent and routine, stored and lost: {urgent:?} {routine:?}; memory {memory} to {memory_then} bytes"
        );
    }
}

fn add(counted: &mut [Counted; 2], lane: Lane, last: &mut Option<u64>, event: &[u8]) {
    match numbered::kind(lane, event) {
        Kind::Numbered(number) => {
            assert!(last.is_none_or(|last| number == last + 1), "{lane:?}: {number} after {last:?}");
            *last = Some(number);
            counted[lane as usize].stored += 1;
        }
        Kind::Loss(loss) => {
            let of = &mut counted[Lane::from_name(&loss.lane).expect("a loss record names its lane") as usize];
            assert!(loss.count_exact, "{loss:?}");
            of.recorded += loss.count;
            of.lost.add(loss.first_sequence, loss.last_sequence + 1);
        }
    }
}

fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line for it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn descriptors() -> usize {
    fs::read_dir(Path::new("/proc/self/fd")).expect("the kernel tells").count()
}
