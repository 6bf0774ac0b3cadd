//! The token: until when it is valid, by its own word. It is never shown, and neither is what it says of the node.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{finding::Finding, patient::Patient};
use crate::{
    agent::probe::{self, ControllerLook, EXPIRY_MIN, ProbeVerdict, TokenTimes},
    telemetry::message,
    terminal::{human_duration, time_utc},
};

const ADVICE: &str = message::TOKEN_EXPIRES.advice;

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    let now = probe::now();
    let agents = || {
        let uplink = patient.status.as_ref().ok()?.uplink.as_ref()?;
        let expires = u64::try_from(uplink.token_expires_at).ok().filter(|ms| *ms > 0)?;
        let expires = UNIX_EPOCH.checked_add(Duration::from_millis(expires));
        Some(TokenTimes { expires, ..TokenTimes::default() })
    };
    let Some(settings) = patient.controller().cloned() else {
        let why = if patient.config.is_ok() { "no controller is configured" } else { "the configuration is not known" };
        // The agent may say it where the configuration is not for this user.
        return vec![agents().map_or_else(|| Finding::skip(why), |times| judge(times, now))];
    };
    let read = tokio::task::spawn_blocking(move || probe::token(&settings)).await;
    vec![match read {
        Ok(Ok(times)) if times.is_opaque => opaque(patient.controller_look().await),
        Ok(Ok(times)) => judge(times, now),
        Ok(Err(error)) if error.contains("Permission denied") => match agents() {
            Some(times) => judge(times, now),
            None => Finding::skip(error).advise("sudo rodent doctor"),
        },
        Ok(Err(error)) => Finding::fail(error, ADVICE),
        Err(_) => Finding::fail("the look has panicked", ""),
    }]
}

/// A token that says nothing of itself may be any word: whether it is one, the controller alone knows.
fn opaque(look: Option<&ControllerLook>) -> Finding {
    let answered = look.and_then(|look| look.answered.as_ref()?.as_ref().ok());
    if answered.is_some_and(|answered| answered.verdict == ProbeVerdict::Known) {
        return Finding::pass("the token does not say until when it is valid, and the controller knows it");
    }
    let text = "what stands for the token is no JWT, as `rodent-controller token` makes them, and no controller has said that \
                it knows it";
    Finding::fail(text, ADVICE)
}

/// A time out of a token. Any number may stand there; such as milliseconds, which have no date.
pub(super) fn moment(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    time_utc(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn judge(times: TokenTimes, now: SystemTime) -> Finding {
    if let Some(from) = times.not_before.filter(|from| *from > now) {
        return Finding::fail(
            format!("the token is not valid before {}", moment(from)),
            "is this machine's clock right? timedatectl",
        );
    }
    let Some(expires) = times.expires else {
        return Finding::pass("the token does not say that it expires");
    };
    match expires.duration_since(now) {
        Ok(left) if left < EXPIRY_MIN => {
            Finding::warn(format!("the token expires in {}, at {}", human_duration(left), moment(expires)), ADVICE)
        }
        Ok(left) => {
            Finding::pass(format!("the token is valid for {}, until {}", human_duration(left), moment(expires)))
        }
        Err(since) => {
            let ago = human_duration(since.duration());
            Finding::fail(format!("the token expired {ago} ago, at {}", moment(expires)), ADVICE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::probe::Answered, cli::doctor::finding::Mark};

    fn mark(not_before: Option<u64>, expires: Option<u64>) -> Mark {
        let at = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let (not_before, expires) = (not_before.map(at), expires.map(at));
        let times = TokenTimes { not_before, expires, ..TokenTimes::default() };
        judge(times, at(100)).mark
    }

    #[test]
    fn a_token_passes_warns_when_it_ends_soon_and_fails_when_it_is_not_valid() {
        assert_eq!(mark(None, None), Mark::Pass);
        assert_eq!(
            (mark(None, Some(200)), mark(None, Some(110)), mark(None, Some(99))),
            (Mark::Pass, Mark::Warn, Mark::Fail)
        );
        assert_eq!(mark(Some(101), Some(200)), Mark::Fail);
    }

    #[test]
    fn a_time_beyond_the_year_9999_is_told_by_its_number() {
        let far = UNIX_EPOCH.checked_add(Duration::from_secs(1_800_000_000_000));
        let told = |times| judge(times, UNIX_EPOCH).text;
        let expires = told(TokenTimes { expires: far, ..TokenTimes::default() });
        assert!(expires.ends_with("until 1800000000000000ms"), "{expires}");
        let begins = told(TokenTimes { not_before: far, ..TokenTimes::default() });
        assert!(begins.ends_with("before 1800000000000000ms"), "{begins}");
    }

    #[test]
    fn a_word_that_is_no_token_fails_unless_the_controller_knows_it() {
        assert_eq!(opaque(None).mark, Mark::Fail);
        let answered = |verdict| {
            let answered = Answered { verdict, clock_offset_seconds: None, took: Duration::ZERO };
            opaque(Some(&ControllerLook { answered: Some(Ok(answered)), ..Default::default() })).mark
        };
        assert_eq!(
            (answered(ProbeVerdict::Known), answered(ProbeVerdict::Refused(String::new()))),
            (Mark::Pass, Mark::Fail)
        );
    }

    #[tokio::test]
    async fn no_finding_shows_the_token() {
        let text = "controller: {address: 'a:1', jwt: hunter2.hunter2.hunter2}";
        let findings = look(Arc::new(Patient::of_tests(text))).await;
        assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
        let findings = look(Arc::new(Patient::of_tests("controller: {address: 'a:1', token_file: /nowhere/t}"))).await;
        assert_eq!(findings[0].mark, Mark::Fail);
    }
}
