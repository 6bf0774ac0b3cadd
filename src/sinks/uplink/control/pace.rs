//! How often a controller may ask, and how often it may acknowledge.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use super::Refusal;

/// Requests that may follow each other at once.
const BURST: f64 = 20.0;

/// Requests that come back each second.
const RATE: f64 = 2.0;

/// The wait after each request beyond that: a flood keeps neither the processor nor the network busy.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Requests that are left, and since when. Lasts over streams: opening another one gives no more.
pub(super) struct Pace {
    left: f64,
    since: Instant,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { left: BURST, since: Instant::now() }
    }
}

impl Pace {
    /// Lets a request through.
    ///
    /// # Errors
    /// After a short wait, when there were too many.
    pub(super) async fn admit(&mut self) -> Result<(), Refusal> {
        if self.take(Instant::now()) {
            return Ok(());
        }
        tokio::time::sleep(REFUSED_PAUSE).await;
        Err(Refusal::new(Code::ResourceExhausted, format!("more than {RATE} requests a second; ask again later")))
    }

    fn take(&mut self, now: Instant) -> bool {
        let back = now.duration_since(self.since).as_secs_f64() * RATE;
        (self.left, self.since) = ((self.left + back).min(BURST), now);
        let admitted = self.left >= 1.0;
        if admitted {
            self.left -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_then_so_many_a_second() {
        let mut pace = Pace::default();
        let start = pace.since;
        assert!((0..20).all(|_| pace.take(start)));
        assert!(!pace.take(start));
        let mut later = |seconds| pace.take(start + Duration::from_secs(seconds));
        assert_eq!([1, 1, 1, 2, 2, 2].map(&mut later), [true, true, false, true, true, false]);
        assert_eq!((0..30).filter(|_| later(3600)).count(), 20);
    }
}
