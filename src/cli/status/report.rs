//! What a status means to a person: the facts in words, and first of all whether something needs attention.
//!
//! Pure: the time is handed in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    client::StatusResponse,
    schema::local::{LaneStatus, LogStatus, UplinkStatus},
    terminal::{Tone, grouped, human_bytes, human_duration, moment::ago},
};

/// From this share of its bound on, the log of a machine that has a controller is worth a word, percent.
const FULL_PERCENT: u64 = 90;

/// With less time left than this, what the node proves itself with is worth a word.
const EXPIRY_MIN: Duration = Duration::from_secs(14 * 86_400);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Fact {
    pub(super) label: &'static str,
    pub(in crate::cli) text: String,
    pub(in crate::cli) tone: Tone,
}

#[derive(Debug)]
pub(in crate::cli) struct Report {
    /// Which version, and [`Report::verdict`].
    pub(in crate::cli) headline: Fact,
    /// Whether something needs attention, in a few words.
    pub(in crate::cli) verdict: String,
    /// What does, the worst first.
    pub(in crate::cli) problems: Vec<Fact>,
    /// How it stands with the controller.
    pub(in crate::cli) controller: String,
    pub(super) facts: Vec<Fact>,
}

impl Report {
    pub(in crate::cli) fn of(status: &StatusResponse, now: SystemTime) -> Report {
        let (log, uplink) = (status.log.clone().unwrap_or_default(), status.uplink.clone().unwrap_or_default());
        let problems = problems(status, &log, &uplink, now);
        let (verdict, tone) = verdict(&problems);
        let headline = Fact { label: "rodent", text: format!("{} {verdict}", status.version).trim().to_owned(), tone };
        let controller = reached(&uplink, now);
        let mut facts = problems.clone();
        if !facts.is_empty() {
            facts.push(Fact { label: "", text: "→ `rodent doctor` says what to do".to_owned(), tone: Tone::Mark });
        }
        facts.extend([
            fact("node", or_unknown(&status.node_id)),
            fact("agent", agent(status, now)),
            fact("log", stored(&log, now)),
            fact("disk", on_disk(&log)),
            fact("at risk", at_risk(&log)),
            fact("lost", lost(&log)),
            fact("controller", controller.clone()),
        ]);
        if uplink.state != "off" {
            facts.push(fact("", delivered(&uplink, &log)));
            facts.extend(flow(&uplink).map(|words| fact("", words)));
        }
        facts.push(fact("taken", taken(status)));
        Report { headline, verdict, problems, controller, facts }
    }
}

fn fact(label: &'static str, text: String) -> Fact {
    Fact { label, text, tone: Tone::Plain }
}

fn verdict(problems: &[Fact]) -> (String, Tone) {
    match problems.len() {
        0 => ("healthy".to_owned(), Tone::Good),
        1 => ("1 thing needs attention".to_owned(), Tone::Warn),
        count => (format!("{count} things need attention"), Tone::Warn),
    }
}

