//! How people hear of a consumer: a line in the journal when something begins, and a condition for as long as it lasts. The
//! one place that judges how a consumer is.

use std::time::Duration;

use uuid::Uuid;

use super::{ConsumerState, DeliveryFailure, Reason, Then};
use crate::{
    event_log::Lane,
    health::{Conditions, Fault},
    schema::local::{ConsumerStatus, consumer_status::State},
    telemetry::message::{self, Message},
    words::human_duration,
};

/// What a consumer is called, and the messages that are its own.
#[derive(Clone, Debug)]
pub struct Wording {
    /// In a sentence: `the controller`, `the sink phone`.
    pub who: String,
    /// It cannot be reached.
    pub away: Message,
    /// It takes events again.
    pub back: Message,
    /// It takes nothing until somebody acts.
    pub refuses: Message,
    /// What the node proves itself with is not accepted, where that has a message of its own.
    pub credentials: Option<Message>,
}

impl Wording {
    /// Of the sink that the configuration calls so.
    pub fn of_sink(name: &str) -> Wording {
        Wording {
            who: format!("the sink {name}"),
            away: message::SINK_AWAY,
            back: message::SINK_BACK,
            refuses: message::SINK_REFUSES,
            credentials: None,
        }
    }
}

/// What begins.
#[derive(Debug)]
pub(super) enum News<'a> {
    /// Events arrive.
    Arrives,
    /// Nothing is delivered.
    Fails(&'a DeliveryFailure),
    /// One event is not taken, and is kept as a dead letter.
    Refused { lane: Lane, sequence: u64, error: &'a str },
    /// The other side has other events under the numbers of what is not delivered, which goes under new ones.
    Renumbered { epoch: Uuid, error: &'a str },
}

impl ConsumerState {
    /// Writes the line.
    pub(super) fn tell(&self, news: &News<'_>) {
        let Wording { who, away, back, refuses, credentials } = self.wording();
        let ConsumerStatus { name: consumer, target, .. } = self.status();
        match news {
            News::Arrives => tracing::info!(message_id = %back, consumer, target, "events reach {who}"),
            News::Fails(DeliveryFailure { then, error, reason, .. }) => {
                let own = credentials.filter(|_| *reason == Reason::Credentials);
                if matches!(then, Then::Later(_)) {
                    let message_id = own.as_ref().unwrap_or(away);
                    tracing::warn!(%message_id, consumer, target, error, "{who} cannot be reached; events are kept and sent later");
                } else {
                    let message_id = own.as_ref().unwrap_or(refuses);
                    tracing::error!(%message_id, consumer, target, error, "{who} takes no events; they are kept");
                }
            }
            News::Refused { lane, sequence, error } => {
                let (message_id, lane) = (message::DEAD_LETTER, lane.name());
                tracing::warn!(%message_id, consumer, target, lane, sequence, error, "{who} refuses an event; it is kept as a dead letter");
            }
            News::Renumbered { epoch, error } => tracing::warn!(
                consumer,
                target,
                %epoch,
                error,
                "{who} has other events under these numbers; what is not delivered yet goes under new ones"
            ),
        }
    }

    /// Says what is wrong with it now (Unix milliseconds): it refuses, is out of reach, or somebody has paused it.
    pub fn judge(&self, conditions: &Conditions, now: i64) {
        let Wording { who, away, refuses, .. } = self.wording();
        let status = self.status();
        let since = status.state_since;
        let error = if status.last_error.is_empty() { "no reason given" } else { status.last_error.as_str() };
        let held = (status.state() == State::Held)
            .then(|| Fault::error(format!("{who} refuses, everything is kept: {error}")).since(since).told());
        conditions.put(*refuses, held);
        let waiting = (status.state() == State::Waiting).then(|| {
            let long = u64::try_from(now.saturating_sub(since)).ok().filter(|_| since > 0).map(Duration::from_millis);
            let long = long.map(|long| format!(" for {}", human_duration(long))).unwrap_or_default();
            Fault::warning(format!("{who} is out of reach{long}: {error}")).since(since).told()
        });
        conditions.put(*away, waiting);
        let paused = (status.state() == State::Paused)
            .then(|| Fault::warning(format!("{who} is paused, {error}; what is for it is kept")).since(since).told());
        conditions.put(message::SINK_PAUSED, paused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Registry;

    const NOW: i64 = 1_762_767_000_000;

    #[test]
    fn who_refuses_is_an_error_who_is_away_a_warning_with_the_time_and_who_is_gone_nothing() {
        let registry = Registry::new(|| 9);
        let state = ConsumerState::new("phone", "webhook", "http://ntfy.lan");
        let said = || {
            state.judge(&registry.part("sinks.phone"), NOW);
            let line = |it: crate::health::Condition| format!("{} {} {}", it.id(), it.level.name(), it.text);
            registry.standing().into_iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(said(), [""; 0], "it has only begun");
        state.enter(State::Held, NOW);
        assert_eq!(said(), ["sink_refuses error the sink phone refuses, everything is kept: no reason given"]);
        state.enter(State::Waiting, NOW - 7_200_000);
        state.failed("connection refused", Duration::ZERO, NOW);
        assert_eq!(said(), ["sink_away warning the sink phone is out of reach for 2h: connection refused"]);
        state.enter(State::Connected, NOW);
        assert_eq!(said(), [""; 0]);
        state.enter(State::Held, NOW);
        state.begin("");
        assert_eq!(said(), [""; 0], "it delivers to nobody any more");
        state.pause("by root", NOW);
        assert_eq!(said(), ["sink_paused warning the sink phone is paused, by root; what is for it is kept"]);
        state.begin("http://ntfy.lan");
        assert_eq!(said(), [""; 0], "it goes on");
    }
}
