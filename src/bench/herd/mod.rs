//! Ten thousand agents whose controller comes back: a simulation with the agents' own pacing, in simulated time, from a
//! seed. It tells how much is offered beside what the controller can take, how long draining takes beside the best
//! that is possible, and how evenly.
//!
//! What is real: the waits, the window, what a busy controller asks for. What is a model: the controller is one queue
//! with a cost for each handshake, batch and event; every answer takes the same way through the network; agents do not
//! fail.

mod agent;
mod controller;
mod dice;
mod world;

use std::{
    io::{self, Write},
    time::Duration,
};

use self::world::{Outcome, World};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct HerdPlan {
    /// How many agents.
    pub agents: usize,
    /// For how long the controller is away.
    pub outage: Duration,
    /// Events a batch.
    pub batch_size: u64,
    /// The same seed, the same course.
    pub seed: u64,
}

/// How agents come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// As ours do.
    Paced,
    /// With all batches of the window from the first moment.
    Open,
    /// Deaf to what the controller asks for.
    Deaf,
    /// With waits that grow in the same steps everywhere.
    InStep,
}

impl Policy {
    const ALL: [Policy; 4] = [Policy::Paced, Policy::Open, Policy::Deaf, Policy::InStep];

    fn name(self) -> &'static str {
        match self {
            Policy::Paced => "as it is",
            Policy::Open => "window always open",
            Policy::Deaf => "deaf to the controller's word",
            Policy::InStep => "no jitter, deaf",
        }
    }
}

/// Steps of the picture.
const PICTURE_ROWS: usize = 24;

/// Columns of a full bar.
const BAR: usize = 30;

/// Simulates every policy, prints a table of them and the course of ours.
///
/// # Errors
/// When nobody reads.
pub fn run(plan: HerdPlan, out: &mut dyn Write) -> io::Result<()> {
    let HerdPlan { agents, outage, batch_size, seed } = plan;
    writeln!(
        out,
        "{agents} agents, controller away for {}, batches of {batch_size}, seed {seed}\n",
        humantime::format_duration(outage)
    )?;
    writeln!(
        out,
        "{:<30} {:>8} {:>6} {:>8} {:>8} {:>7} {:>7}",
        "", "drained", "best", "refused", "in vain", "p99/p50", "fair"
    )?;
    let mut ours = None;
    for policy in Policy::ALL {
        let outcome = World::new(plan, policy).run();
        let drained = match outcome.drained {
            Some(drained) => format!("{:.0} s", drained.as_secs_f64()),
            None => "never".to_owned(),
        };
        writeln!(
            out,
            "{:<30} {:>8} {:>4.0} s {:>7.1}% {:>7.1}% {:>7.2} {:>7.3}",
            policy.name(),
            drained,
            outcome.best.as_secs_f64(),
            percent(outcome.refused, outcome.offered),
            percent(outcome.in_vain, outcome.work),
            outcome.spread(),
            outcome.fairness()
        )?;
        if policy == Policy::Paced {
            ours = Some(outcome);
        }
    }
    ours.map_or(Ok(()), |outcome| picture(&outcome, out))
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// The course from the controller's return on: what was asked of it, and what it took, beside what it can take.
fn picture(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nas it is: each second, from the controller's return; a full bar is all it can take")?;
    writeln!(out, "{:>7} {:>9} {:>9} {:>9}  taken", "s", "connects", "batches", "refused")?;
    let step = outcome.course.len().div_ceil(PICTURE_ROWS).max(1);
    for (row, seconds) in outcome.course.chunks(step).enumerate() {
        let mean =
            |part: fn(&world::Second) -> u64| seconds.iter().map(part).sum::<u64>() as f64 / seconds.len() as f64;
        let busy = mean(|second| second.busy_micros) / 1e6;
        let bar = "#".repeat(((busy * BAR as f64).round() as usize).min(BAR));
        let (connects, batches, refused) = (mean(|s| s.connects), mean(|s| s.batches), mean(|s| s.refused));
        writeln!(out, "{:>7} {connects:>9.0} {batches:>9.0} {refused:>9.0}  {bar}", row * step)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(policy: Policy, seed: u64) -> Outcome {
        let plan = HerdPlan { agents: 2_000, outage: Duration::from_secs(600), batch_size: 100, seed };
        World::new(plan, policy).run()
    }

    #[test]
    fn a_herd_that_comes_back_is_drained_within_twice_the_best_time_and_evenly() {
        for seed in 1..4 {
            let outcome = outcome(Policy::Paced, seed);
            let drained = outcome.drained.expect("drained").as_secs_f64();
            // The longest wait before an agent looks again, and the work itself.
            let allowed = 2.0 * outcome.best.as_secs_f64() + 120.0;
            assert!(drained <= allowed, "seed {seed}: {drained} s, the best is {:?}", outcome.best);
            assert!(outcome.in_vain * 100 <= outcome.work, "seed {seed}: {} in vain", outcome.in_vain);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_course() {
        let (first, second) = (outcome(Policy::Paced, 7), outcome(Policy::Paced, 7));
        assert_eq!((first.drained, first.offered, first.refused), (second.drained, second.offered, second.refused));
        assert_ne!(first.offered, outcome(Policy::Paced, 8).offered);
    }
}