fn problems(status: &StatusResponse, log: &LogStatus, uplink: &UplinkStatus, now: SystemTime) -> Vec<Fact> {
    let mut problems = Vec::new();
    let mut add = |tone, text| problems.push(Fact { label: "!", text, tone });
    if !log.degraded.is_empty() {
        add(Tone::Bad, format!("events are not durable: {}", log.degraded));
    }
    let error = if uplink.last_error.is_empty() { "no reason given" } else { uplink.last_error.as_str() };
    match uplink.state.as_str() {
        "held" => add(Tone::Bad, format!("the controller refuses, everything is kept: {error}")),
        "waiting" => {
            let long = ago(uplink.state_since, now).map(|d| format!(" for {}", human_duration(d))).unwrap_or_default();
            add(Tone::Warn, format!("the controller is out of reach{long}: {error}"));
        }
        _ => {}
    }
    if status.dead_letters > 0 {
        let (events, are) = (counted(status.dead_letters), if status.dead_letters == 1 { "is" } else { "are" });
        add(Tone::Warn, format!("{events} {are} refused by the controller; see `rodent dead-letters list`"));
    }
    if log.quarantined_bytes > 0 {
        let bytes = human_bytes(log.quarantined_bytes);
        add(Tone::Warn, format!("{bytes} of the log were damaged and are kept in its directory `quarantine`"));
    }
    let routine = routine_percent(log);
    if uplink.state != "off" && percent(log).max(routine) >= FULL_PERCENT {
        let what = if routine >= FULL_PERCENT { "the space for routine events" } else { "the log" };
        let percent = percent(log).max(routine);
        add(Tone::Warn, format!("{what} is {percent}% full: the oldest events will be removed"));
    }
    let removed = sum(log, |lane| lane.lost_events);
    if removed > 0 {
        add(Tone::Warn, format!("{} events were removed before everyone had them", grouped(removed)));
    }
    for (what, expires) in [("token", uplink.token_expires_at), ("certificate", uplink.certificate_expires_at)] {
        if let Some(words) = expiry(what, expires, now) {
            add(Tone::Warn, words);
        }
    }
    let configuration = status.configuration.clone().unwrap_or_default();
    if let Some(since) = ago(configuration.refused_at, now) {
        let (since, why) = (human_duration(since), &configuration.refusal);
        add(Tone::Warn, format!("the changed configuration was refused {since} ago and is not in force: {why}"));
    }
    if !configuration.needs_restart.is_empty() {
        let keys = configuration.needs_restart.join(", ");
        add(Tone::Warn, format!("the configuration has changed, and only a restart puts in force: {keys}"));
    }
    for collector in status.collectors.iter().filter(|collector| collector.state == "failed") {
        add(Tone::Warn, format!("the collector {} has failed: {}", collector.name, collector.detail));
    }
    problems
}

/// Until when the node can prove itself; nothing while that is far.
fn expiry(what: &str, unix_ms: i64, now: SystemTime) -> Option<String> {
    let expires = u64::try_from(unix_ms).ok().filter(|ms| *ms > 0)?;
    let expires = UNIX_EPOCH.checked_add(Duration::from_millis(expires))?;
    match expires.duration_since(now) {
        Ok(left) if left < EXPIRY_MIN => Some(format!("the {what} of this node expires in {}", human_duration(left))),
        Ok(_) => None,
        Err(since) => Some(format!("the {what} of this node expired {} ago", human_duration(since.duration()))),
    }
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "not known yet".to_owned() } else { text.to_owned() }
}

fn agent(status: &StatusResponse, now: SystemTime) -> String {
    let mut words = ago(status.started_at, now).map(|up| format!("up {}", human_duration(up))).unwrap_or_default();
    for (what, value) in [("profile", &status.profile), ("clock", &status.clock_state)] {
        if !value.is_empty() {
            let comma = if words.is_empty() { "" } else { ", " };
            words.push_str(&format!("{comma}{what} {value}"));
        }
    }
    words
}

fn stored(log: &LogStatus, now: SystemTime) -> String {
    let events = sum(log, |lane| lane.stored_events);
    let mut words = format!("{} stored", counted(events));
    let oldest = log.lanes.iter().map(|lane| lane.oldest_time).filter(|time| *time > 0).min();
    if let Some(since) = oldest.and_then(|time| ago(time, now)) {
        words.push_str(&format!(", the oldest {} ago", human_duration(since)));
    }
    words
}

fn on_disk(log: &LogStatus) -> String {
    let (disk, max) = (human_bytes(log.disk_bytes), human_bytes(log.disk_bytes_max));
    let mut words = format!("{disk} of {max} ({}%)", percent(log));
    if log.ballast_bytes > 0 {
        words.push_str(&format!(", {} of it in reserve for a full disk", human_bytes(log.ballast_bytes)));
    }
    words
}

