//! What a writer tells the trial, line by line: what it was promised, and what it was given.
//!
//! A line is one write of less than a pipe's atomic size, so that a killed writer leaves whole lines.

use std::{fmt, str::SplitWhitespace};

use rodent::event_log::Lane;
use uuid::Uuid;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The log is about to be opened.
    Opening,
    /// The log is open.
    Open,
    /// Events `first_number..first_number + count` were accepted; the last has the sequence before `next`.
    Accepted { lane: Lane, first_number: u64, count: u64, next: u64 },
    /// Everything of the lane before `next` was acknowledged as durable.
    Durable { lane: Lane, next: u64 },
    /// A consumer was given consecutive numbered events.
    Read { lane: Lane, epoch: Uuid, sequence: u64, first_number: u64, count: u64 },
    /// A consumer was given a loss record: of which lane, cause, and range.
    Record { lane: Lane, epoch: Uuid, sequence: u64, of: Lane, operation: i32, first: u64, last: u64 },
    /// A consumer was told that sequences are gone.
    Gap { lane: Lane, from: u64, to: u64 },
    /// The consumer is about to commit this.
    Commit { lane: Lane, next: u64 },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Opening => write!(f, "opening"),
            Report::Open => write!(f, "open"),
            Report::Accepted { lane, first_number, count, next } => {
                write!(f, "accepted {} {first_number} {count} {next}", lane.name())
            }
            Report::Durable { lane, next } => write!(f, "durable {} {next}", lane.name()),
            Report::Read { lane, epoch, sequence, first_number, count } => {
                write!(f, "read {} {epoch} {sequence} {first_number} {count}", lane.name())
            }
            Report::Record { lane, epoch, sequence, of, operation, first, last } => {
                write!(f, "record {} {epoch} {sequence} {} {operation} {first} {last}", lane.name(), of.name())
            }
            Report::Gap { lane, from, to } => write!(f, "gap {} {from} {to}", lane.name()),
            Report::Commit { lane, next } => write!(f, "commit {} {next}", lane.name()),
        }
    }
}

impl Report {
    /// The opposite of `Display`; `None` for other lines, as the test harness prints them.
    pub(crate) fn parse(line: &str) -> Option<Report> {
        let mut words = line.split_whitespace();
        let word = words.next()?;
        Some(match word {
            "opening" => Report::Opening,
            "open" => Report::Open,
            "accepted" => Report::Accepted {
                lane: lane(&mut words)?,
                first_number: number(&mut words)?,
                count: number(&mut words)?,
                next: number(&mut words)?,
            },
            "durable" => Report::Durable { lane: lane(&mut words)?, next: number(&mut words)? },
            "read" => Report::Read {
                lane: lane(&mut words)?,
                epoch: words.next()?.parse().ok()?,
                sequence: number(&mut words)?,
                first_number: number(&mut words)?,
                count: number(&mut words)?,
            },
            "record" => Report::Record {
                lane: lane(&mut words)?,
                epoch: words.next()?.parse().ok()?,
                sequence: number(&mut words)?,
                of: lane(&mut words)?,
                operation: words.next()?.parse().ok()?,
                first: number(&mut words)?,
                last: number(&mut words)?,
            },
            "gap" => Report::Gap { lane: lane(&mut words)?, from: number(&mut words)?, to: number(&mut words)? },
            "commit" => Report::Commit { lane: lane(&mut words)?, next: number(&mut words)? },
            _ => return None,
        })
    }
}

fn lane(words: &mut SplitWhitespace<'_>) -> Option<Lane> {
    words.next().and_then(Lane::from_name)
}

fn number(words: &mut SplitWhitespace<'_>) -> Option<u64> {
    words.next()?.parse().ok()
}

#[test]
fn every_report_comes_back_from_its_line() {
    let (lane, epoch) = (Lane::Urgent, Uuid::from_u128(7));
    for report in [
        Report::Opening,
        Report::Open,
        Report::Accepted { lane, first_number: 1, count: 2, next: 3 },
        Report::Durable { lane, next: 4 },
        Report::Read { lane, epoch, sequence: 5, first_number: 6, count: 7 },
        Report::Record { lane, epoch, sequence: 8, of: Lane::Routine, operation: 1, first: 9, last: 10 },
        Report::Gap { lane, from: 11, to: 12 },
        Report::Commit { lane, next: 13 },
    ] {
        assert_eq!(Report::parse(&report.to_string()), Some(report));
    }
    assert_eq!(Report::parse("running 1 test"), None);
}
