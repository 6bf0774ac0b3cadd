//! Says when what the node proves itself with ends soon, or has ended.

use std::time::Duration;

use super::UplinkState;
use crate::{
    health::{Conditions, Fault},
    telemetry::message,
    words::human_duration,
};

/// With less time left than this, what the node proves itself with is worth a word.
pub const EXPIRY_MIN: Duration = Duration::from_secs(14 * 86_400);

impl UplinkState {
    /// Says it of now, Unix milliseconds.
    pub fn judge_credentials(&self, conditions: &Conditions, now: i64) {
        let status = self.status();
        for (message, what, expires) in [
            (message::TOKEN_EXPIRES, "token", status.token_expires_at),
            (message::CERTIFICATE_EXPIRES, "certificate", status.certificate_expires_at),
        ] {
            conditions.put(message, expiry(what, expires, now));
        }
    }
}

/// `expires`: Unix milliseconds; 0 for never.
fn expiry(what: &str, expires: i64, now: i64) -> Option<Fault> {
    if expires <= 0 {
        return None;
    }
    let left = expires.saturating_sub(now);
    let distance = Duration::from_millis(left.unsigned_abs());
    if left <= 0 {
        let text = format!("the {what} of this node expired {} ago", human_duration(distance));
        return Some(Fault::error(text).since(expires));
    }
    let text = || format!("the {what} of this node expires in {}", human_duration(distance));
    (distance < EXPIRY_MIN).then(|| Fault::warning(text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Registry;

    const NOW: i64 = 1_762_767_000_000;
    const DAY: i64 = 86_400_000;

    #[test]
    fn what_ends_within_two_weeks_is_a_warning_and_what_has_ended_an_error() {
        let (registry, state) = (Registry::new(|| NOW), UplinkState::new("c:1"));
        let ends = |token, certificate| {
            state.proved(token, certificate);
            state.judge_credentials(&registry.part("uplink"), NOW);
            let line = |it: crate::health::Condition| format!("{} {}", it.level.name(), it.text);
            registry.standing().into_iter().map(line).collect::<Vec<_>>()
        };
        let soon = ends(Some(NOW + DAY), Some(NOW + 30 * DAY));
        assert_eq!(soon, ["warning the token of this node expires in 1d"]);
        assert_eq!(ends(Some(NOW - DAY / 12), None), ["error the token of this node expired 2h ago"]);
        assert_eq!(ends(None, Some(NOW + 13 * DAY)), ["warning the certificate of this node expires in 13d"]);
        assert_eq!(ends(None, None), [""; 0]);
    }
}
