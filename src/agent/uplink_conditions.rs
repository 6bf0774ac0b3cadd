//! Says what is wrong with the way to the controller: it refuses, it is out of reach, or what the node proves itself with
//! ends soon. The one place that judges [`UplinkStatus`].

use std::time::Duration;

use crate::{
    health::{Conditions, Fault},
    schema::local::UplinkStatus,
    telemetry::message,
    terminal::human_duration,
};

/// With less time left than this, what the node proves itself with is worth a word.
pub const EXPIRY_MIN: Duration = Duration::from_secs(14 * 86_400);

/// `now`: Unix milliseconds.
pub(super) fn judge(conditions: &Conditions, uplink: &UplinkStatus, now: i64) {
    let error = if uplink.last_error.is_empty() { "no reason given" } else { uplink.last_error.as_str() };
    let is = |state: &str| uplink.state == state;
    let refuses = is("held").then(|| Fault::error(format!("the controller refuses, everything is kept: {error}")));
    conditions.put(message::CONTROLLER_REFUSES, refuses.map(|fault| fault.since(uplink.state_since).told()));
    let away = is("waiting").then(|| {
        let long = ago(uplink.state_since, now).map(|long| format!(" for {}", human_duration(long)));
        Fault::warning(format!("the controller is out of reach{}: {error}", long.unwrap_or_default()))
    });
    conditions.put(message::CONTROLLER_AWAY, away.map(|fault| fault.since(uplink.state_since).told()));
    for (message, what, expires) in [
        (message::TOKEN_EXPIRES, "token", uplink.token_expires_at),
        (message::CERTIFICATE_EXPIRES, "certificate", uplink.certificate_expires_at),
    ] {
        conditions.put(message, expiry(what, expires, now));
    }
}

fn expiry(what: &str, expires: i64, now: i64) -> Option<Fault> {
    if expires <= 0 {
        return None;
    }
    if let Some(since) = ago(expires, now) {
        let text = format!("the {what} of this node expired {} ago", human_duration(since));
        return Some(Fault::error(text).since(expires));
    }
    let left = ago(now, expires).filter(|left| *left < EXPIRY_MIN)?;
    Some(Fault::warning(format!("the {what} of this node expires in {}", human_duration(left))))
}

/// How long before `now` that was; nothing for a time to come, and for 0.
fn ago(then: i64, now: i64) -> Option<Duration> {
    let passed = now.checked_sub(then).filter(|_| then > 0)?;
    u64::try_from(passed).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Registry;

    const NOW: i64 = 1_762_767_000_000;
    const DAY: i64 = 86_400_000;

    fn uplink(state: &str) -> UplinkStatus {
        UplinkStatus { state: state.to_owned(), state_since: NOW - 7_200_000, ..Default::default() }
    }

    fn said(uplink: &UplinkStatus) -> Vec<String> {
        let registry = Registry::new(|| NOW);
        judge(&registry.part("uplink"), uplink, NOW);
        registry.standing().into_iter().map(|it| format!("{} {}", it.level.name(), it.text)).collect()
    }

    #[test]
    fn a_controller_that_refuses_is_an_error_and_one_that_is_away_a_warning_with_the_time() {
        let held = UplinkStatus { last_error: "the token has expired".to_owned(), ..uplink("held") };
        assert_eq!(said(&held), ["error the controller refuses, everything is kept: the token has expired"]);
        let away = UplinkStatus { last_error: "connection refused".to_owned(), ..uplink("waiting") };
        assert_eq!(said(&away), ["warning the controller is out of reach for 2h: connection refused"]);
        for fine in ["off", "connecting", "connected", ""] {
            assert_eq!(said(&uplink(fine)), [""; 0], "{fine}");
        }
    }

    #[test]
    fn what_ends_within_two_weeks_is_a_warning_and_what_has_ended_an_error() {
        let ends = |token_expires_at, certificate_expires_at| {
            said(&UplinkStatus { token_expires_at, certificate_expires_at, ..uplink("connected") })
        };
        assert_eq!(ends(NOW + DAY, NOW + 30 * DAY), ["warning the token of this node expires in 1d"]);
        assert_eq!(ends(NOW - DAY / 12, 0), ["error the token of this node expired 2h ago"]);
        assert_eq!(ends(0, NOW + 13 * DAY), ["warning the certificate of this node expires in 13d"]);
        assert_eq!(ends(0, 0), [""; 0]);
    }
}
