//! The way to the controller, step by step, and how the agent itself gets on with it.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use super::{
    finding::{self, Finding},
    patient::Patient,
};
use crate::{
    agent::probe::{self, Answered, ControllerLook, EXPIRY_MIN, ProbeVerdict, Secured},
    client::StatusResponse,
    terminal::{human_duration, moment::ago},
};

/// How the system says that a file is not for this user.
const FORBIDDEN: &str = "Permission denied";

/// What to do about a connection that is not encrypted.
const IN_CLEAR_ADVICE: &str = "remove `controller.tls: off`, unless the network is trusted";

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    let now = probe::now();
    let mut findings = match (patient.controller_look().await, patient.controller()) {
        (Some(look), Some(settings)) => {
            let mut findings = steps(&settings.address, look, now);
            // Where it answers, what goes in clear is told by whom it goes to.
            let in_clear = settings.in_clear().filter(|_| look.answered.is_none());
            findings.extend(in_clear.map(|text| Finding::warn(text, IN_CLEAR_ADVICE)));
            findings
        }
        _ if patient.config.is_ok() => vec![Finding::skip("none is configured: events are kept on this machine")],
        _ => vec![Finding::skip("the way to it cannot be tried without the configuration")],
    };
    findings.extend(patient.status.iter().flat_map(|status| agents_view(status, now)));
    findings
}

fn steps(address: &str, look: &ControllerLook, now: SystemTime) -> Vec<Finding> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let mut findings = Vec::new();
    // An address that is written as one has no name to be found.
    let named = look.resolved.as_ref().filter(|_| address.parse::<SocketAddr>().is_err());
    findings.extend(named.map(|step| match step {
        Ok(found) => {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            Finding::pass(format!("{host} is {}", found.join(", ")))
        }
        Err(error) => Finding::fail(
            format!("{host} cannot be resolved: {error}"),
            format!("getent hosts {host}; correct `controller.address` or /etc/resolv.conf"),
        ),
    }));
    let is_local = matches!(&look.connected, Some(Ok((peer, _))) if peer.ip().is_loopback());
    findings.extend(look.connected.as_ref().map(|step| match step {
        Ok((peer, took)) => Finding::pass(format!("{peer} takes connections, after {}", human_duration(*took))),
        Err(error) => Finding::fail(error.clone(), "is it up, and does a firewall let this machine through?"),
    }));
    match &look.secured {
        Some(Ok(secured)) => findings.extend(tls(secured, now)),
        Some(Err(error)) if error.contains(FORBIDDEN) => {
            findings
                .push(Finding::skip(format!("TLS cannot be tried by this user: {error}")).advise("sudo rodent doctor"));
        }
        Some(Err(error)) => findings.push(Finding::fail(error.clone(), "rodent config show | grep controller.tls")),
        None if look.answered.is_some() && is_local => {
            findings.push(Finding::pass("the connection is not encrypted, and does not leave this machine"));
        }
        None if look.answered.is_some() => findings.push(Finding::warn(
            "the connection is not encrypted: the token and all events go in clear",
            IN_CLEAR_ADVICE,
        )),
        None => {}
    }
    findings.extend(look.answered.as_ref().map(|step| match step {
        Ok(answered) => answer(answered),
        Err(error) => {
            Finding::fail(format!("it does not answer calls: {error}"), "journalctl -u rodent-controller, there")
        }
    }));
    findings
}

fn tls(secured: &Secured, now: SystemTime) -> Vec<Finding> {
    let moment = humantime::format_rfc3339_seconds;
    let (version, length) = (&secured.version, secured.chain_length);
    let mut findings = Vec::new();
    findings.push(match secured.validity {
        Some((_, until)) => {
            let left = until.duration_since(now).unwrap_or_default();
            let text = format!(
                "{version}, a certificate for {} (until {}), {length} in its chain",
                human_duration(left),
                moment(until)
            );
            match left < EXPIRY_MIN {
                true => Finding::warn(text, "the controller's administrator should renew its certificate"),
                false => Finding::pass(text),
            }
        }
        None => Finding::pass(format!("{version}, {length} certificates in its chain")),
    });
    findings.extend(secured.own_expires.map(|until| match until.duration_since(now) {
        Ok(left) if left < EXPIRY_MIN => Finding::warn(
            format!("this node's certificate expires in {}, at {}", human_duration(left), moment(until)),
            "renew it; one that the controller issues is renewed by itself while the agent runs",
        ),
        Ok(left) => Finding::pass(format!("this node's certificate is valid for {}", human_duration(left))),
        Err(_) => Finding::fail(format!("this node's certificate expired at {}", moment(until)), "renew it"),
    }));
    findings
}

fn answer(answered: &Answered) -> Finding {
    let took = human_duration(answered.took);
    match &answered.verdict {
        ProbeVerdict::Known => Finding::pass(format!("it answers and knows the token, after {took}")),
        ProbeVerdict::Unclear(said) => Finding::warn(
            format!("it answers, but not whether it knows the token: {said}"),
            "is `controller.address` that of a controller? rodent doctor --send tells for certain",
        ),
        ProbeVerdict::Busy(said) => Finding::warn(format!("it is busy: {said}"), "the agent tries again by itself"),
        ProbeVerdict::Refused(said) => Finding::fail(
            format!("it refuses this node: {said}"),
            "have its administrator issue a token (`rodent-controller token`) or a certificate",
        ),
        ProbeVerdict::NoToken(why) if why.contains(FORBIDDEN) => {
            Finding::skip(format!("it cannot be asked by this user: {why}")).advise("sudo rodent doctor")
        }
        ProbeVerdict::NoToken(why) => {
            Finding::fail(format!("it cannot be asked: {why}"), "rodent config show | grep token")
        }
    }
}

