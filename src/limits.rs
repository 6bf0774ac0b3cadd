//! How often something may happen: a bucket of tokens. A ground room: the event log paces its commits with it, the uplink
//! what a controller may ask, the controller what a node may.
//!
//! Always holds: nothing here looks at a clock; whoever asks says what time it is, and a time that goes back brings nothing.

use std::time::{Duration, Instant};

/// The wait that is told where the rate gives none.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Fills at a rate up to its capacity, and may be overdrawn.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Tokens that come back each second.
    rate: f64,
    capacity: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket: `capacity` tokens may be taken at once, `rate` come back each second.
    pub fn new(rate: f64, capacity: f64, now: Instant) -> Bucket {
        Bucket { rate, capacity, level: capacity, at: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there is none, and nothing is taken: how long until there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.level < 1.0 {
            return Err(self.wait());
        }
        self.level -= 1.0;
        Ok(())
    }

    /// Whether nothing is owed.
    ///
    /// # Errors
    /// When something is: how long until there will be a token.
    pub fn solvent(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.level > 0.0 { Ok(()) } else { Err(self.wait()) }
    }

    /// Takes tokens, whether they are there or not.
    pub fn charge(&mut self, amount: f64, now: Instant) {
        self.fill(now);
        self.level -= amount;
    }

    /// Whether it is as if nothing had ever been taken.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level >= self.capacity
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.level = self.capacity.min(self.level + gained);
        self.at = self.at.max(now);
    }

    fn wait(&self) -> Duration {
        Duration::try_from_secs_f64((1.0 - self.level) / self.rate).unwrap_or(WAIT_MAX).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_then_so_many_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2.0, 20.0, start);
        assert!((0..20).all(|_| bucket.take(start).is_ok()));
        assert_eq!(bucket.take(start), Err(Duration::from_millis(500)));
        let mut later = |seconds| bucket.take(start + Duration::from_secs(seconds)).is_ok();
        assert_eq!([1, 1, 1, 2, 2, 2].map(&mut later), [true, true, false, true, true, false]);
        assert_eq!((0..30).filter(|_| later(3600)).count(), 20, "no more than a burst is saved up");
    }

    #[test]
    fn what_is_overdrawn_is_paid_before_anything_else_is_taken() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, 40.0, start);
        bucket.charge(50.0, start);
        assert_eq!(bucket.solvent(start), Err(Duration::from_millis(1100)));
        assert!(bucket.solvent(start + Duration::from_millis(1100)).is_ok());
        assert!(!bucket.is_full(start + Duration::from_millis(4900)));
        assert!(bucket.is_full(start + Duration::from_secs(5)));
    }

    #[test]
    fn a_time_that_goes_back_brings_nothing_and_no_rate_has_a_bounded_wait() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1.0, 1.0, start + Duration::from_secs(1));
        assert!(bucket.take(start).is_ok());
        assert!(bucket.take(start + Duration::from_secs(1)).is_err());
        let mut still = Bucket::new(0.0, 1.0, start);
        still.charge(1.0, start);
        assert_eq!(still.take(start + WAIT_MAX), Err(WAIT_MAX));
    }
}
