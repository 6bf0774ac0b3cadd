//! Waiting longer after each failure, with jitter, so that many agents do not come back in step.
//!
//! The n-th wait is drawn evenly from zero to `first × 1.6ⁿ`, capped ("full jitter"). The source of randomness is handed
//! in, so that tests can replay it.

use std::time::Duration;

/// Successive waits between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

/// Growth of the upper bound from one failure to the next.
const FACTOR: f64 = 1.6;

impl Backoff {
    /// The first wait is at most `first`, later ones at most `cap`.
    pub fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff { first, cap, failures: 0 }
    }

    /// The upper bound of the next wait.
    pub fn bound(&self) -> Duration {
        // Beyond 64 steps the cap has long been reached; the limit keeps the power finite.
        let exponent = i32::try_from(self.failures.min(64)).unwrap_or(64);
        self.cap.min(Duration::try_from_secs_f64(self.first.as_secs_f64() * FACTOR.powi(exponent)).unwrap_or(self.cap))
    }

    /// Notes a failure and gives the wait: `random`, from 0 to 1, of the bound.
    pub fn next(&mut self, random: f64) -> Duration {
        let wait = self.bound().mul_f64(random.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// Evenly from 0 to 1, from the operating system. When that gives nothing: 1, the longest wait.
pub fn random() -> f64 {
    let mut bytes = [0; 4];
    match ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
        let waits: Vec<_> = (0..100).map(|_| backoff.next(1.0)).collect();
        assert_eq!(waits[0], Duration::from_secs(1));
        assert_eq!(waits[1], Duration::from_secs_f64(1.6));
        assert!(waits.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(waits[99], Duration::from_secs(120));
        backoff.reset();
        assert_eq!(backoff.bound(), Duration::from_secs(1));
    }

    #[test]
    fn jitter_takes_from_nothing_up_to_the_whole_bound() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        assert!((0..100).all(|_| (0.0..=1.0).contains(&random())));
    }
}
