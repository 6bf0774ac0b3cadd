//! Says what is wrong with the event log and the dead letters: they know, and this puts it into words.

use super::log_look::NO_ANSWER;
use crate::{
    dead_letters::LetterCount,
    event_log::EventLog,
    health::{Conditions, Fault},
    schema::local::{LaneStatus, LogStatus},
    telemetry::message,
    words::{counted, grouped, human_bytes},
};

/// From this share of its bound on, the log of a machine that has a controller is worth a word, percent.
const FULL_PERCENT: u64 = 90;

/// Consumers that are named in one line about dead letters.
const CONSUMERS_NAMED_MAX: usize = 4;

/// What is known without a look at the disk.
pub(super) fn judge_now(conditions: &Conditions, log: &EventLog) {
    let refuses = log.refuses().map(|reason| Fault::error(format!("no events are taken: {reason}")));
    conditions.put(message::LOG_REFUSES, refuses);
    let degraded = log.degraded().map(|reason| Fault::error(format!("events are not durable: {reason}")).told());
    conditions.put(message::DISK_FAILS, degraded);
}

/// What a look at the disk has found. `has_controller`: a full log is as it should be where nobody takes events.
pub(super) fn judge(conditions: &Conditions, log: &LogStatus, has_controller: bool) {
    // The log itself does not know yet that its disk hangs.
    let hangs =
        (log.degraded == NO_ANSWER).then(|| Fault::error(format!("events are not durable: {NO_ANSWER}")).told());
    conditions.put(message::WRITER_STUCK, hangs);
    let damaged = (log.quarantined_bytes > 0).then(|| {
        let bytes = human_bytes(log.quarantined_bytes);
        Fault::warning(format!("{bytes} of the log were damaged and are kept in its directory `quarantine`")).told()
    });
    conditions.put(message::LOG_DAMAGED, damaged);
    conditions.put(message::LOG_FULL, full(log).filter(|_| has_controller));
    let lost = log.lanes.iter().map(|lane| lane.lost_events).fold(0, u64::saturating_add);
    let lost = (lost > 0)
        .then(|| Fault::warning(format!("{} events were removed before everyone had them", grouped(lost))).told());
    conditions.put(message::EVENTS_LOST, lost);
}

/// Events that consumers refuse.
pub(super) fn judge_letters(conditions: &Conditions, counts: &[LetterCount]) {
    let by = |count: &LetterCount| format!("{} by {}", counted(count.letters, "event"), count.consumer);
    let mut refused: Vec<_> = counts.iter().filter(|count| count.letters > 0).map(by).collect();
    if let Some(more) = refused.len().checked_sub(CONSUMERS_NAMED_MAX).filter(|more| *more > 0) {
        refused.truncate(CONSUMERS_NAMED_MAX);
        refused.push(format!("others by {more} more"));
    }
    let told = (!refused.is_empty())
        .then(|| Fault::warning(format!("refused and kept as dead letters: {}", refused.join(", "))).told());
    conditions.put(message::DEAD_LETTER, told);
}

fn full(log: &LogStatus) -> Option<Fault> {
    let percent = |bytes: u64, max: u64| bytes.saturating_mul(100).checked_div(max).unwrap_or_default();
    let routine = log.lanes.iter().find(|lane| lane.lane == "routine").map_or(0, |lane: &LaneStatus| lane.disk_bytes);
    let share = 100u64.saturating_sub(log.urgent_share.into());
    let routine = percent(routine, log.disk_bytes_max / 100 * share);
    let whole = percent(log.disk_bytes, log.disk_bytes_max);
    let what = if routine >= FULL_PERCENT { "the space for routine events" } else { "the log" };
    let percent = whole.max(routine);
    (percent >= FULL_PERCENT)
        .then(|| Fault::warning(format!("{what} is {percent}% full: the oldest events will be removed")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Registry;

    fn said(log: &LogStatus, has_controller: bool) -> Vec<String> {
        let registry = Registry::new(|| 1);
        judge(&registry.part("log"), log, has_controller);
        registry.standing().into_iter().map(|condition| condition.text).collect()
    }

    fn full_log() -> LogStatus {
        let routine = LaneStatus { lane: "routine".to_owned(), disk_bytes: 700 << 20, ..Default::default() };
        let (disk_bytes, disk_bytes_max) = (700 << 20, 1 << 30);
        LogStatus { lanes: vec![routine], disk_bytes, disk_bytes_max, urgent_share: 25, ..Default::default() }
    }

    #[test]
    fn what_is_left_to_routine_events_may_be_full_before_the_log_is() {
        let said = said(&full_log(), true);
        assert_eq!(said, ["the space for routine events is 91% full: the oldest events will be removed"]);
        let whole = LogStatus { urgent_share: 0, disk_bytes: 1 << 30, ..full_log() };
        assert_eq!(self::said(&whole, true), ["the log is 100% full: the oldest events will be removed"]);
    }

    #[test]
    fn without_a_controller_a_full_log_is_as_it_should_be() {
        assert_eq!(said(&full_log(), false), [""; 0]);
    }

    #[test]
    fn a_disk_that_hangs_damage_and_losses_are_told_the_worst_first_and_are_over_when_they_are() {
        let mut log = LogStatus {
            degraded: NO_ANSWER.to_owned(),
            quarantined_bytes: 3 << 20,
            lanes: vec![LaneStatus { lost_events: 1_300, ..Default::default() }],
            ..Default::default()
        };
        assert_eq!(
            said(&log, true),
            [
                "events are not durable: the disk does not answer",
                "1,300 events were removed before everyone had them",
                "3.0 MiB of the log were damaged and are kept in its directory `quarantine`",
            ]
        );
        let registry = Registry::new(|| 1);
        let conditions = registry.part("log");
        judge(&conditions, &log, true);
        log = LogStatus::default();
        judge(&conditions, &log, true);
        assert_eq!(registry.standing(), []);
    }

    #[test]
    fn refused_events_are_counted_by_consumer() {
        let registry = Registry::new(|| 1);
        let conditions = registry.part("dead_letters");
        let count = |consumer: &str, letters| LetterCount { consumer: consumer.into(), letters, bytes: 9 };
        let all: Vec<_> = ["phone", "uplink", "c", "d", "e", "f"].map(|name| count(name, 1)).into();
        let text = |registry: &Registry| registry.standing().into_iter().map(|it| it.text).collect::<Vec<_>>();
        judge_letters(&conditions, &[count("mail", 0), count("phone", 1), count("uplink", 1_200)]);
        assert_eq!(text(&registry), ["refused and kept as dead letters: 1 event by phone, 1,200 events by uplink"]);
        judge_letters(&conditions, &all);
        assert!(text(&registry).concat().ends_with("1 event by d, others by 2 more"));
        judge_letters(&conditions, &[count("uplink", 0)]);
        assert_eq!(text(&registry), [""; 0]);
    }
}
