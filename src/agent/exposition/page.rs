//! Writes the page that Prometheus reads, from what `rodent status` is made of and a few counters beside it.

use std::sync::Arc;

use super::families;
use crate::{
    consumers::Effort,
    metrics::{Format, Histogram, Page, write_process},
    pipeline::{Counts, FieldCounter},
    schema::local::{
        CollectorStatus, ConsumerStatus, LogStatus, ProblemCounts, SocketStatus, StateLevel, StatusResponse,
        SubjectState, UplinkStatus, consumer_status::State,
    },
};

/// States as the status names them; each is a series.
const COLLECTOR_STATES: [&str; 4] = ["running", "absent", "failed", "off"];

/// What stands on the page besides the status.
pub(super) struct Beside<'a> {
    pub(super) ready: bool,
    /// Unix milliseconds.
    pub(super) now: i64,
    pub(super) counts: &'a Counts,
    /// What the configuration has counted.
    pub(super) counters: &'a [Arc<FieldCounter>],
    /// By consumer.
    pub(super) efforts: Vec<(String, Arc<Effort>)>,
    pub(super) commits: &'a Histogram,
    pub(super) writer_stalled_seconds: f64,
    /// The worst of the machine.
    pub(super) problems: Vec<SubjectState>,
    /// By part of the agent.
    pub(super) restarts: Vec<(&'static str, u64)>,
}

/// The page of an agent that is only just starting: it has no more to tell.
pub(super) fn starting(format: Format) -> String {
    let mut page = Page::new(format);
    write_build(&mut page, false);
    write_process(&mut page);
    page.finish()
}

pub(super) fn page(status: &StatusResponse, beside: &Beside<'_>, format: Format) -> String {
    let mut page = Page::new(format);
    write_build(&mut page, beside.ready);
    let mut restarts = page.family(&families::PART_RESTARTS);
    beside.restarts.iter().for_each(|(part, count)| restarts.put(&[part], *count as f64));
    let mut conditions = page.family(&families::CONDITION);
    status.conditions.iter().for_each(|it| conditions.put(&[&it.part, &it.id, &it.level], 1.0));
    write_problems(&mut page, status.problems.as_ref(), &beside.problems);
    page.one(&families::CLOCK, one_if(status.clock_state == "synchronised"));
    if let Some(configuration) = &status.configuration {
        page.one(&families::CONFIG_SUCCESSFUL, one_if(configuration.refused_at == 0));
        page.one(&families::CONFIG_APPLIED, seconds(configuration.applied_at));
        page.one(&families::CONFIG_WAITING, configuration.needs_restart.len() as f64);
    }
    page.one(&families::JOURNAL_LINES, status.journal_lines_missing as f64);
    write_pipeline(&mut page, beside.counts);
    if let Some(log) = &status.log {
        write_log(&mut page, log, beside);
    }
    write_consumers(&mut page, &status.consumers);
    write_efforts(&mut page, &beside.efforts);
    if let Some(uplink) = &status.uplink {
        write_credentials(&mut page, uplink);
    }
    let by_consumer = &status.dead_letters_by_consumer;
    let mut letters = page.family(&families::DEAD_LETTERS);
    by_consumer.iter().for_each(|its| letters.put(&[&its.consumer], its.letters as f64));
    let mut bytes = page.family(&families::DEAD_LETTERS_BYTES);
    by_consumer.iter().for_each(|its| bytes.put(&[&its.consumer], its.bytes as f64));
    write_collectors(&mut page, &status.collectors);
    write_socket(&mut page, status.socket.as_ref().unwrap_or(&SocketStatus::default()));
    write_process(&mut page);
    beside.counters.iter().for_each(|counter| write_counter(&mut page, counter));
    page.finish()
}

fn write_counter(page: &mut Page, counter: &FieldCounter) {
    let help = "Events that the configuration of this machine has counted.";
    let mut samples = page.counted(counter.name(), counter.labels(), help);
    for (values, count) in counter.series() {
        samples.put(&values.iter().map(String::as_str).collect::<Vec<_>>(), count as f64);
    }
}

