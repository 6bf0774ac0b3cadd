//! Urgent events in the systemd journal, beside the agent's own messages: who looks there when something breaks finds
//! what broke.
//!
//! Reads the urgent lane from where it stands when the agent starts, as any reader does, and logs under
//! [`logging::URGENT`], which standard error does not take. At most ten lines a second: what says the same as a line
//! before it, and what comes when the ten are used up, is counted in the last of them. The event log has them all.
//! Routine events never come here.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    event::{EventView, Kind, Level, Summary},
    event_log::{EventLog, Lane, LogError, Read, Reader, StoredEvent},
    order::Sorted as _,
    telemetry::{logging, message},
};

/// The most events that are shown in a [`WINDOW`]; one line more tells of the others.
const EVENTS_MAX: usize = 9;
/// Begins with the first line.
const WINDOW: Duration = Duration::from_secs(1);
/// The most kinds that are named where events are not shown.
const KINDS_MAX: usize = 8;
/// As much is read at a time, events and bytes.
const READ_MAX: (usize, usize) = (64, 256 * 1024);
/// Until a log that could not be read is tried again.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// Shows urgent events until `shutdown`; nothing where nobody takes them.
pub(super) async fn show(log: EventLog, shutdown: CancellationToken) {
    if !tracing::enabled!(target: logging::URGENT, tracing::Level::ERROR) {
        return shutdown.cancelled().await;
    }
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follow(log) => {}
    }
}

async fn follow(log: EventLog) {
    let mut reader = log.reader(Lane::Urgent, log.next_sequence(Lane::Urgent));
    let mut folding = Folding::default();
    loop {
        match folding.over {
            Some(over) => tokio::select! {
                () = reader.ready() => {}
                () = tokio::time::sleep_until(over) => {}
            },
            None => reader.ready().await,
        }
        folding.end_window(Instant::now()).into_iter().for_each(tell_of_others);
        if folding.is_full() {
            // Not read at all: a storm costs nothing but its count.
            tokio::time::sleep_until(folding.over.unwrap_or_else(Instant::now)).await;
            let passed = reader.available();
            folding.others += passed;
            reader.seek(reader.position() + passed);
            continue;
        }
        let Ok((back, read)) = tokio::task::spawn_blocking(move || read_on(reader)).await else { return };
        reader = back;
        match read {
            Ok(events) => events.iter().filter_map(|event| folding.take(event, Instant::now())).for_each(tell),
            Err(_) => tokio::time::sleep(LOG_PAUSE).await,
        }
    }
}

fn read_on(mut reader: Reader) -> (Reader, Result<Vec<StoredEvent>, LogError>) {
    let events = match reader.read(READ_MAX.0, READ_MAX.1) {
        Ok(Read::Run(run)) => Ok(run.events().collect()),
        Ok(Read::Gap(_) | Read::End) => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    (reader, events)
}

/// One event as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    level: Level,
    kind: Kind,
    sequence: u64,
    id: String,
    source: String,
    summary: Summary,
}

impl Line {
    fn of(stored: &StoredEvent) -> Option<Line> {
        let event = EventView::decode(&stored.event).ok()?;
        Some(Line {
            level: event.level(),
            kind: event.kind(),
            sequence: stored.sequence,
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            summary: Summary::of(&event),
        })
    }
}

/// What has been shown in the current window, and what has not.
#[derive(Default)]
struct Folding {
    /// When the window is over.
    over: Option<Instant>,
    /// [`EVENTS_MAX`] at the most.
    shown: Vec<(Kind, Summary)>,
    /// Repeats, by kind.
    repeats: BTreeMap<String, u64>,
    /// Events that were not even looked at.
    others: u64,
}

/// Events that are not shown.
#[derive(Debug, PartialEq, Eq)]
struct Others {
    events: u64,
    /// `storage.pool.degraded (3)`, the most frequent first.
    kinds: String,
}

impl Folding {
    fn is_full(&self) -> bool {
        self.shown.len() >= EVENTS_MAX
    }

    /// The line that is to be shown for an event, if one is.
    fn take(&mut self, stored: &StoredEvent, now: Instant) -> Option<Line> {
        let line = Line::of(stored)?;
        self.over.get_or_insert(now + WINDOW);
        let thing = (line.kind.clone(), line.summary.clone());
        if self.shown.contains(&thing) || self.is_full() {
            *self.repeats.entry(line.kind.to_string()).or_default() += 1;
            return None;
        }
        self.shown.push(thing);
        Some(line)
    }

