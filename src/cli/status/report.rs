//! What a status means to a person: the facts in words, and first of all what needs attention, as the agent itself says.
//!
//! Pure: the time is handed in.

use std::time::SystemTime;

use crate::{
    cli::problems::is_said,
    client::StatusResponse,
    order::Sorted as _,
    schema::local::{ConditionStatus, LaneStatus, LogStatus, StateLevel, SubjectState, UplinkStatus},
    terminal::{Tone, grouped, human_bytes, human_duration, moment::ago},
    words::counted,
};

/// Levels of conditions.
const NOTICE: &str = "notice";
const ERROR: &str = "error";

/// Said where nothing is wrong with the agent nor, as far as events tell, with the machine; and of an agent that does not know
/// how the machine is.
const HEALTHY: &str = "the agent and what it watches are healthy";
const AGENT_HEALTHY: &str = "the agent is healthy";
const MACHINE: &str = "it says nothing of the machine: `rodent events 'level>=warn'` does";

/// Problems of the machine that have a line each.
const SHOWN_MAX: usize = 5;

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
        let conditions = status.conditions.iter().filter(|condition| !is_said(condition, &status.worst));
        let (notices, of_agent): (Vec<_>, Vec<_>) = conditions.partition(|condition| condition.level == NOTICE);
        let mut problems: Vec<Fact> = of_agent.iter().copied().map(problem).collect();
        problems.extend(of_machine(status, now));
        problems.order_by_key(|problem| problem.tone != Tone::Bad);
        let (mut verdict, tone) = verdict(status, of_agent.len() as u64, &problems);
        if status.problems.is_none() && verdict == HEALTHY {
            verdict = AGENT_HEALTHY.to_owned();
        }
        let headline = Fact { label: "rodent", text: format!("{} {verdict}", status.version).trim().to_owned(), tone };
        let controller = reached(&uplink, now);
        let mut facts = problems.clone();
        if verdict == AGENT_HEALTHY {
            facts.push(fact("", MACHINE.to_owned()));
        }
        let is_of_machine = status.worst.iter().any(|problem| problem.acknowledgement.is_none());
        let what_to_do = match (is_of_machine, !of_agent.is_empty()) {
            (true, true) => Some("→ `rodent problems` and `rodent doctor` say what to do"),
            (true, false) => Some("→ `rodent problems` says what to do"),
            (false, true) => Some("→ `rodent doctor` says what to do"),
            (false, false) => None,
        };
        facts.extend(what_to_do.map(|text| Fact { label: "", text: text.to_owned(), tone: Tone::Mark }));
        facts.extend(acknowledged(status).map(|words| fact("known", words)));
        facts.extend(notices.into_iter().map(|notice| fact("note", notice.text.clone())));
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

fn problem(condition: &ConditionStatus) -> Fact {
    let tone = if condition.level == ERROR { Tone::Bad } else { Tone::Warn };
    Fact { label: "!", text: condition.text.clone(), tone }
}

/// What is wrong with the machine and not known to anybody, a line each as far as there is room.
fn of_machine(status: &StatusResponse, time: SystemTime) -> Vec<Fact> {
    let unknown = || status.worst.iter().filter(|problem| problem.acknowledgement.is_none());
    let line = |problem: &SubjectState| {
        let now = problem.changes.first()?;
        let tone = if now.level() >= StateLevel::Error { Tone::Bad } else { Tone::Warn };
        let long = ago(now.wrong_since, time).map(|long| format!(" (for {})", human_duration(long)));
        Some(Fact { label: "!", text: format!("{}{}", now.text, long.unwrap_or_default()), tone })
    };
    let mut lines: Vec<Fact> = unknown().filter_map(line).take(SHOWN_MAX).collect();
    let more = unknown_of(status).saturating_sub(lines.len() as u64);
    if more > 0 {
        let tone = lines.last().map_or(Tone::Warn, |last| last.tone);
        lines.push(Fact { label: "!", text: format!("and {} more of this machine", grouped(more)), tone });
    }
    lines
}

/// How much is wrong with the machine and not known to anybody.
fn unknown_of(status: &StatusResponse) -> u64 {
    let counts = status.problems.unwrap_or_default();
    (counts.critical + counts.error + counts.warn).saturating_sub(counts.acknowledged)
}

