//! What was promised and what was given, over the whole of a trial; and what must hold between the two.
//!
//! Takes reports of children and readings of the reopened log. Always holds, or [`Ledger`] panics: what was acknowledged
//! is there, was taken by the consumer, or is in a loss record; order is kept, nothing is there twice; a place
//! (lane, sequence) holds one event for ever, under one epoch; a cursor is never ahead of its consumer; there is no hole without a
//! Gap, and no Gap without a loss record, unless everybody had taken what is gone.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use rodent::{
    event_log::{EventLog, Gap, Lane, Read},
    schema::events::event_loss_payload::EventLossOperation,
};
use uuid::Uuid;

use crate::{
    ranges::Ranges,
    report::Report,
    writer::{self, describe, settings},
};

/// Makes a log with its consumer's cursor, the agent's own or a program's.
pub(crate) fn begin(directory: &Path, is_program: bool) {
    let log = EventLog::open(settings(directory)).expect("a new log");
    writer::begin(&log, is_program);
    log.close();
}

/// Opens the log after what was done to it, checks everything, and closes it in good order.
pub(crate) fn reopen(directory: &Path, ledger: &mut Ledger) {
    let log = EventLog::open(settings(directory)).expect("the log opens again");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for lane in Lane::ALL {
        runtime.block_on(log.commit(lane, log.next_sequence(lane))).expect("the log writes again");
    }
    ledger.check(&log);
    log.close();
    ledger.closed();
}

/// After which a record that is not there will not come.
const RECORD_DELAY_MAX: Duration = Duration::from_secs(10);

/// Both lanes' accounts.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    accounts: [Account; 2],
    /// Whether a child opened the log since it was last closed in good order.
    opened: bool,
    /// Records of unclean stops that were seen for the first time.
    unclean_stops: u64,
    pub(crate) tally: Tally,
}

/// What a trial has seen: shows that it tried what it claims to try.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) acknowledged: u64,
    pub(crate) read_back: u64,
    pub(crate) lost: u64,
    pub(crate) committed: u64,
}

impl Tally {
    #[expect(clippy::print_stderr, reason = "what a trial has tried")]
    pub(crate) fn show(&self) {
        eprintln!("{self:?}");
    }

    /// Without a loss, or without a consumer that goes on where it stood, only half of what holds has been tried.
    pub(crate) fn has_seen_all(&self) -> bool {
        self.acknowledged > 0 && self.lost > 0 && self.committed > 0
    }
}

