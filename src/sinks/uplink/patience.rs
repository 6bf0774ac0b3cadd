//! How long the uplink waits for what.

use std::time::Duration;

use crate::consumers::BACKOFF;

/// How long making a connection may take at the most; less where a call may take less.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long the answer to a probe may take at the most; less where probes are more frequent.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// How long an uplink waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the answer to a call. Beyond it the attempt counts as failed; a batch that arrived all the same is recognised by
    /// its sequences when it comes again.
    pub call_timeout: Duration,
    /// How long a connection may be silent until it is probed: finds connections that are open at one end only.
    pub keepalive: Duration,
    /// The longest pause between two attempts, which are drawn by chance up to a bound that grows to this; also how long
    /// something that is refused waits.
    pub backoff_max: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { call_timeout: Duration::from_secs(30), keepalive: Duration::from_secs(30), backoff_max: BACKOFF.1 }
    }
}

impl Patience {
    /// How long making a connection may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.call_timeout.min(CONNECT_MAX)
    }

    /// How long the answer to a probe may take.
    pub(super) fn probe_timeout(&self) -> Duration {
        self.keepalive.min(PROBE_MAX)
    }

    /// The first bound of the pause between attempts.
    pub(super) fn backoff_first(&self) -> Duration {
        self.backoff_max.min(BACKOFF.0)
    }
}
