//! How fast things go: what counters say that were read one after the other.
//!
//! Pure: moments are handed in. A counter that went back, because the agent has started again, gives no rate, never a wrong
//! one.

use crate::order::Gather as _;
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::client::StatusResponse;

/// Rates that are remembered for the curves.
const HISTORY_MAX: usize = 120;

/// Events or bytes a second; `None` before there are two readings.
pub(super) type Rate = Option<f64>;

/// What goes how fast.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Events accepted, and delivered to the controller.
    pub(super) accepted: Rate,
    pub(super) delivered: Rate,
    pub(super) sent_bytes: Rate,
    /// By lane: stored, delivered.
    pub(super) lanes: BTreeMap<String, (Rate, Rate)>,
    /// By category: accepted.
    pub(super) categories: BTreeMap<String, Rate>,
    /// By collector: emitted.
    pub(super) collectors: BTreeMap<String, Rate>,
}

/// Reads counters.
#[derive(Default)]
pub(super) struct Meter {
    last: Option<(Instant, StatusResponse)>,
    /// Which agent it was.
    started_at: Option<i64>,
    pub(super) rates: Rates,
    /// Rates of events, the newest last; 0 where there was none.
    pub(super) accepted: VecDeque<f64>,
    pub(super) delivered: VecDeque<f64>,
}

impl Meter {
    /// Takes the next reading. Gives whether the agent is another one than at the last.
    pub(super) fn read(&mut self, at: Instant, status: &StatusResponse) -> bool {
        let before = self.last.replace((at, status.clone()));
        let known = self.started_at.replace(status.started_at);
        let is_new = known.is_some_and(|known| known != status.started_at);
        self.rates = match before.filter(|_| !is_new) {
            Some((then, before)) => Rates::between(&before, status, at.saturating_duration_since(then)),
            None => Rates::default(),
        };
        if self.rates.accepted.is_some() {
            remember(&mut self.accepted, self.rates.accepted);
            remember(&mut self.delivered, self.rates.delivered);
        }
        is_new
    }

    /// The next reading is the first again: what lay between is not known.
    pub(super) fn forget(&mut self) {
        (self.last, self.rates) = (None, Rates::default());
    }
}

fn remember(history: &mut VecDeque<f64>, rate: Rate) {
    if history.len() >= HISTORY_MAX {
        history.pop_front();
    }
    history.push_back(rate.unwrap_or_default());
}

impl Rates {
    fn between(before: &StatusResponse, now: &StatusResponse, elapsed: Duration) -> Rates {
        let rate = |before: u64, now: u64| rate(before, now, elapsed);
        let uplinks = (before.uplink.clone().unwrap_or_default(), now.uplink.clone().unwrap_or_default());
        let pipelines = (before.pipeline.clone().unwrap_or_default(), now.pipeline.clone().unwrap_or_default());
        let logs = (before.log.clone().unwrap_or_default(), now.log.clone().unwrap_or_default());
        let lanes = logs.1.lanes.iter().map(|lane| {
            let stored = logs.0.lanes.iter().find(|old| old.lane == lane.lane);
            let stored = stored.and_then(|old| rate(old.next_sequence, lane.next_sequence));
            let of = |uplink: &crate::schema::local::UplinkStatus| {
                uplink.lanes.iter().find(|own| own.lane == lane.lane).map(|own| own.delivered_events)
            };
            let delivered = of(&uplinks.0).zip(of(&uplinks.1)).and_then(|(old, new)| rate(old, new));
            (lane.lane.clone(), (stored, delivered))
        });
        let categories = pipelines.1.categories.iter().map(|category| {
            let old = pipelines.0.categories.iter().find(|old| old.category == category.category);
            (category.category.clone(), old.and_then(|old| rate(old.accepted_events, category.accepted_events)))
        });
        let collectors = now.collectors.iter().map(|collector| {
            let old = before.collectors.iter().find(|old| old.name == collector.name);
            (collector.name.clone(), old.and_then(|old| rate(old.emitted_events, collector.emitted_events)))
        });
        Rates {
            accepted: rate(pipelines.0.accepted_events, pipelines.1.accepted_events),
            delivered: rate(uplinks.0.delivered_events, uplinks.1.delivered_events),
            sent_bytes: rate(uplinks.0.sent_bytes, uplinks.1.sent_bytes),
            lanes: lanes.gather(),
            categories: categories.gather(),
            collectors: collectors.gather(),
        }
    }
}

/// How fast a counter went up.
fn rate(before: u64, now: u64, elapsed: Duration) -> Rate {
    let seconds = elapsed.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    now.checked_sub(before).filter(|_| seconds > 0.0).map(|count| count as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::local::{CategoryStatus, LaneStatus, LogStatus, PipelineStatus, UplinkStatus};

    fn status(started_at: i64, events: u64) -> StatusResponse {
        let lane = LaneStatus { lane: "routine".to_owned(), next_sequence: events, ..Default::default() };
        let category = CategoryStatus { category: "storage".to_owned(), accepted_events: events, ..Default::default() };
        StatusResponse {
            started_at,
            pipeline: Some(PipelineStatus {
                accepted_events: events,
                categories: vec![category],
                ..Default::default()
            }),
            uplink: Some(UplinkStatus { delivered_events: events / 2, ..Default::default() }),
            log: Some(LogStatus { lanes: vec![lane], ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn a_rate_is_what_was_counted_by_the_time_that_really_passed() {
        let (mut meter, begun) = (Meter::default(), Instant::now());
        meter.read(begun, &status(1, 100));
        assert_eq!(meter.rates, Rates::default(), "one reading tells none");
        meter.read(begun + Duration::from_millis(2_500), &status(1, 600));
        let rates = &meter.rates;
        assert_eq!((rates.accepted, rates.delivered), (Some(200.0), Some(100.0)));
        assert_eq!((rates.lanes["routine"].0, rates.categories["storage"]), (Some(200.0), Some(200.0)));
        assert_eq!(meter.accepted, [200.0]);
    }

    #[test]
    fn an_agent_that_started_again_gives_no_rate_until_it_was_read_twice() {
        let (mut meter, begun) = (Meter::default(), Instant::now());
        meter.read(begun, &status(1, 100));
        assert!(meter.read(begun + Duration::from_secs(1), &status(2, 5_000)));
        assert_eq!(meter.rates.accepted, None);
        assert!(!meter.read(begun + Duration::from_secs(2), &status(2, 5_003)));
        assert_eq!(meter.rates.accepted, Some(3.0));
        meter.read(begun + Duration::from_secs(3), &status(2, 4_000));
        assert_eq!(meter.rates.accepted, None, "a counter that went back");
    }

    #[test]
    fn an_agent_that_started_again_is_known_as_another_also_after_a_pause() {
        let (mut meter, begun) = (Meter::default(), Instant::now());
        meter.read(begun, &status(1, 100));
        meter.forget();
        assert!(meter.read(begun + Duration::from_secs(60), &status(2, 200)));
        assert_eq!(meter.rates.accepted, None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut meter, begun) = (Meter::default(), Instant::now());
        for second in 0..500 {
            meter.read(begun + Duration::from_secs(second), &status(1, second));
        }
        assert_eq!(meter.accepted.len(), HISTORY_MAX);
    }
}