    /// Begins anew when the window is over; gives what was not shown in it.
    fn end_window(&mut self, now: Instant) -> Option<Others> {
        self.over.filter(|over| now >= *over)?;
        let ended = std::mem::take(self);
        let events = ended.others + ended.repeats.values().sum::<u64>();
        let mut kinds: Vec<_> = ended.repeats.into_iter().collect();
        kinds.order_by_key(|(_, count)| std::cmp::Reverse(*count));
        let kinds: Vec<_> = kinds.iter().take(KINDS_MAX).map(|(kind, count)| format!("{kind} ({count})")).collect();
        (events > 0).then(|| Others { events, kinds: kinds.join(", ") })
    }
}

/// By RFC 5424. What is essential is no fault.
fn priority(level: Level) -> u64 {
    match level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warn => 4,
        Level::Essential => 5,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn tell(line: Line) {
    macro_rules! tell {
        ($level:expr) => {
            tracing::event!(
                target: logging::URGENT,
                $level,
                message_id = %message::URGENT_EVENT,
                priority = priority(line.level),
                kind = %line.kind,
                lane = Lane::Urgent.name(),
                sequence = line.sequence,
                level = line.level.name(),
                event = line.id,
                source = line.source,
                subject = line.summary.subject,
                "{}",
                line.summary.text
            )
        };
    }
    match line.level {
        Level::Critical | Level::Error => tell!(tracing::Level::ERROR),
        Level::Warn => tell!(tracing::Level::WARN),
        // What ends a fault belongs to it.
        _ => tell!(tracing::Level::INFO),
    }
}

fn tell_of_others(Others { events, kinds }: Others) {
    tracing::warn!(
        target: logging::URGENT,
        message_id = %message::URGENT_FOLDED,
        lane = Lane::Urgent.name(),
        events,
        kinds,
        "more urgent events came within a second; they are not shown here"
    );
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::schema::events::{
        Event, SystemHostPayload, event::EventPayload, system_host_payload::SystemHostOperation,
    };

    fn event(sequence: u64, subject: &str) -> StoredEvent {
        let payload = SystemHostPayload {
            subject: subject.to_owned(),
            operation: SystemHostOperation::EventLogDegraded.into(),
            ..Default::default()
        };
        let payload = crate::schema::Payload::into_event_payload(payload);
        let event = Event {
            level: Level::Critical.to_wire().into(),
            event_payload: Some(payload) as Option<EventPayload>,
            ..Default::default()
        };
        StoredEvent { sequence, event: event.encode_to_vec().into() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_shown_once_in_a_window_and_its_repeats_are_counted() {
        let (mut folding, now) = (Folding::default(), Instant::now());
        let line = folding.take(&event(1, "disk"), now).expect("the first is shown");
        assert_eq!((line.sequence, line.level, line.summary.subject.as_str()), (1, Level::Critical, "disk"));
        assert!((2..=5).all(|sequence| folding.take(&event(sequence, "disk"), now).is_none()));
        assert!(folding.take(&event(6, "another"), now).is_some());
        assert_eq!(folding.end_window(now), None, "it is not over");
        let kinds = format!("{} (4)", line.kind);
        assert_eq!(folding.end_window(now + WINDOW), Some(Others { events: 4, kinds }));
        assert!(folding.take(&event(7, "disk"), now + WINDOW).is_some(), "a new window");
        assert_eq!(folding.end_window(now + 2 * WINDOW), None, "nothing was left out");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_ten_lines_come_in_a_second() {
        let (mut folding, now) = (Folding::default(), Instant::now());
        let shown = (0..100).filter(|n| folding.take(&event(*n, &n.to_string()), now).is_some()).count();
        assert!(shown == EVENTS_MAX && folding.is_full());
        folding.others += 1000;
        let others = folding.end_window(now + WINDOW).expect("some were left out");
        assert_eq!(others.events, 1091);
    }

    #[test]
    fn priorities_are_those_of_rfc_5424() {
        let of = |level| priority(level);
        assert_eq!(
            [Level::Critical, Level::Error, Level::Warn, Level::Essential, Level::Info].map(of),
            [2, 3, 4, 5, 6]
        );
    }
}
