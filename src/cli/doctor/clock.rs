//! The clock: whether something keeps it in step, and whether it agrees with the controller's and with the token.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{finding::Finding, patient::Patient, token::moment};
use crate::{
    agent::probe::{self, Synchronisation},
    telemetry::message,
    terminal::human_duration,
};

/// Beyond this the clocks do not agree; one that is in step is well below.
const OFFSET_WARN: Duration = Duration::from_secs(5);

/// Beyond this tokens and certificates are refused that are right.
const OFFSET_FAIL: Duration = Duration::from_secs(60);

const ADVICE: &str = message::CLOCK_UNSYNCHRONISED.advice;

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    let mut findings = vec![in_step(probe::clock())];
    let look = patient.controller_look().await;
    let offset = look.and_then(|look| look.answered.as_ref()?.as_ref().ok()?.clock_offset_seconds);
    findings.extend(offset.map(against_controller));
    if let Some(settings) = patient.controller().cloned() {
        let times = tokio::task::spawn_blocking(move || probe::token(&settings)).await;
        let issued = times.ok().and_then(Result::ok).and_then(|times| times.issued);
        findings.extend(issued.and_then(|issued| against_token(issued, probe::now())));
    }
    findings
}

fn in_step(state: Synchronisation) -> Finding {
    match state {
        Synchronisation::Synchronised => Finding::pass("something keeps it in step"),
        Synchronisation::Unsynchronised => Finding::warn("nothing keeps it in step", ADVICE),
        Synchronisation::Unknown => Finding::warn("the kernel does not say whether something keeps it in step", ADVICE),
    }
}

/// `offset`: by how many seconds the controller's is ahead.
fn against_controller(offset: i64) -> Finding {
    let apart = Duration::from_secs(offset.unsigned_abs());
    let text = match offset {
        _ if apart <= OFFSET_WARN => return Finding::pass("it agrees with the controller's"),
        1.. => format!("it is {} behind the controller's", human_duration(apart)),
        _ => format!("it is {} ahead of the controller's", human_duration(apart)),
    };
    if apart > OFFSET_FAIL { Finding::fail(text, ADVICE) } else { Finding::warn(text, ADVICE) }
}

/// A token cannot have been issued in the time to come.
fn against_token(issued: SystemTime, now: SystemTime) -> Option<Finding> {
    let ahead = issued.duration_since(now).ok().filter(|ahead| *ahead > OFFSET_FAIL)?;
    let issued = moment(issued);
    let text = format!("the token was issued at {issued}: this clock is at least {} behind", human_duration(ahead));
    Some(Finding::fail(text, ADVICE))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::cli::doctor::finding::Mark;

    #[test]
    fn a_clock_that_is_out_of_step_with_the_controllers_is_told_which_way() {
        assert_eq!(against_controller(-2), Finding::pass("it agrees with the controller's"));
        assert_eq!(against_controller(30).text, "it is 30s behind the controller's");
        let ahead = against_controller(-3_700);
        assert_eq!((ahead.mark, ahead.text.as_str()), (Mark::Fail, "it is 1h 1m ahead of the controller's"));
    }

    #[test]
    fn a_token_of_the_time_to_come_gives_a_clock_away() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(against_token(at(1_000), at(2_000)), None);
        assert_eq!(against_token(at(1_030), at(1_000)), None, "a little is no fault");
        for far in [5_000, 1_800_000_000_000] {
            assert_eq!(against_token(at(far), at(1_000)).expect("a finding").mark, Mark::Fail, "{far}");
        }
    }
}