fn write_efforts(page: &mut Page, efforts: &[(String, Arc<Effort>)]) {
    let mut retried = page.family(&families::RETRIED_BATCHES);
    efforts.iter().for_each(|(consumer, effort)| retried.put(&[consumer], effort.retried.value() as f64));
    let mut seconds = page.family(&families::DELIVERY_SECONDS);
    efforts.iter().for_each(|(consumer, effort)| seconds.histogram(&[consumer], &effort.took));
}

fn write_build(page: &mut Page, ready: bool) {
    page.family(&families::BUILD).put(&[env!("CARGO_PKG_VERSION")], 1.0);
    page.one(&families::READY, one_if(ready));
}

fn write_problems(page: &mut Page, counts: Option<&ProblemCounts>, problems: &[SubjectState]) {
    let mut samples = page.family(&families::PROBLEM);
    for problem in problems {
        let level = problem.level().word();
        let acknowledged = if problem.acknowledgement.is_some() { "true" } else { "false" };
        samples.put(&[&problem.state, &problem.subject, level, acknowledged], 1.0);
    }
    let counts = counts.cloned().unwrap_or_default();
    let mut all = page.family(&families::PROBLEMS);
    for (level, count) in
        [(StateLevel::Critical, counts.critical), (StateLevel::Error, counts.error), (StateLevel::Warn, counts.warn)]
    {
        all.put(&[level.word()], count as f64);
    }
}

fn write_pipeline(page: &mut Page, counts: &Counts) {
    let mut accepted = page.family(&families::ACCEPTED);
    for (category, level, count) in counts.accepted_events() {
        accepted.put(&[category, level.name()], count as f64);
    }
    let mut published = page.family(&families::PUBLISHED);
    counts.accepted_by_kind().into_iter().for_each(|(kind, count)| published.put(&[kind], count as f64));
    let mut filtered = page.family(&families::FILTERED);
    for (category, count) in counts.filtered_events() {
        filtered.put(&[category], count as f64);
    }
    page.one(&families::REFUSED, counts.refused_events() as f64);
}

fn write_log(page: &mut Page, log: &LogStatus, beside: &Beside<'_>) {
    for (family, value) in [
        (&families::STORED_EVENTS, (|lane| lane.stored_events as f64) as fn(&crate::schema::local::LaneStatus) -> f64),
        (&families::STORED_BYTES, |lane| lane.stored_bytes as f64),
        (&families::GENERATIONS, |lane| lane.generations as f64),
        (&families::WAITING_EVENTS, |lane| lane.waiting_events as f64),
        (&families::WAITING_BYTES, |lane| lane.waiting_bytes as f64),
        (&families::WAITING_SECONDS, |lane| lane.waiting_milliseconds as f64 / 1e3),
    ] {
        let mut samples = page.family(family);
        log.lanes.iter().for_each(|lane| samples.put(&[&lane.lane], value(lane)));
    }
    let mut lost = page.family(&families::LOST_EVENTS);
    for (lane, loss) in log.lanes.iter().flat_map(|lane| lane.losses.iter().map(move |loss| (lane, loss))) {
        lost.put(&[&lane.lane, &loss.cause], loss.events as f64);
    }
    let mut losses = page.family(&families::LOSSES);
    for (lane, loss) in log.lanes.iter().flat_map(|lane| lane.losses.iter().map(move |loss| (lane, loss))) {
        losses.put(&[&lane.lane, &loss.cause], loss.records as f64);
    }
    page.one(&families::DEGRADED, one_if(!log.degraded.is_empty()));
    page.one(&families::DISK_BYTES, log.disk_bytes as f64);
    page.one(&families::DISK_LIMIT, log.disk_bytes_max as f64);
    page.one(&families::BALLAST, log.ballast_bytes as f64);
    page.one(&families::QUARANTINED, log.quarantined_bytes as f64);
    page.family(&families::COMMIT_SECONDS).histogram(&[], beside.commits);
    page.one(&families::WRITER_SECONDS, beside.writer_stalled_seconds);
    let mut lag = page.family(&families::LAG_EVENTS);
    log.cursors.iter().for_each(|cursor| lag.put(&[&cursor.name, &cursor.lane], cursor.lag_events as f64));
    let mut age = page.family(&families::LAG_SECONDS);
    for cursor in &log.cursors {
        let oldest = (cursor.lag_events > 0 && cursor.oldest_time > 0).then_some(cursor.oldest_time);
        let milliseconds = oldest.map_or(0, |oldest| beside.now.saturating_sub(oldest).max(0));
        age.put(&[&cursor.name, &cursor.lane], milliseconds as f64 / 1e3);
    }
}