fn acknowledged(status: &StatusResponse) -> Option<String> {
    let count = status.problems.unwrap_or_default().acknowledged;
    let problems = if count == 1 { "problem" } else { "problems" };
    (count > 0).then(|| format!("{} {problems}, acknowledged: `rodent problems`", grouped(count)))
}

/// Of the agent and the machine, in a few words.
fn verdict(status: &StatusResponse, agent: u64, problems: &[Fact]) -> (String, Tone) {
    let count = agent + unknown_of(status);
    let tone = if problems.iter().any(|problem| problem.tone == Tone::Bad) { Tone::Bad } else { Tone::Warn };
    match count {
        0 if status.verdict.is_empty() => {
            ("does not say whether it is well: it is of an older version".to_owned(), tone)
        }
        0 => (HEALTHY.to_owned(), Tone::Good),
        1 => ("1 thing needs attention".to_owned(), tone),
        count => (format!("{} things need attention", grouped(count)), tone),
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
    let mut words = format!("{} stored", counted(events, "event"));
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
            format!("{} ({}, for {longest}) if the power failed now", counted(events, "event"), human_bytes(bytes))
        }
    }
}

fn lost(log: &LogStatus) -> String {
    match sum(log, |lane| lane.lost_events) {
        0 => "nothing since the start".to_owned(),
        events => format!("{} since the start", counted(events, "event")),
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
        counted(uplink.delivered_events, "event"),
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
    format!("{} since the start, {filtered} filtered, {refused} refused", counted(pipeline.accepted_events, "event"))
}

fn of_batches(batches: u64) -> String {
    if batches == 1 { "1 batch".to_owned() } else { format!("{} batches", grouped(batches)) }
}

fn sum(log: &LogStatus, part: fn(&LaneStatus) -> u64) -> u64 {
    log.lanes.iter().map(part).fold(0, u64::saturating_add)
}

fn percent(log: &LogStatus) -> u64 {
    log.disk_bytes.saturating_mul(100).checked_div(log.disk_bytes_max).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::schema::local::{CollectorStatus, CursorStatus, ProblemCounts, StateChange};

    const NOW_MS: i64 = 1_762_767_000_000;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(NOW_MS as u64)
    }

    fn status() -> StatusResponse {
        StatusResponse {
            verdict: "ok".to_owned(),
            version: "0.1.0".to_owned(),
            started_at: NOW_MS - 12_000_000,
            problems: Some(ProblemCounts::default()),
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
        assert_eq!(report.headline.text, format!("0.1.0 {HEALTHY}"));
        assert_eq!(text(&report, "agent"), "up 3h 20m, profile default");
        assert_eq!(text(&report, "log"), "12,345 events stored, the oldest 1m ago");
        assert_eq!(text(&report, "disk"), "1.0 MiB of 1.0 GiB (0%)");
        assert_eq!(text(&report, "at risk"), "nothing: all that was taken is on the disk");
        assert_eq!(text(&report, "controller"), "connected ctl:8443, last reached 2s ago");
        let older = Report::of(&StatusResponse { problems: None, ..status() }, now());
        assert_eq!(older.headline.text, format!("0.1.0 {AGENT_HEALTHY}"));
        assert_eq!(older.facts[0].text, MACHINE, "what the verdict does not cover stands below it");
        let told = |words: &str| report.facts.iter().any(|fact| fact.text == words);
        assert!(told("12,342 events delivered in 124 batches (0 B), 3 to go"), "{report:?}");
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

    fn condition(level: &str, text: &str) -> ConditionStatus {
        ConditionStatus { level: level.to_owned(), text: text.to_owned(), ..Default::default() }
    }

    #[test]
    fn what_the_agent_says_needs_attention_stands_first_and_what_is_good_to_know_is_no_problem() {
        let mut status = status();
        status.conditions = vec![
            condition("error", "the controller refuses, everything is kept: the token has expired"),
            condition("warning", "7 events were removed before everyone had them"),
            condition("notice", "the controller has changed settings: events.batch_size"),
        ];
        status.log.as_mut().expect("set above").lanes[0].lost_events = 7;
        let report = Report::of(&status, now());
        assert_eq!(report.headline.text, "0.1.0 2 things need attention");
        assert!(report.facts.iter().all(|fact| fact.text != MACHINE));
        assert_eq!(report.facts[0].text, "the controller refuses, everything is kept: the token has expired");
        assert_eq!((report.problems[0].tone, report.problems[1].tone), (Tone::Bad, Tone::Warn));
        assert_eq!(text(&report, "note"), "the controller has changed settings: events.batch_size");
        assert_eq!(text(&report, "lost"), "7 events since the start");
    }

    #[test]
    fn what_is_wrong_with_the_machine_needs_attention_too_unless_somebody_knows_of_it() {
        let problem = |text: &str, level: StateLevel, is_known: bool| SubjectState {
            changes: vec![StateChange {
                level: level.into(),
                text: text.to_owned(),
                wrong_since: NOW_MS - 7_200_000,
                ..Default::default()
            }],
            acknowledgement: is_known.then(Default::default),
            ..Default::default()
        };
        let mut status = status();
        status.problems = Some(ProblemCounts { critical: 0, error: 8, warn: 1, acknowledged: 1 });
        status.conditions = vec![condition("warning", "the log is 95% full")];
        status.worst = vec![problem("Pool tank is degraded", StateLevel::Error, false); 7];
        status.worst.push(problem("Clock is not synchronised", StateLevel::Warn, false));
        status.worst.push(problem("Pool old is degraded", StateLevel::Error, true));
        let report = Report::of(&status, now());
        assert_eq!(report.headline.text, "0.1.0 9 things need attention");
        assert_eq!(report.facts[0].text, "Pool tank is degraded (for 2h)");
        assert_eq!(report.facts[SHOWN_MAX].text, "and 3 more of this machine");
        assert_eq!(report.facts[SHOWN_MAX + 1].text, "the log is 95% full");
        assert_eq!(text(&report, "known"), "1 problem, acknowledged: `rodent problems`");
        assert!(report.facts.iter().any(|fact| fact.text.starts_with("→ `rodent problems` and `rodent doctor`")));
        status.conditions.clear();
        (status.problems, status.worst) =
            (Some(ProblemCounts { error: 1, acknowledged: 1, ..Default::default() }), Vec::new());
        assert_eq!(Report::of(&status, now()).headline.text, format!("0.1.0 {HEALTHY}"));
    }

    #[test]
    fn what_the_agent_and_an_event_both_tell_is_one_thing_also_when_somebody_knows_of_it() {
        let mut status = status();
        let text = "The wall clock is not synchronised".to_owned();
        let change = StateChange { level: StateLevel::Warn.into(), text, ..Default::default() };
        let clock = SubjectState { state: "clock".to_owned(), changes: vec![change], ..Default::default() };
        status.worst = vec![clock.clone()];
        status.problems = Some(ProblemCounts { warn: 1, ..Default::default() });
        let in_agent = "nothing keeps the clock of this machine in step";
        status.conditions =
            vec![ConditionStatus { id: "clock_unsynchronised".to_owned(), ..condition("warning", in_agent) }];
        let report = Report::of(&status, now());
        assert_eq!(report.headline.text, "0.1.0 1 thing needs attention");
        assert!(report.facts.iter().all(|fact| fact.text != in_agent), "{report:?}");
        status.worst = vec![SubjectState { acknowledgement: Some(Default::default()), ..clock }];
        status.problems = Some(ProblemCounts { warn: 1, acknowledged: 1, ..Default::default() });
        assert_eq!(Report::of(&status, now()).headline.text, format!("0.1.0 {HEALTHY}"));
        (status.worst, status.problems) = (Vec::new(), Some(ProblemCounts::default()));
        assert_eq!(Report::of(&status, now()).facts[0].text, in_agent, "where no event tells it");
    }

    #[test]
    fn without_a_controller_events_are_kept_here() {
        let mut status = status();
        status.uplink = Some(UplinkStatus { state: "off".to_owned(), ..Default::default() });
        let report = Report::of(&status, now());
        assert_eq!(report.headline.text, format!("0.1.0 {HEALTHY}"));
        assert_eq!(text(&report, "controller"), "none configured: events are kept on this machine");
    }

    #[test]
    fn the_reserve_is_named() {
        let mut status = status();
        let log = status.log.as_mut().expect("set above");
        (log.disk_bytes, log.ballast_bytes) = (80 << 20, 64 << 20);
        let report = Report::of(&status, now());
        assert_eq!(text(&report, "disk"), "80.0 MiB of 1.0 GiB (7%), 64.0 MiB of it in reserve for a full disk");
    }

    #[test]
    fn an_agent_that_says_nothing_is_still_shown() {
        let report = Report::of(&StatusResponse::default(), now());
        assert_eq!(report.headline.text, "does not say whether it is well: it is of an older version");
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