/// What the agent that runs says of it; nothing where it has none.
fn agents_view(status: &StatusResponse, now: SystemTime) -> Vec<Finding> {
    let uplink = status.uplink.clone().unwrap_or_default();
    let reached = ago(uplink.last_success, now);
    let reached = reached.map_or_else(
        || "nothing delivered yet".to_owned(),
        |since| format!("last delivery {} ago", human_duration(since)),
    );
    let mut findings = finding::of_agent(status, "controller");
    match uplink.state.as_str() {
        "connected" => findings.push(Finding::pass(format!("the agent is connected, {reached}"))),
        "connecting" => findings.push(Finding::warn("the agent has not reached it yet", "wait, then look again")),
        _ => findings.iter_mut().for_each(|finding| finding.text.push_str(&format!(" ({reached})"))),
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{
        cli::doctor::finding::Mark,
        schema::local::{ConditionStatus, UplinkStatus},
    };

    fn marks(look: &ControllerLook) -> Vec<Mark> {
        steps("ctl:443", look, now()).iter().map(|finding| finding.mark).collect()
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(100 * 86_400)
    }

    fn reached() -> ControllerLook {
        let peer = "192.0.2.1:443".parse().expect("an address");
        ControllerLook {
            resolved: Some(Ok(vec!["192.0.2.1".parse().expect("an address")])),
            connected: Some(Ok((peer, Duration::from_millis(3)))),
            ..Default::default()
        }
    }

    fn answered(verdict: ProbeVerdict) -> ControllerLook {
        let answered = Answered { verdict, clock_offset_seconds: None, took: Duration::from_millis(4) };
        ControllerLook { answered: Some(Ok(answered)), ..reached() }
    }

    #[test]
    fn each_step_has_its_line_and_the_first_that_fails_says_what_to_do() {
        let look = ControllerLook { resolved: Some(Err("Name or service not known".to_owned())), ..Default::default() };
        let findings = steps("ctl:443", &look, now());
        assert_eq!(findings[0].text, "ctl cannot be resolved: Name or service not known");
        assert!(findings[0].advice.starts_with("getent hosts ctl"), "{findings:?}");
        let refused = "connect to ctl:443: connection refused".to_owned();
        let look = ControllerLook { connected: Some(Err(refused)), ..reached() };
        assert_eq!(marks(&look), [Mark::Pass, Mark::Fail]);
    }

    #[test]
    fn an_address_needs_no_name_and_what_stays_on_this_machine_no_encryption() {
        let peer = "127.0.0.1:443".parse().expect("an address");
        let look = ControllerLook { connected: Some(Ok((peer, Duration::ZERO))), ..answered(ProbeVerdict::Known) };
        let marks: Vec<_> = steps("127.0.0.1:443", &look, now()).iter().map(|finding| finding.mark).collect();
        assert_eq!(marks, [Mark::Pass, Mark::Pass, Mark::Pass]);
    }

    #[test]
    fn a_connection_in_clear_is_a_warning_and_a_refused_token_a_failure() {
        assert_eq!(marks(&answered(ProbeVerdict::Known)), [Mark::Pass, Mark::Pass, Mark::Warn, Mark::Pass]);
        assert_eq!(marks(&answered(ProbeVerdict::Refused("no".to_owned()))).last(), Some(&Mark::Fail));
        assert_eq!(
            marks(&answered(ProbeVerdict::NoToken("read: Permission denied".to_owned()))).last(),
            Some(&Mark::Skip)
        );
    }

    #[test]
    fn certificates_that_end_soon_are_a_warning_each() {
        let day = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let of = |until, own| {
            let secured = Secured {
                version: "TLS 1.3".to_owned(),
                chain_length: 2,
                validity: Some((day(0), day(until))),
                own_expires: Some(day(own)),
            };
            tls(&secured, now()).iter().map(|finding| finding.mark).collect::<Vec<_>>()
        };
        assert_eq!(of(200, 200), [Mark::Pass, Mark::Pass]);
        assert_eq!(of(110, 110), [Mark::Warn, Mark::Warn]);
        assert_eq!(of(200, 90), [Mark::Pass, Mark::Fail]);
    }

    #[test]
    fn the_agents_own_view_stands_beside_what_was_tried() {
        let found = |state: &str, id: &str, level: &str| {
            let uplink = UplinkStatus { state: state.to_owned(), ..Default::default() };
            let condition = ConditionStatus {
                part: "uplink".to_owned(),
                id: id.to_owned(),
                level: level.to_owned(),
                text: "it is so".to_owned(),
                ..Default::default()
            };
            let conditions = if id.is_empty() { Vec::new() } else { vec![condition] };
            let status = StatusResponse { uplink: Some(uplink), conditions, ..Default::default() };
            agents_view(&status, now()).into_iter().map(|it| (it.mark, it.text)).collect::<Vec<_>>()
        };
        let so = "it is so (nothing delivered yet)".to_owned();
        assert_eq!(found("waiting", "controller_away", "warning"), [(Mark::Warn, so.clone())]);
        assert_eq!(found("held", "controller_refuses", "error"), [(Mark::Fail, so)]);
        let connected = "the agent is connected, nothing delivered yet".to_owned();
        assert_eq!(found("connected", "", ""), [(Mark::Pass, connected)]);
        assert_eq!(found("off", "", ""), []);
    }
}
