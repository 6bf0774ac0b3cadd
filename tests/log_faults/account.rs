//! What a scenario's log was given, and whether all of it is accounted for.

use std::collections::BTreeMap;

use rodent::{
    event_log::{EventLog, Lane, LogError, Read},
    schema::events::event_loss_payload::EventLossOperation,
};

use crate::{
    numbered::{self, Kind},
    ranges::Ranges,
};

/// Both lanes' accounts.
#[derive(Default)]
pub(crate) struct Account {
    /// Number by sequence of what was accepted.
    accepted: [BTreeMap<u64, u64>; 2],
    /// Everything before was acknowledged.
    durable: [u64; 2],
    /// What the consumer took before it committed.
    taken: [Ranges; 2],
    next_number: u64,
    /// The disk gives back what it took, if not at once: nothing is damaged.
    disk_keeps: bool,
}

/// What a reading of the whole log gave.
#[derive(Default)]
struct Reading {
    /// Number by sequence.
    numbered: [BTreeMap<u64, u64>; 2],
    recorded: [Ranges; 2],
    unclean_stop: bool,
    /// Lane and sequences of what is recorded as damaged.
    damaged: Option<String>,
}

impl Account {
    pub(crate) fn new(disk_keeps: bool) -> Account {
        Account { disk_keeps, ..Account::default() }
    }

    /// Numbers for `count` more events.
    pub(crate) fn numbers(&mut self, count: u64) -> u64 {
        self.next_number += count;
        self.next_number - count
    }

    pub(crate) fn accept(&mut self, lane: Lane, first_number: u64, count: u64, next: u64) {
        self.accepted[lane as usize].extend((next - count..next).zip(first_number..));
    }

    pub(crate) fn acknowledge(&mut self, lane: Lane, next: u64) {
        self.durable[lane as usize] = next;
    }

    pub(crate) fn take(&mut self, lane: Lane, from: u64, to: u64) {
        self.taken[lane as usize].add(from, to);
    }

    /// Whether all that was accepted is there, was taken, or is recorded as lost; with `stopped`, what was acknowledged,
    /// and for the rest there is the record of an unclean stop. Gives how many are recorded as lost.
    pub(crate) fn settle(&self, log: &EventLog, stopped: bool) -> Result<u64, String> {
        let read = || Reading::of(log).map_err(|error| format!("the log cannot be read: {error:?}"));
        // Retention may be at work: what it takes is recorded before, so records are looked for after.
        let numbered = read()?.numbered;
        let reading = Reading { numbered, ..read()? };
        // What was torn stays torn where the log was closed before it could be written once more.
        if let Some(damaged) = reading.damaged.filter(|_| self.disk_keeps && !stopped) {
            return Err(format!("{damaged} are recorded as damaged, and are not"));
        }
        let mut lost = 0;
        for lane in Lane::ALL {
            let index = lane as usize;
            for (sequence, number) in &self.accepted[index] {
                match reading.numbered[index].get(sequence) {
                    Some(found) if found == number => continue,
                    // Its sequence was never acknowledged, and another event has it now.
                    Some(_) if stopped && *sequence >= self.durable[index] && reading.unclean_stop => continue,
                    Some(found) => return Err(format!("{lane:?} {sequence} is {found} and was {number}")),
                    None => {}
                }
                let acknowledged = *sequence < self.durable[index];
                if reading.recorded[index].contains(*sequence) {
                    lost += 1;
                } else if !(self.taken[index].contains(*sequence) || stopped && !acknowledged && reading.unclean_stop) {
                    return Err(format!("{lane:?} {sequence} is gone silently (acknowledged: {acknowledged})"));
                }
            }
        }
        Ok(lost)
    }
}

impl Reading {
    fn of(log: &EventLog) -> Result<Reading, LogError> {
        let mut reading = Reading::default();
        for lane in Lane::ALL {
            let mut reader = log.reader(lane, 1);
            loop {
                match reader.read(1000, 1 << 20)? {
                    Read::Run(run) => {
                        for stored in run.events() {
                            reading.add(lane, stored.sequence, &stored.event);
                        }
                    }
                    Read::Gap(_) => {}
                    Read::End => break,
                }
            }
        }
        Ok(reading)
    }

    fn add(&mut self, lane: Lane, sequence: u64, event: &[u8]) {
        match numbered::kind(lane, event) {
            Kind::Numbered(number) => {
                self.numbered[lane as usize].insert(sequence, number);
            }
            Kind::Loss(loss) if loss.operation == EventLossOperation::UncleanStop as i32 => self.unclean_stop = true,
            Kind::Loss(loss) => {
                let of = Lane::from_name(&loss.lane).expect("a loss record names its lane");
                self.recorded[of as usize].add(loss.first_sequence, loss.last_sequence + 1);
                if loss.operation() == EventLossOperation::Damage && loss.first_sequence > 0 {
                    self.damaged = Some(format!("{of:?} {} to {}", loss.first_sequence, loss.last_sequence));
                }
            }
        }
    }
}