#[derive(Clone, Debug)]
struct Account {
    lane: Lane,
    /// Where each event stood that somebody was shown: epoch, and number unless it is the log's own. Pruned below
    /// what is stored.
    places: BTreeMap<u64, (Uuid, Option<u64>)>,
    pruned: u64,
    /// Sequences that producers were told, with the events' numbers.
    accepted: BTreeMap<u64, u64>,
    /// Everything before was acknowledged.
    durable: u64,
    taken: Ranges,
    /// In records of retention that the consumer was given.
    told: Ranges,
    /// In records of retention that are stored.
    recorded: Ranges,
    committed: u64,
    gaps: Vec<Gap>,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        let account = |lane| Account {
            lane,
            places: BTreeMap::new(),
            pruned: 1,
            accepted: BTreeMap::new(),
            durable: 1,
            taken: Ranges::default(),
            told: Ranges::default(),
            recorded: Ranges::default(),
            committed: 1,
            gaps: Vec::new(),
        };
        Ledger { accounts: Lane::ALL.map(account), opened: false, unclean_stops: 0, tally: Tally::default() }
    }

    /// The log was closed in good order, or what was not is recorded.
    pub(crate) fn closed(&mut self) {
        self.opened = false;
    }

    fn account(&mut self, lane: Lane) -> &mut Account {
        &mut self.accounts[lane as usize]
    }

    /// Whether anything was acknowledged, after which nothing may be missing.
    pub(crate) fn note_all(&mut self, reports: Vec<Report>) -> bool {
        let acknowledges = reports.iter().any(|report| matches!(report, Report::Durable { .. }));
        reports.into_iter().for_each(|report| self.note(report));
        acknowledges
    }

    pub(crate) fn note(&mut self, report: Report) {
        match report {
            Report::Opening => {}
            Report::Open => {
                self.opened = true;
                // What was not acknowledged may be gone, and its sequences may be given again.
                self.accounts.iter_mut().for_each(|account| _ = account.accepted.split_off(&account.durable));
            }
            Report::Accepted { lane, first_number, count, next } => {
                self.account(lane).accept(first_number, count, next);
                self.tally.accepted += count;
            }
            Report::Durable { lane, next } => {
                let account = self.account(lane);
                let news = next.saturating_sub(account.durable);
                account.durable = account.durable.max(next);
                self.tally.acknowledged += news;
            }
            Report::Commit { lane, next } => {
                let account = self.account(lane);
                account.committed = account.committed.max(next);
                self.tally.committed += 1;
            }
            Report::Gap { lane, from, to } => self.account(lane).gaps.push(Gap { from, to }),
            taken => {
                let (lane, from, to) = self.see(&taken);
                self.account(lane).taken.add(from, to);
                if let Report::Record { of, operation: RETENTION | DAMAGE, first, last, .. } = taken {
                    self.account(of).told.add(first, last + 1);
                }
            }
        }
    }

    /// Notes where events stand; gives their lane and places.
    pub(crate) fn see(&mut self, report: &Report) -> (Lane, u64, u64) {
        match *report {
            Report::Read { lane, epoch, sequence, first_number, count } => {
                for at in 0..count {
                    self.account(lane).place(sequence + at, epoch, Some(first_number + at));
                }
                (lane, sequence, sequence + count)
            }
            Report::Record { lane, epoch, sequence, of, operation, first, last } => {
                if self.account(lane).place(sequence, epoch, None) && operation == UNCLEAN_STOP {
                    self.unclean_stops += 1;
                }
                match operation {
                    RETENTION => self.account(of).recorded.add(first, last + 1),
                    // A frame that was being written when the process was killed; so nobody had been told of it.
                    DAMAGE => {
                        let account = self.account(of);
                        // By now later ones may be acknowledged: a child that found the frame has gone on behind it.
                        let acknowledged = account.accepted.range(first..=last).find(|(at, _)| **at < account.durable);
                        assert_eq!(acknowledged, None, "{of:?} {first} to {last}: an acknowledged event is damaged");
                        account.recorded.add(first, last + 1);
                    }
                    UNCLEAN_STOP => assert_eq!((first, last), (0, 0), "an unclean stop names no acknowledged event"),
                    other => panic!("nothing but retention and kills takes events here: {other}"),
                }
                (lane, sequence, sequence + 1)
            }
            _ => unreachable!("only what was read is seen"),
        }
    }

    /// Reads the whole reopened log and holds it against everything that was promised.
    pub(crate) fn check(&mut self, log: &EventLog) {
        let unclean_stops = self.unclean_stops;
        // A record that went before the consumer had it is as good as none.
        self.accounts.iter_mut().for_each(|account| account.recorded = account.told.clone());
        let cursors = Lane::ALL.map(|lane| writer::cursor(log).next(lane));
        let presences = Lane::ALL.map(|lane| {
            let (present, gaps, end) = self.read(log, lane);
            self.account(lane).gaps.extend(gaps);
            (present, end)
        });
        // What retention takes is owed at once, and its record written a moment later.
        let begun = Instant::now();
        loop {
            for lane in Lane::ALL {
                // What is asked for is written now, whoever waits for it: a log here may flush once an hour.
                let _ = log.commit(lane, log.next_sequence(lane)).now_or_never();
                self.read(log, lane);
            }
            let is_told =
                Lane::ALL.iter().all(|lane| self.account(*lane).silent_below(cursors[*lane as usize]).is_none());
            if is_told || begun.elapsed() > RECORD_DELAY_MAX {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        for (lane, (present, end)) in Lane::ALL.into_iter().zip(presences) {
            let account = self.account(lane);
            account.pruned = present.first().unwrap_or(end);
            assert!(end >= account.durable, "{lane:?}: {} was acknowledged, the log ends at {end}", account.durable);
            account.check_promises(&present);
            account.check_cursor(cursors[lane as usize]);
            account.check_gaps();
            account.prune();
            self.tally.read_back += present.count();
        }
        self.tally.lost = self.accounts.iter().map(|account| account.recorded.count()).sum();
        let recorded = self.unclean_stops > unclean_stops;
        assert!(recorded || !self.opened, "the log was not closed, and no record says so");
    }

    fn read(&mut self, log: &EventLog, lane: Lane) -> (Ranges, Vec<Gap>, u64) {
        let mut reader = log.reader(lane, 1);
        let (mut present, mut gaps, mut position) = (Ranges::default(), Vec::new(), 1);
        loop {
            match reader.read(1000, 1 << 20).expect("the log can be read") {
                Read::Run(run) => {
                    assert_eq!(run.first_sequence, position, "{lane:?}: no hole without a gap");
                    let mut counted = 0;
                    for line in describe(&run) {
                        let (_, from, to) = self.see(&line);
                        counted += to - from;
                    }
                    assert_eq!(counted, run.count, "{lane:?}: a run holds what it counts");
                    present.add(position, run.next_sequence());
                    position = run.next_sequence();
                }
                Read::Gap(gap) => {
                    assert_eq!(gap.from, position, "{lane:?}: a gap begins where reading stopped");
                    assert!(gap.to > gap.from, "{lane:?}: {gap:?} is empty");
                    gaps.push(gap);
                    position = gap.to;
                }
                Read::End => return (present, gaps, position),
            }
        }
    }
}

const RETENTION: i32 = EventLossOperation::Retention as i32;
const DAMAGE: i32 = EventLossOperation::Damage as i32;
const UNCLEAN_STOP: i32 = EventLossOperation::UncleanStop as i32;

impl Account {
    fn accept(&mut self, first_number: u64, count: u64, next: u64) {
        let first = next - count;
        assert!(
            first >= self.durable,
            "{:?}: {first} is given again after {} was acknowledged",
            self.lane,
            self.durable
        );
        self.accepted.extend((first..next).zip(first_number..));
    }

    /// Notes what stands at a place; true when nobody had seen it before.
    fn place(&mut self, sequence: u64, epoch: Uuid, number: Option<u64>) -> bool {
        let lane = self.lane;
        assert!(sequence >= self.pruned, "{lane:?} {sequence} is back after it was removed");
        if let Some(known) = self.places.get(&sequence) {
            assert_eq!(*known, (epoch, number), "{lane:?} {sequence} stands for two events");
            return false;
        }
        if let Some(number) = number {
            let before = self.places.range(..sequence).rev().find_map(|(_, (_, number))| *number);
            let behind = self.places.range(sequence..).find_map(|(_, (_, number))| *number);
            assert!(before.is_none_or(|before| before < number), "{lane:?} {sequence}: {number} after {before:?}");
            assert!(behind.is_none_or(|behind| number < behind), "{lane:?} {sequence}: {number} before {behind:?}");
        }
        self.places.insert(sequence, (epoch, number));
        true
    }

    fn check_promises(&self, present: &Ranges) {
        for (sequence, number) in self.accepted.range(..self.durable) {
            let lane = self.lane;
            if let Some((_, found)) = self.places.get(sequence) {
                assert_eq!(*found, Some(*number), "{lane:?} {sequence} holds another event than was acknowledged");
            }
            let kept =
                present.contains(*sequence) || self.taken.contains(*sequence) || self.recorded.contains(*sequence);
            assert!(
                kept,
                "{lane:?} {sequence} was acknowledged, and is neither there, nor taken, nor recorded as lost"
            );
        }
    }

    /// The first event before the consumer's cursor that it neither committed nor can read to be lost.
    fn silent_below(&self, cursor: u64) -> Option<u64> {
        self.recorded_or_carried(cursor).first_missing(self.committed, cursor)
    }

    /// What is recorded as lost; and records that stood before this place and stand again behind it: of a generation that goes they
    /// are carried on.
    fn recorded_or_carried(&self, before: u64) -> Ranges {
        let mut recorded = self.recorded.clone();
        let is_own = |place: &(&u64, &(Uuid, Option<u64>))| place.1.1.is_none();
        let gone: Vec<_> = self.places.range(..before).filter(is_own).map(|(sequence, _)| *sequence).collect();
        if self.places.range(before..).filter(is_own).count() >= gone.len() {
            gone.iter().for_each(|sequence| recorded.add(*sequence, sequence + 1));
        }
        recorded
    }

    fn check_cursor(&self, cursor: u64) {
        let missing = self.silent_below(cursor);
        assert!(missing.is_none(), "{:?}: the cursor is at {cursor}, committed was {}", self.lane, self.committed);
    }

    fn check_gaps(&mut self) {
        for gap in std::mem::take(&mut self.gaps) {
            let mut accounted = self.recorded_or_carried(gap.to);
            self.taken.each(|from, to| accounted.add(from, to));
            let silent = accounted.first_missing(gap.from, gap.to);
            assert!(silent.is_none(), "{:?}: {gap:?}, and of {silent:?} no record says so", self.lane);
        }
    }

    /// Forgets what is gone for good.
    fn prune(&mut self) {
        self.places = self.places.split_off(&self.pruned);
        self.accepted = self.accepted.split_off(&self.pruned);
    }
}
