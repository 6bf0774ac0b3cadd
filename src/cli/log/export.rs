//! `rodent log export`: what is stored as JSON lines, in the form that `rodent emit --json` takes.

use std::{io, process::ExitCode};

use super::span;
use crate::{
    cli::{
        Failure,
        failure::{Code, tell},
    },
    event::{
        EventView,
        json::{Place, to_value},
    },
    event_log::{Lane, StoppedLog, StoredEvent},
    terminal::{Screen, quiet_end},
};

pub(super) fn run(log: &StoppedLog, lane: Option<Lane>) -> Result<ExitCode, Failure> {
    let lanes = lane.map_or(Lane::ALL.to_vec(), |lane| vec![lane]);
    let mut printer = Printer { screen: Screen::stdout(), printed: Ok(()), undecodable: 0 };
    let gaps = log.export(&lanes, |lane, stored| printer.take(lane, &stored))?;
    let Printer { mut screen, printed, undecodable } = printer;
    quiet_end(printed.and_then(|()| screen.flush()))?;
    for (lane, gap) in &gaps {
        tell(&format!("rodent: {} {} is not there", lane.name(), span(&(gap.from..gap.to))));
    }
    let complete = gaps.is_empty() && undecodable == 0;
    Ok(if complete { ExitCode::SUCCESS } else { Code::Data.into() })
}

/// Prints until that fails.
struct Printer {
    screen: Screen,
    printed: io::Result<()>,
    undecodable: u64,
}

impl Printer {
    fn take(&mut self, lane: Lane, stored: &StoredEvent) -> bool {
        let place = Place { lane: lane.name().to_owned(), sequence: stored.sequence };
        match EventView::decode(&stored.event) {
            Ok(event) => self.printed = self.screen.json(&to_value(&event, None, Some(&place))),
            Err(_) => {
                self.undecodable += 1;
                tell(&format!("rodent: {} {} cannot be decoded", place.lane, place.sequence));
            }
        }
        self.printed.is_ok()
    }
}