fn at_risk(log: &LogStatus) -> String {
    let (events, bytes) = (sum(log, |lane| lane.waiting_events), sum(log, |lane| lane.waiting_bytes));
    match events {
        0 => "nothing: all that was taken is on the disk".to_owned(),
        _ => {
            let longest = log.lanes.iter().map(|lane| lane.waiting_milliseconds).max().unwrap_or_default();
            let longest = human_duration(std::time::Duration::from_millis(longest));
            format!("{} ({}, for {longest}) if the power failed now", counted(events), human_bytes(bytes))
        }
    }
}

fn lost(log: &LogStatus) -> String {
    match sum(log, |lane| lane.lost_events) {
        0 => "nothing since the start".to_owned(),
        events => format!("{} since the start", counted(events)),
    }
}

fn reached(uplink: &UplinkStatus, now: SystemTime) -> String {
    if uplink.state.is_empty() || uplink.state == "off" {
        return "none configured: events are kept on this machine".to_owned();
    }
    let mut words = format!("{} {}", uplink.state, uplink.controller).trim().to_owned();
    if let Some(since) = ago(uplink.connected_since, now).filter(|_| uplink.state == "connected") {
        words.push_str(&format!(" for {}", human_duration(since)));
    }
    match ago(uplink.last_success, now) {
        Some(since) => {
            words.push_str(&format!(", last reached {} ago", human_duration(since)));
        }
        // It answers.
        None if uplink.state == "held" => words.push_str(", nothing taken yet"),
        None => words.push_str(", not reached yet"),
    }
    if uplink.state == "waiting" && uplink.next_attempt_milliseconds > 0 {
        let next = std::time::Duration::from_millis(uplink.next_attempt_milliseconds);
        words.push_str(&format!(", next try in {}", human_duration(next)));
    }
    words
}

fn delivered(uplink: &UplinkStatus, log: &LogStatus) -> String {
    let lag: u64 = log.cursors.iter().filter(|cursor| cursor.name == "uplink").map(|cursor| cursor.lag_events).sum();
    format!(
        "{} delivered in {} ({}), {} to go",
        counted(uplink.delivered_events),
        of_batches(uplink.delivered_batches),
        human_bytes(uplink.delivered_bytes),
        grouped(lag)
    )
}

/// How batches travel at the moment; nothing while they cannot.
fn flow(uplink: &UplinkStatus) -> Option<String> {
    if uplink.state != "connected" || uplink.window == 0 {
        return None;
    }
    let (rate, window) = (uplink.events_per_second.round() as u64, uplink.window);
    let on_the_way = match uplink.in_flight_batches {
        1 => "1 batch on its way".to_owned(),
        batches => format!("{batches} batches on their way"),
    };
    let room = if window == 1 { "one at a time".to_owned() } else { format!("up to {window} at a time") };
    let plain = uplink.compression == "none";
    let compression = if plain { "not compressed" } else { uplink.compression.as_str() };
    let events = if rate == 1 { "event" } else { "events" };
    Some(format!("{} {events}/s, {on_the_way} ({room}), {compression}", grouped(rate)))
}

fn taken(status: &StatusResponse) -> String {
    let pipeline = status.pipeline.clone().unwrap_or_default();
    let (filtered, refused) = (grouped(pipeline.filtered_events), grouped(pipeline.refused_events));
    format!("{} since the start, {filtered} filtered, {refused} refused", counted(pipeline.accepted_events))
}

fn of_batches(batches: u64) -> String {
    if batches == 1 { "1 batch".to_owned() } else { format!("{} batches", grouped(batches)) }
}

fn counted(events: u64) -> String {
    if events == 1 { "1 event".to_owned() } else { format!("{} events", grouped(events)) }
}

fn sum(log: &LogStatus, part: fn(&LaneStatus) -> u64) -> u64 {
    log.lanes.iter().map(part).fold(0, u64::saturating_add)
}

