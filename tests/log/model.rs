//! The log against a list: any course of appends, commits, reads at any place, cursor moves, retention, crashes and
//! openings, in both lanes.
//!
//! The list is the [`Ledger`]; it is told what the log promised and holds each reading against that. A crash is the
//! directory as it lies there while the log is open.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use rodent::event_log::{EventLog, Lane, Read, Settings};
use tokio::runtime::Runtime;

use crate::{
    dice,
    ledger::Ledger,
    numbered,
    report::Report,
    writer::{self, describe},
};

const CASES: u64 = 1000;

#[derive(Clone, Debug)]
enum Step {
    Append(Lane, Vec<usize>),
    Commit(Lane),
    /// Reads at a place, in percent of all sequences, at most so many events and bytes.
    Read(Lane, u64, usize, usize),
    /// The consumer takes so many events and commits.
    Take(Lane, usize),
    /// The consumer comes back to where its cursor stands.
    Return,
    Reopen,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = || prop_oneof![Just(Lane::Urgent), Just(Lane::Routine)];
    let step = prop_oneof![
        8 => (lane(), prop::collection::vec(numbered::BYTES_MIN..3000, 1..30)).prop_map(|(l, b)| Step::Append(l, b)),
        3 => lane().prop_map(Step::Commit),
        4 => (lane(), 0u64..=100, 1usize..60, 1usize..50_000).prop_map(|(l, p, e, b)| Step::Read(l, p, e, b)),
        4 => (lane(), 1usize..80).prop_map(|(l, count)| Step::Take(l, count)),
        1 => Just(Step::Return),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(dice::trials(CASES)).expect("a count of cases"),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_log_agrees_with_a_list_whatever_happens(steps in steps(), keeps_history in any::<bool>(), is_program in any::<bool>()) {
        let mut course = Course::new(keeps_history, is_program);
        steps.iter().for_each(|step| course.take(step));
        course.reopen();
    }
}

/// A log in use, and the list.
struct Course {
    directory: tempfile::TempDir,
    /// How often the log has moved: it lies in the directory of this number.
    moves: u64,
    keeps_history: bool,
    runtime: Runtime,
    log: EventLog,
    ledger: Ledger,
    next_number: u64,
    /// Where the consumer reads on.
    position: [u64; 2],
}

impl Course {
    fn new(keeps_history: bool, is_program: bool) -> Course {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("a directory");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let place = |moves: u64| directory.path().join(moves.to_string());
        let log = EventLog::open(settings(&place(0), keeps_history)).expect("a new log");
        // Known from the start, also after a crash before the first commit.
        writer::begin(&log, is_program);
        log.close();
        let log = EventLog::open(settings(&place(0), keeps_history)).expect("the log");
        let (ledger, position) = (Ledger::new(), [1; 2]);
        Course { directory, moves: 0, keeps_history, runtime, log, ledger, next_number: 1, position }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(lane, bytes) => self.append(*lane, bytes),
            Step::Commit(lane) => self.commit(*lane),
            Step::Read(lane, place, events, bytes) => self.read(*lane, *place, *events, *bytes),
            Step::Take(lane, count) => self.consume(*lane, *count),
            Step::Return => self.return_to_cursor(),
            Step::Reopen => self.reopen(),
            Step::Crash => self.crash(),
        }
    }

    fn append(&mut self, lane: Lane, bytes: &[usize]) {
        let (first_number, count) = (self.next_number, bytes.len() as u64);
        self.next_number += count;
        let next = self.runtime.block_on(writer::append(&self.log, lane, first_number, bytes)).expect("accepted");
        self.ledger.note(Report::Accepted { lane, first_number, count, next });
    }

    fn commit(&mut self, lane: Lane) {
        let next = self.log.next_sequence(lane);
        self.runtime.block_on(self.log.commit(lane, next)).expect("durable");
        self.ledger.note(Report::Durable { lane, next });
    }

