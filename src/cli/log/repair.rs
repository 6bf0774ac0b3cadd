//! `rodent log repair`: what is to be done about damage, and with `--apply` doing it.

use std::process::ExitCode;

use super::spans;
use crate::{
    cli::Failure,
    event_log::{GenerationReport, Lane, Report, StoppedLog},
    terminal::{Screen, grouped, quiet_end},
};

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The ledger is moved away.
    SetLedgerAside,
    /// A generation is written anew from what is intact.
    Rewrite { lane: Lane, number: u64 },
}

pub(super) fn run(log: &StoppedLog, apply: bool) -> Result<ExitCode, Failure> {
    let plan = plan(&log.check()?);
    let mut lines = Vec::new();
    for (step, what) in &plan {
        lines.push(what.clone());
        if apply {
            let there = match step {
                Step::SetLedgerAside => log.set_ledger_aside()?,
                Step::Rewrite { lane, number } => log.rewrite(*lane, *number)?,
            };
            lines.push(format!("  done; the damaged one is kept in {}", there.display()));
        }
    }
    lines.push(match (plan.is_empty(), apply) {
        (true, _) => "there is nothing to repair".to_owned(),
        (false, true) => "repaired; the agent reports what is lost when it runs again".to_owned(),
        (false, false) => "nothing has been changed; --apply does it".to_owned(),
    });
    let mut screen = Screen::stdout();
    quiet_end(lines.iter().try_for_each(|line| screen.line(line)).and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be done, with a line that says it.
fn plan(report: &Report) -> Vec<(Step, String)> {
    let ledger = report.ledger_damage.as_ref().map(|why| {
        let what = format!("move the ledger away ({why}): delivery begins again with the oldest event");
        (Step::SetLedgerAside, what)
    });
    let rewrite = |generation: &GenerationReport| {
        let (missing, which) = spans(&generation.missing);
        let what = format!(
            "write {} generation {} anew: {} events are intact, {} are gone: {which}",
            generation.lane.name(),
            generation.number,
            grouped(generation.events),
            grouped(missing),
        );
        (Step::Rewrite { lane: generation.lane, number: generation.number }, what)
    };
    let damaged = report.generations.iter().filter(|generation| generation.wants_rewriting());
    ledger.into_iter().chain(damaged.map(rewrite)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u64, sealed: bool, broken: bool) -> GenerationReport {
        GenerationReport {
            lane: Lane::Routine,
            number,
            first_sequence: 1,
            next_sequence: 101,
            events: 90,
            disk_bytes: 0,
            sealed,
            missing: if broken { vec![11..20, 50..51] } else { Vec::new() },
            recorded: Vec::new(),
            broken,
        }
    }

    #[test]
    fn the_plan_names_what_is_damaged_and_leaves_the_rest_alone() {
        let generations = vec![generation(1, true, false), generation(2, true, true), generation(3, false, true)];
        let report = Report { ledger_damage: Some("it is torn".to_owned()), generations, ..Report::default() };
        let (steps, lines): (Vec<_>, Vec<_>) = plan(&report).into_iter().unzip();
        assert_eq!(steps, [Step::SetLedgerAside, Step::Rewrite { lane: Lane::Routine, number: 2 }]);
        assert_eq!(lines[1], "write routine generation 2 anew: 90 events are intact, 10 are gone: 11-19, 50");
        assert!(plan(&Report::default()).is_empty());
    }
}
