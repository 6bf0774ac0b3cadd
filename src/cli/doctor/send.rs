//! `rodent doctor --send`: a test event, followed from the socket to the controller's acknowledgement.
//!
//! The event is a heartbeat of level `essential`: it says nothing that is not true, passes every filter, is made durable at
//! once and travels before everything else. Metadata marks it as a test. Always holds: it ends after its time.

use std::{
    future::Future,
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use prost::Message as _;
use serde_json::json;
use uuid::Uuid;

use super::super::{Failure, failure::Code};
use crate::{
    client::{
        Client, ClientError, Durability, Events, ListDeadLettersRequest, StatusResponse, StoredEvent, TailRequest,
    },
    event::Level,
    schema::{
        Payload as _,
        events::{Event, SystemHostPayload, system_host_payload::SystemHostOperation},
    },
    terminal::{Cell, Column, Output, Screen, TextTable, Tone, human_duration, quiet_end, wrapped},
    words::parse_duration,
};

/// How long somebody may want to follow an event.
const TIMEOUT_BOUNDS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// How often the agent is asked how far the uplink is. It costs the agent a look at the log's directory.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The uplink's cursor.
const UPLINK: &str = "uplink";

/// Key of the metadata that tells test events, and this one, from all others.
const MARK: &str = "doctor_test";

/// Reads `--timeout`.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text)?;
    if TIMEOUT_BOUNDS.contains(&parsed) { Ok(parsed) } else { Err("expected 1s to 1h".to_owned()) }
}

/// A part of the way that is behind it.
struct Stage {
    name: &'static str,
    after: Duration,
    detail: String,
}

/// How far it came, and why no further.
struct Journey {
    mark: String,
    stages: Vec<Stage>,
    stored: Option<(String, u64)>,
    failure: Option<String>,
}

pub(super) async fn run(socket: &Path, timeout: Duration, output: Output) -> Result<ExitCode, Failure> {
    let client = Client::connect(socket).await?;
    let mut journey = Journey { mark: Uuid::new_v4().to_string(), stages: Vec::new(), stored: None, failure: None };
    let mut screen = Screen::stdout();
    if output == Output::Table {
        let head = format!("A test event, system.host.heartbeat of level essential, {MARK}={}", journey.mark);
        quiet_end(screen.sentence(&head).and_then(|()| screen.line("")).and_then(|()| screen.flush()))?;
    }
    follow(&client, timeout, &mut journey, |stage| match output {
        Output::Table => print_stage(stage, &mut screen),
        Output::Json | Output::Jsonl => Ok(()),
    })
    .await?;
    quiet_end(print_end(&journey, output, &mut screen).and_then(|()| screen.flush()))?;
    Ok(if journey.failure.is_some() { Code::Other.into() } else { ExitCode::SUCCESS })
}

/// Sends and follows; says each stage when it is reached.
async fn follow(
    client: &Client,
    timeout: Duration,
    journey: &mut Journey,
    mut reached: impl FnMut(&Stage) -> io::Result<()>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut reach = |journey: &mut Journey, name, detail| {
        let stage = Stage { name, after: begun.elapsed(), detail };
        let said = quiet_end(reached(&stage));
        journey.stages.push(stage);
        said
    };
    let left = || timeout.saturating_sub(begun.elapsed());
    let filter = vec!["system.host.heartbeat".to_owned(), format!("meta.{MARK}={}", journey.mark)];
    let mut events = client.tail(TailRequest { filter, ..TailRequest::default() }).await?;

    let accepted = client.emit_encoded(vec![event(&journey.mark).encode_to_vec().into()], Durability::Buffered);
    let Some(accepted) = within(left(), accepted).await? else {
        journey.failure = Some(no_answer(timeout, "did not take the event"));
        return Ok(());
    };
    let id = accepted.event_ids.into_iter().next().unwrap_or_default();
    reach(journey, "accepted", format!("by the agent, as {id}"))?;

    let Some(stored) = within(left(), stored(&mut events)).await? else {
        let degraded = client.status().await.ok().and_then(|status| status.log).map(|log| log.degraded);
        let why = degraded.filter(|why| !why.is_empty()).map(|why| format!(": {why}")).unwrap_or_default();
        journey.failure = Some(format!("{}{why}", no_answer(timeout, "did not make it durable")));
        return Ok(());
    };
    drop(events);
    // While the disk takes nothing, what is tailed comes from memory.
    let Some(only_in_memory) = within(left(), client.flush()).await? else {
        journey.failure = Some(no_answer(timeout, "did not make it durable"));
        return Ok(());
    };
    match only_in_memory {
        None => reach(journey, "durable", format!("on the disk, {} {}", stored.lane, stored.sequence))?,
        Some(why) => reach(journey, "kept", format!("in memory only, {} {}: {why}", stored.lane, stored.sequence))?,
    }
    journey.stored = Some((stored.lane.clone(), stored.sequence));

    loop {
        let status = client.status().await?;
        let state = match acknowledged(&status, &stored) {
            Verdict::Arrived => break,
            Verdict::Never(why) => {
                journey.failure = Some(why);
                return Ok(());
            }
            Verdict::NotYet(why) => why,
        };
        if left().is_zero() {
            let after = human_duration(timeout);
            journey.failure =
                Some(format!("not acknowledged within {after}: {state}; the event is kept and sent later"));
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL.min(left())).await;
    }
    if let Some(why) = refused(client, &stored).await? {
        journey.failure = Some(why);
        return Ok(());
    }
    let controller = client.status().await?.uplink.unwrap_or_default().controller;
    reach(journey, "acknowledged", format!("stored by {controller}"))?;
    Ok(())
}

