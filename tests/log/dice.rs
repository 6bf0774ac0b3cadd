//! Chance that can be replayed: a seed gives the same throws again.

use std::env;

/// Where the seed of a trial comes from; the trial prints what it took.
const SEED: &str = "RODENT_SEED";
/// How often a trial is made.
const TRIALS: &str = "RODENT_TRIALS";

/// The number in an environment variable.
///
/// # Panics
/// When it holds something else.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// How often to try: `usually`, unless the environment says otherwise.
pub(crate) fn trials(usually: u64) -> u64 {
    number(TRIALS).unwrap_or(usually)
}

/// Throws numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// With the seed of the environment, or one of the moment; says which.
    #[expect(clippy::print_stderr, reason = "a failed trial can be replayed only by who knows its seed")]
    pub(crate) fn of_this_run() -> Dice {
        let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = number(SEED).unwrap_or_else(|| moment.map_or(1, |since| since.as_nanos() as u64));
        eprintln!("{SEED}={seed}");
        Dice(seed)
    }

    pub(crate) fn with_seed(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