fn write_consumers(page: &mut Page, consumers: &[ConsumerStatus]) {
    let mut state = page.family(&families::CONSUMER_STATE);
    for consumer in consumers {
        for its in State::ALL {
            state.put(&[&consumer.name, its.word()], one_if(consumer.state() == its));
        }
    }
    for (family, value) in [
        (
            &families::DELIVERED_EVENTS,
            (|lane| lane.delivered_events as f64) as fn(&crate::schema::local::ConsumerLaneStatus) -> f64,
        ),
        (&families::DELIVERED_BATCHES, |lane| lane.delivered_batches as f64),
        (&families::SENT_BATCHES, |lane| lane.sent_batches as f64),
        (&families::SENT_BYTES, |lane| lane.sent_bytes as f64),
        (&families::FAILED_BATCHES, |lane| lane.failed_attempts as f64),
        (&families::REFUSED_EVENTS, |lane| lane.refused_events as f64),
        (&families::IN_FLIGHT, |lane| f64::from(lane.in_flight_batches)),
        (&families::ACKNOWLEDGED, |lane| seconds(lane.last_acknowledgement)),
    ] {
        let mut samples = page.family(family);
        let lanes = consumers.iter().flat_map(|consumer| consumer.lanes.iter().map(move |lane| (consumer, lane)));
        lanes.for_each(|(consumer, lane)| samples.put(&[&consumer.name, &lane.lane], value(lane)));
    }
    let mut failed = page.family(&families::FAILED_ATTEMPTS);
    for consumer in consumers {
        let by_reason = consumer.failed_attempts_by_reason.iter();
        by_reason.for_each(|(reason, count)| failed.put(&[&consumer.name, reason], *count as f64));
    }
    let mut window = page.family(&families::WINDOW);
    consumers.iter().for_each(|consumer| window.put(&[&consumer.name], f64::from(consumer.window)));
    let mut backoff = page.family(&families::BACKOFF);
    for consumer in consumers {
        backoff.put(&[&consumer.name], consumer.next_attempt_milliseconds as f64 / 1e3);
    }
}

fn write_credentials(page: &mut Page, uplink: &UplinkStatus) {
    for (family, end) in
        [(&families::TOKEN_END, uplink.token_expires_at), (&families::CERTIFICATE_END, uplink.certificate_expires_at)]
    {
        if end != 0 {
            page.one(family, seconds(end));
        }
    }
}

fn write_collectors(page: &mut Page, collectors: &[CollectorStatus]) {
    let mut state = page.family(&families::COLLECTOR_STATE);
    for collector in collectors {
        COLLECTOR_STATES.iter().for_each(|name| state.put(&[&collector.name, name], one_if(collector.state == *name)));
    }
    let mut restarts = page.family(&families::COLLECTOR_RESTARTS);
    collectors.iter().for_each(|collector| restarts.put(&[&collector.name], collector.restarts as f64));
    let mut emitted = page.family(&families::COLLECTOR_EVENTS);
    collectors.iter().for_each(|collector| emitted.put(&[&collector.name], collector.emitted_events as f64));
}

fn write_socket(page: &mut Page, socket: &SocketStatus) {
    page.one(&families::SOCKET_CONNECTIONS, f64::from(socket.connections));
    page.one(&families::SOCKET_ACCEPTED, socket.accepted_connections as f64);
    page.one(&families::SOCKET_CALLS, socket.calls as f64);
    page.one(&families::SOCKET_REFUSED, socket.refused_calls as f64);
}

fn one_if(it: bool) -> f64 {
    f64::from(u8::from(it))
}

/// Of Unix milliseconds.
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1e3
}