fn event(mark: &str) -> Event {
    let payload = SystemHostPayload {
        subject: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        detail: "a test of the way to the controller".to_owned(),
        operation: SystemHostOperation::Heartbeat.into(),
        ..Default::default()
    };
    let metadata = [("test", "true"), ("component", "doctor"), (MARK, mark)];
    Event {
        level: Level::Essential.to_wire().into(),
        event_payload: Some(payload.into_event_payload()),
        metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Event::default()
    }
}

/// The answer, or `None` when it did not come in time.
async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<Option<T>, ClientError> {
    tokio::time::timeout(time, answer).await.ok().transpose()
}

/// The event as it is stored.
async fn stored(events: &mut Events) -> Result<StoredEvent, ClientError> {
    while let Some(page) = events.next().await? {
        if let Some(stored) = page.events.into_iter().next() {
            return Ok(stored);
        }
    }
    Err(ClientError::Unavailable("the agent is stopping".to_owned()))
}

/// How far the uplink is.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Arrived,
    /// Why not, as things stand.
    NotYet(String),
    /// Why it will not.
    Never(String),
}

fn acknowledged(status: &StatusResponse, stored: &StoredEvent) -> Verdict {
    let (log, uplink) = (status.log.clone().unwrap_or_default(), status.uplink.clone().unwrap_or_default());
    let of_lane = |lane: &str, name: &str| lane == stored.lane && name == UPLINK;
    let cursor = log.cursors.iter().find(|cursor| of_lane(&cursor.lane, &cursor.name));
    let is_behind = cursor.is_some_and(|cursor| cursor.next_sequence > stored.sequence);
    let error = if uplink.last_error.is_empty() { "no reason given" } else { uplink.last_error.as_str() };
    match uplink.state.as_str() {
        _ if log.log_epoch == stored.log_epoch && is_behind => Verdict::Arrived,
        "off" | "" => Verdict::Never("no controller is configured: the event stays on this machine".to_owned()),
        "held" => Verdict::Never(format!("the controller takes nothing: {error}; the event is kept and sent later")),
        // What was not delivered has other numbers now; this one cannot be followed by its own.
        _ if log.log_epoch != stored.log_epoch => {
            Verdict::Never("the log has given new numbers; the event is kept and sent under one of them".to_owned())
        }
        "waiting" => Verdict::NotYet(format!("the controller is out of reach: {error}")),
        state => Verdict::NotYet(format!(
            "the uplink is {state}, {} events are before it or beside it",
            cursor.map_or(0, |c| c.lag_events)
        )),
    }
}