    fn read(&mut self, lane: Lane, place: u64, events: usize, bytes: usize) {
        let from = (self.log.bounds(lane).1 * place / 100).max(1);
        let mut reader = self.log.reader(lane, from);
        match reader.read(events, bytes).expect("readable") {
            Read::Run(run) => {
                assert_eq!(run.first_sequence, from, "a run begins where reading begins");
                assert!((1..=events as u64).contains(&run.count), "{} of at most {events}", run.count);
                assert!(run.count == 1 || run.fields.len() <= bytes, "{} of at most {bytes}", run.fields.len());
                describe(&run).iter().for_each(|line| _ = self.ledger.see(line));
            }
            Read::Gap(gap) => self.ledger.note(Report::Gap { lane, from: gap.from, to: gap.to }),
            Read::End => assert!(from >= self.log.bounds(lane).1 || place == 100, "{lane:?} {from}: there was more"),
        }
    }

    fn consume(&mut self, lane: Lane, count: usize) {
        let mut reader = self.log.reader(lane, self.position[lane as usize]);
        match reader.read(count, usize::MAX).expect("readable") {
            Read::Run(run) => describe(&run).into_iter().for_each(|line| self.ledger.note(line)),
            Read::Gap(gap) => self.ledger.note(Report::Gap { lane, from: gap.from, to: gap.to }),
            Read::End => return,
        }
        let next = reader.position();
        self.position[lane as usize] = next;
        self.ledger.note(Report::Commit { lane, next });
        let cursor = writer::cursor(&self.log);
        cursor.commit(lane, next);
        assert!(cursor.next(lane) >= next, "a cursor stands where it was committed, or retention moved it on");
    }

    fn return_to_cursor(&mut self) {
        let cursor = writer::cursor(&self.log);
        self.position = Lane::ALL.map(|lane| cursor.next(lane));
    }

    /// Closes and opens: closing is a promise, too.
    fn reopen(&mut self) {
        let cursors = Lane::ALL.map(|lane| writer::cursor(&self.log).next(lane));
        let nexts = Lane::ALL.map(|lane| (lane, self.log.next_sequence(lane)));
        self.log.close();
        nexts.into_iter().for_each(|(lane, next)| self.ledger.note(Report::Durable { lane, next }));
        self.open();
        // What retention takes at the start is owed at once, and its record written like any event.
        Lane::ALL.into_iter().for_each(|lane| self.commit(lane));
        self.ledger.check(&self.log);
        let cursor = writer::cursor(&self.log);
        assert!(Lane::ALL.map(|lane| cursor.next(lane)) >= cursors, "a closed log knows its cursors");
    }

    fn crash(&mut self) {
        let (here, there) = (self.place(), self.directory.path().join((self.moves + 1).to_string()));
        // Its writer may just be making a cursor durable: a copy counts when nothing has changed meanwhile.
        while !copy(&here, &there).is_ok_and(|()| is_copy(&here, &there).unwrap_or(false)) {
            let _ = fs::remove_dir_all(&there);
        }
        self.log.close();
        fs::remove_dir_all(&here).expect("the log that nobody has any more");
        self.moves += 1;
        self.open();
        self.ledger.note(Report::Open);
        // The record of the crash is written like any event.
        Lane::ALL.into_iter().for_each(|lane| self.commit(lane));
        self.ledger.check(&self.log);
        self.ledger.closed();
        self.return_to_cursor();
    }

    fn open(&mut self) {
        self.log = EventLog::open(settings(&self.place(), self.keeps_history)).expect("the log opens");
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join(self.moves.to_string())
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        self.log.close();
    }
}

/// Small, so that a few steps fill generations and retention has to remove some.
fn settings(directory: &Path, keeps_history: bool) -> Settings {
    Settings {
        flush_interval: Duration::from_secs(3600),
        generation_bytes: 24 << 10,
        disk_bytes_max: 500 << 10,
        history_bytes: keeps_history.then_some(64 << 10),
        ..Settings::new(directory.to_owned())
    }
}

pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

pub(crate) fn is_copy(from: &Path, to: &Path) -> io::Result<bool> {
    let names = |directory: &Path| -> io::Result<Vec<_>> {
        let mut names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    let here = names(from)?;
    if here != names(to)? {
        return Ok(false);
    }
    for name in here {
        let (source, target) = (from.join(&name), to.join(&name));
        let same = if source.is_dir() { is_copy(&source, &target)? } else { fs::read(&source)? == fs::read(&target)? };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}
