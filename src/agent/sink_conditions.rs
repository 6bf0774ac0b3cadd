//! Says what is wrong with the way to a sink: it refuses, or is out of reach. The one place that judges the
//! [`ConsumerStatus`] of a sink.

use crate::{
    health::{Fault, Registry},
    schema::local::{ConsumerStatus, consumer_status::State},
    telemetry::message,
};

/// What a sink is called where something is wrong with it.
const PREFIX: &str = "sinks.";

/// Of those that are configured; one that is not any more has nothing wrong with it.
pub(super) fn judge<'a>(registry: &Registry, sinks: impl Iterator<Item = &'a ConsumerStatus> + Clone) {
    for condition in registry.standing() {
        let name = condition.part.strip_prefix(PREFIX);
        if name.is_some_and(|name| !sinks.clone().any(|sink| sink.name == name)) {
            let part = registry.part(condition.part.clone());
            [message::SINK_REFUSES, message::SINK_AWAY].into_iter().for_each(|message| part.clear(message));
        }
    }
    for sink in sinks {
        let ConsumerStatus { name, target, last_error, state_since, .. } = sink;
        let part = registry.part(format!("{PREFIX}{name}"));
        let held = (sink.state() == State::Held)
            .then(|| Fault::error(format!("the sink {name} ({target}) refuses, everything is kept: {last_error}")));
        part.put(message::SINK_REFUSES, held.map(|fault| fault.since(*state_since).told()));
        let away = (sink.state() == State::Waiting)
            .then(|| Fault::warning(format!("the sink {name} ({target}) is out of reach: {last_error}")));
        part.put(message::SINK_AWAY, away.map(|fault| fault.since(*state_since).told()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_refuses_is_an_error_one_that_is_away_a_warning_and_one_that_is_gone_nothing() {
        let registry = Registry::new(|| 9);
        let sink = |state| ConsumerStatus {
            name: "phone".to_owned(),
            target: "http://ntfy.lan".to_owned(),
            last_error: "no".to_owned(),
            state_since: 5,
            state: i32::from(state),
            ..ConsumerStatus::default()
        };
        let said = |sinks: &[ConsumerStatus]| {
            judge(&registry, sinks.iter());
            let line = |it: crate::health::Condition| format!("{} {} {}", it.part, it.level.name(), it.text);
            registry.standing().into_iter().map(line).collect::<Vec<_>>()
        };
        let refuses = "sinks.phone error the sink phone (http://ntfy.lan) refuses, everything is kept: no";
        assert_eq!(said(&[sink(State::Held)]), [refuses]);
        let away = "sinks.phone warning the sink phone (http://ntfy.lan) is out of reach: no";
        assert_eq!(said(&[sink(State::Waiting)]), [away]);
        assert_eq!(said(&[]), [""; 0]);
        assert_eq!(said(&[sink(State::Connected)]), [""; 0]);
    }
}
