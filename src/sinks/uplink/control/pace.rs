//! How often a controller may ask, and how often it may acknowledge.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use super::OrderRefusal;
use crate::limits::Bucket;

/// Requests that may follow each other at once.
const BURST: f64 = 20.0;

/// Requests that come back each second.
const RATE: f64 = 2.0;

/// The wait after each request beyond that: a flood keeps neither the processor nor the network busy.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Requests that are left. Lasts over streams: opening another one gives no more.
pub(super) struct Pace(Bucket);

impl Default for Pace {
    fn default() -> Pace {
        Pace(Bucket::new(RATE, BURST, Instant::now().into_std()))
    }
}

impl Pace {
    /// Lets a request through.
    ///
    /// # Errors
    /// After a short wait, when there were too many.
    pub(super) async fn admit(&mut self) -> Result<(), OrderRefusal> {
        if self.0.take(Instant::now().into_std()).is_ok() {
            return Ok(());
        }
        tokio::time::sleep(REFUSED_PAUSE).await;
        Err(OrderRefusal::new(Code::ResourceExhausted, format!("more than {RATE} requests a second; ask again later")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_then_so_many_a_second() {
        let mut pace = Pace::default();
        let mut admitted = 0;
        while pace.admit().await.is_ok() {
            admitted += 1;
        }
        assert_eq!(admitted, 20);
        // The refusal itself waits a little, so that a flood is slow.
        let begun_at = Instant::now();
        pace.admit().await.expect_err("too many");
        assert_eq!(begun_at.elapsed(), REFUSED_PAUSE);
        tokio::time::sleep(Duration::from_secs(1)).await;
        for _ in 0..2 {
            pace.admit().await.expect("two a second");
        }
        pace.admit().await.expect_err("no more than that");
    }
}
