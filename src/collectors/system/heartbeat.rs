//! The heartbeat as a domain: a sign of life in each turn, the first after a whole one.

use std::time::Duration;

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    host::{Host, clock::Clock},
    schema::events::{SystemHostPayload, system_host_payload::SystemHostOperation as Operation},
};

pub(super) struct Heartbeat {
    interval: Duration,
    /// Whether it has had the look at the start, which is no turn.
    has_started: bool,
    beat: Option<Finding>,
}

impl Heartbeat {
    pub(super) fn new(interval: Duration) -> Heartbeat {
        Heartbeat { interval, has_started: false, beat: None }
    }
}

impl Domain for Heartbeat {
    const NAME: &'static str = "heartbeat";
    type Known = ();
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, _: Option<&()>) -> Result<Option<()>, CollectError> {
        let look = |host: &Host| Ok((host.hostname().unwrap_or_default(), Clock::of(host).since_boot()));
        let (hostname, since_boot) = context.look("look at the clock", look).await?;
        self.beat = self.has_started.then(|| heartbeat(hostname, since_boot));
        self.has_started = true;
        Ok(Some(()))
    }

    fn first_sight(&self, _: &()) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, (): &(), (): &()) -> Vec<Finding> {
        Vec::from_iter(self.beat.clone())
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }
}

fn heartbeat(hostname: String, since_boot: Duration) -> Finding {
    let payload = SystemHostPayload {
        subject: hostname,
        uptime_seconds: i64::try_from(since_boot.as_secs()).unwrap_or(i64::MAX),
        operation: Operation::Heartbeat.into(),
        ..Default::default()
    };
    Finding::new(Level::Info, payload, "agent", "heartbeat")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_tells_the_uptime() {
        let finding = heartbeat("nas".into(), Duration::from_millis(93_784_500));
        let payload: SystemHostPayload = finding.payload();
        assert_eq!((payload.subject.as_str(), payload.uptime_seconds), ("nas", 93_784));
        assert_eq!(finding.sentence(), "Node nas is alive, up 1d 2h");
    }
}
