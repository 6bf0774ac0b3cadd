//! Where a consumer begins, or begins again: the sequences of both lanes that a place, a moment or an event stands for.

use tonic::Status;
use uuid::Uuid;

use crate::{
    event::Head,
    event_log::{EventLog, Lane, LogError, Read, Sieve},
    schema::local::{
        Start,
        start::{self, Place},
    },
};

/// Bytes that one read of a search may bring into memory.
const SEARCH_BYTES_MAX: usize = 1024 * 1024;

/// Events of one read of a search.
const SEARCH_EVENTS_MAX: usize = 8_192;

/// The first sequences from `start` on; `None` where a consumer of the name stands. Blocking: may read all of the log, but of
/// what is certainly older only the heads of frames.
///
/// # Errors
/// When it names no place, an event that is not stored, or the log cannot be read.
pub(in crate::local_api) fn find(log: &EventLog, start: Option<&Start>) -> Result<Option<[u64; 2]>, Status> {
    let oldest = || Lane::ALL.map(|lane| log.bounds(lane).0);
    Ok(Some(match start.and_then(|start| start.start.as_ref()) {
        None => return Ok(None),
        Some(start::Start::Place(place)) => match Place::try_from(*place) {
            Ok(Place::Committed) => return Ok(None),
            Ok(Place::Oldest) => oldest(),
            Ok(Place::Newest) => Lane::ALL.map(|lane| log.bounds(lane).1),
            Err(_) => return Err(Status::invalid_argument(format!("`from` has no place {place}"))),
        },
        Some(start::Start::Time(time)) => {
            let [urgent, routine] = Lane::ALL.map(|lane| since(log, lane, *time));
            [urgent.map_err(unreadable)?, routine.map_err(unreadable)?]
        }
        Some(start::Start::EventId(id)) => {
            let id = Uuid::try_parse(id).map_err(|_| {
                Status::invalid_argument(format!("`{}` is no identifier of an event", id.escape_debug()))
            })?;
            of_event(log, id).map_err(unreadable)?.ok_or_else(|| {
                Status::not_found(format!(
                    "the event {id} is not stored, or not any more: begin with the oldest, or with a time"
                ))
            })?
        }
    }))
}

fn unreadable(error: LogError) -> Status {
    Status::internal(crate::telemetry::ErrorChain(&error).to_string())
}

/// The first event of a lane that has this time or a later one.
fn since(log: &EventLog, lane: Lane, time: i64) -> Result<u64, LogError> {
    let sieve = Sieve { times: (time, i64::MAX), ..Sieve::OPEN };
    let found = search(log, lane, &sieve, |head| head.timestamp >= time)?;
    Ok(found.map_or_else(|| log.bounds(lane).1, |(sequence, _)| sequence))
}

fn of_event(log: &EventLog, id: Uuid) -> Result<Option<[u64; 2]>, LogError> {
    let id = id.to_string();
    for lane in Lane::ALL {
        if let Some((sequence, time)) = search(log, lane, &Sieve::OPEN, |head| head.id.eq_ignore_ascii_case(&id))? {
            let [urgent, routine] = Lane::ALL.map(|its| if its == lane { Ok(sequence) } else { since(log, its, time) });
            return Ok(Some([urgent?, routine?]));
        }
    }
    Ok(None)
}

/// The first event that will do, with its time.
fn search(
    log: &EventLog,
    lane: Lane,
    sieve: &Sieve,
    will_do: impl Fn(&Head) -> bool,
) -> Result<Option<(u64, i64)>, LogError> {
    let (first, end) = log.bounds(lane);
    let mut reader = log.reader(lane, first);
    reader.until(end);
    loop {
        match reader.read_where(sieve, SEARCH_EVENTS_MAX, SEARCH_BYTES_MAX)? {
            Read::Run(run) => {
                let found = run.events().find_map(|stored| {
                    let head = Head::read(&stored.event).ok().filter(&will_do)?;
                    Some((stored.sequence, head.timestamp))
                });
                if found.is_some() {
                    return Ok(found);
                }
            }
            Read::Gap(_) => {}
            Read::End => return Ok(None),
        }
    }
}