fn percent(log: &LogStatus) -> u64 {
    log.disk_bytes.saturating_mul(100).checked_div(log.disk_bytes_max).unwrap_or_default()
}

/// How full what is left to routine events is.
fn routine_percent(log: &LogStatus) -> u64 {
    let disk_bytes = log.lanes.iter().find(|lane| lane.lane == "routine").map_or(0, |lane| lane.disk_bytes);
    let share = 100u64.saturating_sub(log.urgent_share.into());
    let max = log.disk_bytes_max / 100 * share;
    disk_bytes.saturating_mul(100).checked_div(max).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::local::{CollectorStatus, ConfigurationStatus, CursorStatus};

    const NOW_MS: i64 = 1_762_767_000_000;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(NOW_MS as u64)
    }

    fn status() -> StatusResponse {
        StatusResponse {
            version: "0.1.0".to_owned(),
            started_at: NOW_MS - 12_000_000,
            profile: "default".to_owned(),
            log: Some(LogStatus {
                lanes: vec![LaneStatus {
                    lane: "routine".to_owned(),
                    stored_events: 12_345,
                    oldest_time: NOW_MS - 60_000,
                    ..Default::default()
                }],
                cursors: vec![CursorStatus { name: "uplink".to_owned(), lag_events: 3, ..Default::default() }],
                disk_bytes: 1 << 20,
                disk_bytes_max: 1 << 30,
                ..Default::default()
            }),
            uplink: Some(UplinkStatus {
                state: "connected".to_owned(),
                controller: "ctl:8443".to_owned(),
                last_success: NOW_MS - 2_000,
                delivered_events: 12_342,
                delivered_batches: 124,
                ..Default::default()
            }),
            collectors: vec![CollectorStatus {
                name: "system".to_owned(),
                state: "running".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn text(report: &Report, label: &str) -> String {
        report.facts.iter().find(|fact| fact.label == label).map(|fact| fact.text.clone()).unwrap_or_default()
    }

    #[test]
    fn a_healthy_agent_has_no_problem_and_every_fact() {
        let report = Report::of(&status(), now());
        assert_eq!(report.headline.text, "0.1.0 healthy");
        assert_eq!(text(&report, "agent"), "up 3h 20m, profile default");
        assert_eq!(text(&report, "log"), "12,345 events stored, the oldest 1m ago");
        assert_eq!(text(&report, "disk"), "1.0 MiB of 1.0 GiB (0%)");
        assert_eq!(text(&report, "at risk"), "nothing: all that was taken is on the disk");
        assert_eq!(text(&report, "controller"), "connected ctl:8443, last reached 2s ago");
        assert_eq!(text(&report, ""), "12,342 events delivered in 124 batches (0 B), 3 to go");
    }

    #[test]
    fn how_batches_travel_is_told_while_they_do() {
        let mut status = status();
        let uplink = status.uplink.as_mut().expect("set above");
        (uplink.connected_since, uplink.window, uplink.in_flight_batches) = (NOW_MS - 3_600_000, 8, 2);
        (uplink.compression, uplink.events_per_second) = ("zstd".to_owned(), 1234.4);
        let report = Report::of(&status, now());
        assert_eq!(text(&report, "controller"), "connected ctl:8443 for 1h, last reached 2s ago");
        let told = |words: &str| report.facts.iter().any(|fact| fact.text == words);
        assert!(told("1,234 events/s, 2 batches on their way (up to 8 at a time), zstd"), "{report:?}");
    }

    #[test]
    fn refused_events_need_attention() {
        let report = Report::of(&StatusResponse { dead_letters: 2, ..status() }, now());
        assert_eq!(report.facts[0].text, "2 events are refused by the controller; see `rodent dead-letters list`");
    }

    #[test]
    fn what_needs_attention_stands_first() {
        let mut status = status();
        let uplink = status.uplink.as_mut().expect("set above");
        (uplink.state, uplink.last_error) = ("held".to_owned(), "the token has expired".to_owned());
        status.collectors[0].state = "failed".to_owned();
        status.log.as_mut().expect("set above").lanes[0].lost_events = 7;
        let report = Report::of(&status, now());
        assert_eq!(report.headline.text, "0.1.0 3 things need attention");
        assert_eq!(report.facts[0].text, "the controller refuses, everything is kept: the token has expired");
        assert_eq!(text(&report, "lost"), "7 events since the start");
    }

    #[test]
    fn what_ends_soon_and_a_configuration_that_is_not_in_force_need_attention() {
        let mut status = status();
        let uplink = status.uplink.as_mut().expect("set above");
        (uplink.token_expires_at, uplink.certificate_expires_at) = (NOW_MS + 86_400_000, NOW_MS + 86_400_000 * 30);
        status.configuration = Some(ConfigurationStatus {
            needs_restart: vec!["socket".to_owned()],
            refused_at: NOW_MS - 60_000,
            refusal: "rodent.yml:1:1: no".to_owned(),
            ..Default::default()
        });
        let report = Report::of(&status, now());
        let texts: Vec<_> = report.problems.iter().map(|problem| problem.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "the token of this node expires in 1d",
                "the changed configuration was refused 1m ago and is not in force: rodent.yml:1:1: no",
                "the configuration has changed, and only a restart puts in force: socket",
            ]
        );
        status.uplink.as_mut().expect("set above").token_expires_at = NOW_MS - 7_200_000;
        assert_eq!(Report::of(&status, now()).problems[0].text, "the token of this node expired 2h ago");
    }

    #[test]
    fn without_a_controller_a_full_log_is_as_it_should_be() {
        let mut status = status();
        status.uplink = Some(UplinkStatus { state: "off".to_owned(), ..Default::default() });
        status.log.as_mut().expect("set above").disk_bytes = 1 << 30;
        let report = Report::of(&status, now());
        assert_eq!(report.headline.text, "0.1.0 healthy");
        assert_eq!(text(&report, "controller"), "none configured: events are kept on this machine");
    }

    #[test]
    fn the_reserve_and_what_is_in_quarantine_are_named() {
        let mut status = status();
        let log = status.log.as_mut().expect("set above");
        (log.disk_bytes, log.ballast_bytes, log.quarantined_bytes) = (80 << 20, 64 << 20, 3 << 20);
        let report = Report::of(&status, now());
        assert_eq!(text(&report, "disk"), "80.0 MiB of 1.0 GiB (7%), 64.0 MiB of it in reserve for a full disk");
        assert!(report.facts[0].text.starts_with("3.0 MiB of the log were damaged"), "{report:?}");
    }

    #[test]
    fn what_is_left_to_routine_events_may_be_full_before_the_log_is() {
        let mut status = status();
        let log = status.log.as_mut().expect("set above");
        (log.urgent_share, log.disk_bytes, log.lanes[0].disk_bytes) = (25, 700 << 20, 700 << 20);
        let report = Report::of(&status, now());
        assert_eq!(report.facts[0].text, "the space for routine events is 91% full: the oldest events will be removed");
    }

    #[test]
    fn an_agent_that_says_nothing_is_still_shown() {
        let report = Report::of(&StatusResponse::default(), now());
        assert_eq!(report.headline.text, "healthy");
        assert_eq!(text(&report, "log"), "0 events stored");
    }

    #[test]
    fn what_would_be_lost_now_is_named() {
        let mut status = status();
        let lane = &mut status.log.as_mut().expect("set above").lanes[0];
        (lane.waiting_events, lane.waiting_bytes, lane.waiting_milliseconds) = (12, 3_174, 350);
        let report = Report::of(&status, now());
        assert_eq!(text(&report, "at risk"), "12 events (3.1 KiB, for 350ms) if the power failed now");
    }
}