/// What the controller said where it refused this very event, so that the uplink went on without it.
async fn refused(client: &Client, stored: &StoredEvent) -> Result<Option<String>, ClientError> {
    let ids = vec![format!("{}-{}", stored.lane, stored.sequence)];
    let consumer = UPLINK.to_owned();
    match client.dead_letters(ListDeadLettersRequest { ids, consumer, ..Default::default() }).await {
        Ok(list) => {
            let letter = list.letters.into_iter().find_map(|listed| listed.letter);
            let letter = letter.filter(|letter| letter.log_epoch == stored.log_epoch);
            Ok(letter.map(|letter| {
                format!(
                    "the controller refuses the event: {} ({}); rodent dead-letters list",
                    letter.message, letter.code
                )
            }))
        }
        // There is none of that name.
        Err(ClientError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn no_answer(timeout: Duration, what: &str) -> String {
    format!("the agent {what} within {}", human_duration(timeout))
}

fn print_stage(stage: &Stage, screen: &mut Screen) -> io::Result<()> {
    let mut table = TextTable::new(&[
        Column::left("").at_least("acknowledged".len()),
        Column::right("").at_least("1000ms".len()),
        Column::left(""),
    ])
    .without_header();
    let after = human_duration(stage.after);
    table.row([Cell::toned(stage.name, Tone::Good), Cell::from(after), Cell::from(stage.detail.as_str())]);
    table.print(screen)?;
    screen.flush()
}

fn print_end(journey: &Journey, output: Output, screen: &mut Screen) -> io::Result<()> {
    let value = || {
        let stages = journey.stages.iter().map(|stage| {
            let ms = u64::try_from(stage.after.as_millis()).unwrap_or(u64::MAX);
            json!({"stage": stage.name, "after_milliseconds": ms})
        });
        let (lane, sequence) = journey.stored.clone().unzip();
        json!({
            "mark": journey.mark, "stages": stages.collect::<Vec<_>>(), "lane": lane, "sequence": sequence,
            "arrived": journey.failure.is_none(), "failure": journey.failure,
        })
    };
    match output {
        Output::Json => return screen.json_document(&value()),
        Output::Jsonl => return screen.json(&value()),
        Output::Table => screen.line("")?,
    }
    let (text, tone) = match &journey.failure {
        None => ("The way to the controller works.".to_owned(), Tone::Good),
        Some(why) => (format!("It did not arrive: {why}."), Tone::Bad),
    };
    let room = screen.width().unwrap_or(usize::MAX);
    let mut table = TextTable::new(&[Column::left("")]).without_header();
    for line in wrapped(&text, room) {
        table.row([Cell::toned(line, tone)]);
    }
    if journey.failure.is_some() {
        table.row([Cell::toned("→ rodent doctor", Tone::Mark)]);
    }
    table.print(screen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::local::{CursorStatus, LogStatus, UplinkStatus};

    fn status(state: &str, next_sequence: u64) -> StatusResponse {
        let (name, lane) = (UPLINK.to_owned(), "urgent".to_owned());
        let cursor = CursorStatus { name, lane, next_sequence, lag_events: 2, ..Default::default() };
        StatusResponse {
            log: Some(LogStatus { log_epoch: "e".to_owned(), cursors: vec![cursor], ..Default::default() }),
            uplink: Some(UplinkStatus { state: state.to_owned(), last_error: "why".to_owned(), ..Default::default() }),
            ..Default::default()
        }
    }

    fn event_of(sequence: u64) -> StoredEvent {
        StoredEvent { lane: "urgent".to_owned(), sequence, log_epoch: "e".to_owned(), ..Default::default() }
    }

    #[test]
    fn an_event_has_arrived_when_the_cursor_is_behind_it_and_not_before() {
        assert_eq!(acknowledged(&status("connected", 8), &event_of(7)), Verdict::Arrived);
        assert!(matches!(acknowledged(&status("connected", 7), &event_of(7)), Verdict::NotYet(_)));
        assert!(matches!(acknowledged(&status("waiting", 7), &event_of(7)), Verdict::NotYet(_)));
    }

    #[test]
    fn what_will_not_arrive_is_told_at_once() {
        let never = |state| matches!(acknowledged(&status(state, 7), &event_of(7)), Verdict::Never(_));
        assert!(never("off") && never("held"));
        let other = StoredEvent { log_epoch: "f".to_owned(), ..event_of(7) };
        assert!(matches!(acknowledged(&status("connected", 8), &other), Verdict::Never(_)));
    }

    #[test]
    fn a_test_event_passes_every_filter_and_says_that_it_is_one() {
        let event = event("4711");
        assert_eq!(event.level, i32::from(Level::Essential.to_wire()));
        assert_eq!(event.metadata.get("test").map(String::as_str), Some("true"));
    }

    #[test]
    fn how_long_it_is_followed_has_bounds() {
        assert_eq!(timeout("5s"), Ok(Duration::from_secs(5)));
        assert!(timeout("0s").is_err() && timeout("2h").is_err() && timeout("soon").is_err());
    }
}
