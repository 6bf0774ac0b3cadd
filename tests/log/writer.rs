//! What the child does until it is killed: two producers, one a lane, and a consumer that commits; all report each promise
//! as soon as they have it, and each thing that they are about to say to the log before they say it.
//!
//! Limits are small, so that within a second generations are sealed, retention removes what nobody has read, and
//! cursors move.

use std::{io::Write as _, panic, path::Path, process, thread, time::Duration};

use rodent::event_log::{Cursor, Draft, EventLog, Lane, LogError, Ownership, Read, Reader, Run, Settings};

use crate::{
    child::Order,
    dice::Dice,
    numbered::{self, Kind},
    report::Report,
};

/// The only consumer: the agent's own, or in its place a program's.
pub(crate) const CONSUMER: &str = "uplink";
const PROGRAM: &str = "program.trial";

/// Between two batches of the routine producer: bounds what a trial has to read back.
const PAUSE: Duration = Duration::from_micros(500);

/// The limits of the log of a trial.
pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        buffer_size: 2000,
        flush_threshold: 1500,
        flush_interval: Duration::from_millis(30),
        disk_bytes_max: 5 << 20,
        history_bytes: Some(1 << 20),
        generation_bytes: 128 << 10,
        ..Settings::new(directory.to_owned())
    }
}

/// Makes the consumer of a log that has none.
pub(crate) fn begin(log: &EventLog, is_program: bool) {
    if is_program {
        program_cursor(log, PROGRAM);
    } else {
        log.cursor(CONSUMER).expect("room for a cursor");
    }
}

/// The one consumer of a log.
pub(crate) fn cursor(log: &EventLog) -> Cursor {
    match log.program(PROGRAM) {
        Some(_) => program_cursor(log, PROGRAM),
        None => log.cursor(CONSUMER).expect("room for a cursor"),
    }
}

/// The cursor of a program's consumer, which begins with the oldest event.
pub(crate) fn program_cursor(log: &EventLog, name: &str) -> Cursor {
    let program = Ownership { owner: 1000, created_at: 1, seen: log.age(), is_released: false };
    log.program_cursor(name, program, Lane::ALL.map(|lane| log.bounds(lane).0)).expect("room for a cursor")
}

/// Works until it is killed.
pub(crate) fn run(order: &Order) -> ! {
    // A failed thread ends the whole child, so that the trial notices.
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        default(info);
        process::exit(101);
    }));
    report(&Report::Opening);
    let log = EventLog::open(settings(&order.directory)).expect("the log opens");
    report(&Report::Open);
    let mut dice = Dice::with_seed(order.seed);
    let base = order.run << 32;
    thread::scope(|scope| {
        for lane in Lane::ALL {
            let (log, dice) = (&log, Dice::with_seed(dice.throw()));
            scope.spawn(move || produce(log, lane, base, dice));
        }
        let dice = Dice::with_seed(dice.throw());
        scope.spawn(|| {
            if !order.consumer_rests {
                consume(&log, dice)
            }
        });
    });
    process::exit(1)
}

/// One line in one write, behind whatever the test harness has left on its line.
fn report(report: &Report) {
    let line = format!("\n{report}\n");
    let mut output = std::io::stdout().lock();
    if output.write_all(line.as_bytes()).and_then(|()| output.flush()).is_err() {
        // The trial is gone.
        process::exit(1);
    }
}

fn produce(log: &EventLog, lane: Lane, mut number: u64, mut dice: Dice) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    loop {
        let count = 1 + dice.below(if lane == Lane::Urgent { 3 } else { 24 });
        let bytes: Vec<_> = (0..count).map(|_| numbered::BYTES_MIN + dice.below(1500) as usize).collect();
        let next = runtime.block_on(append(log, lane, number, &bytes)).expect("the log takes events");
        report(&Report::Accepted { lane, first_number: number, count, next });
        number += count;
        if dice.once_in(if lane == Lane::Urgent { 2 } else { 4 }) {
            runtime.block_on(log.commit(lane, next)).expect("the log makes events durable");
            report(&Report::Durable { lane, next });
        }
        thread::sleep(PAUSE);
    }
}

/// Appends numbered events of these sizes.
pub(crate) async fn append(log: &EventLog, lane: Lane, first: u64, bytes: &[usize]) -> Result<u64, LogError> {
    let events: Vec<_> = (first..).zip(bytes).map(|(number, bytes)| numbered::event(lane, number, *bytes)).collect();
    let level = if lane == Lane::Urgent { 4 } else { 2 };
    let drafts: Vec<_> =
        events.iter().map(|event| Draft { event, level, category: 2, timestamp: 1, kind: None }).collect();
    log.append(lane, &drafts).await
}

/// Reads both lanes, urgent first, and commits now and then.
fn consume(log: &EventLog, mut dice: Dice) {
    let cursor = cursor(log);
    let mut readers = Lane::ALL.map(|lane| log.reader(lane, cursor.next(lane)));
    loop {
        for (lane, reader) in Lane::ALL.into_iter().zip(&mut readers) {
            take(lane, reader, 1 + dice.below(200) as usize);
            if dice.once_in(3) {
                report(&Report::Commit { lane, next: reader.position() });
                cursor.commit(lane, reader.position());
            }
        }
        thread::sleep(Duration::from_millis(dice.below(8)));
    }
}

fn take(lane: Lane, reader: &mut Reader, events: usize) {
    match reader.read(events, 1 << 16).expect("the log can be read") {
        Read::Run(run) => {
            for line in describe(&run) {
                report(&line);
            }
        }
        Read::Gap(gap) => report(&Report::Gap { lane, from: gap.from, to: gap.to }),
        Read::End => {}
    }
}

/// A run as reports: consecutive numbers in one line.
pub(crate) fn describe(run: &Run) -> Vec<Report> {
    let (lane, epoch) = (run.lane, run.epoch);
    let mut lines: Vec<Report> = Vec::new();
    for stored in run.events() {
        let sequence = stored.sequence;
        match (numbered::kind(lane, &stored.event), lines.last_mut()) {
            (Kind::Numbered(number), Some(Report::Read { first_number, count, .. }))
                if number == *first_number + *count =>
            {
                *count += 1;
            }
            (Kind::Numbered(first_number), _) => {
                lines.push(Report::Read { lane, epoch, sequence, first_number, count: 1 });
            }
            (Kind::Loss(loss), _) => lines.push(Report::Record {
                lane,
                epoch,
                sequence,
                of: Lane::from_name(&loss.lane).expect("a loss record names its lane"),
                operation: loss.operation,
                first: loss.first_sequence,
                last: loss.last_sequence,
            }),
        }
    }
    lines
}
