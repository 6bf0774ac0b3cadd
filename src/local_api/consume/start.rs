//! Where a consumer begins, or begins again: the sequences of both lanes that a place, a moment or an event stands for.
//!
//! A search reads step by step, each in its turn at the disk, and ends with whoever asks.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::Status;
use uuid::Uuid;

use crate::{
    event::Head,
    event_log::{EventLog, Lane, LogError, Read, Reader, Sieve},
    local_api::page,
    schema::local::{
        Start,
        start::{self, Place},
    },
};

/// Bytes that one read of a search may bring into memory.
const SEARCH_BYTES_MAX: usize = 1024 * 1024;

/// Events of one read of a search.
const SEARCH_EVENTS_MAX: usize = 8_192;

/// Sequences that one read of a search passes over.
const SEARCH_SPAN: u64 = 65_536;

/// The first sequences from `start` on; `None` where a consumer of the name stands. May read all of the log, but of what is
/// certainly older only the heads of frames. Cancel safe.
///
/// # Errors
/// When it names no place, an event that is not stored, or the log cannot be read.
pub(in crate::local_api) async fn find(
    log: &EventLog,
    slots: &Arc<Semaphore>,
    start: Option<&Start>,
) -> Result<Option<[u64; 2]>, Status> {
    Ok(Some(match start.and_then(|start| start.start.as_ref()) {
        None => return Ok(None),
        Some(start::Start::Place(place)) => match Place::try_from(*place) {
            Ok(Place::Committed) => return Ok(None),
            Ok(Place::Oldest) => Lane::ALL.map(|lane| log.bounds(lane).0),
            Ok(Place::Newest) => Lane::ALL.map(|lane| log.bounds(lane).1),
            Err(_) => return Err(Status::invalid_argument(format!("`from` has no place {place}"))),
        },
        Some(start::Start::Time(time)) => {
            [since(log, slots, Lane::Urgent, *time).await?, since(log, slots, Lane::Routine, *time).await?]
        }
        Some(start::Start::EventId(id)) => {
            let id = Uuid::try_parse(id).map_err(|_| {
                Status::invalid_argument(format!("`{}` is no identifier of an event", id.escape_debug()))
            })?;
            of_event(log, slots, id).await?.ok_or_else(|| {
                Status::not_found(format!(
                    "the event {id} is not stored, or not any more: begin with the oldest, or with a time"
                ))
            })?
        }
    }))
}

/// The first event of a lane that has this time or a later one.
async fn since(log: &EventLog, slots: &Arc<Semaphore>, lane: Lane, time: i64) -> Result<u64, Status> {
    let sieve = Sieve { times: (time, i64::MAX), ..Sieve::OPEN };
    let sought = Search::new(log, lane, sieve, Sought::Since(time));
    // What comes while it is sought is as late.
    let end = sought.end;
    Ok(search(slots, sought).await?.map_or(end, |(sequence, _)| sequence))
}

async fn of_event(log: &EventLog, slots: &Arc<Semaphore>, id: Uuid) -> Result<Option<[u64; 2]>, Status> {
    for lane in Lane::ALL {
        let sought = Sought::Event(id.to_string());
        if let Some((sequence, time)) = search(slots, Search::new(log, lane, Sieve::OPEN, sought)).await? {
            return Ok(Some(match lane {
                Lane::Urgent => [sequence, since(log, slots, Lane::Routine, time).await?],
                Lane::Routine => [since(log, slots, Lane::Urgent, time).await?, sequence],
            }));
        }
    }
    Ok(None)
}

/// The first event that is sought, with its time.
async fn search(slots: &Arc<Semaphore>, mut search: Search) -> Result<Option<(u64, i64)>, Status> {
    loop {
        let step;
        (search, step) = page::on_disk(slots, search, Search::step).await?;
        match step {
            Step::Found(sequence, time) => return Ok(Some((sequence, time))),
            Step::Again => {}
            Step::End if search.reader.position() < search.end => {
                return Err(Status::unavailable("the events of the log are being numbered anew; ask again"));
            }
            Step::End => return Ok(None),
        }
    }
}

/// A search in a lane.
struct Search {
    reader: Reader,
    /// Where the lane ended when it began.
    end: u64,
    sieve: Sieve,
    sought: Sought,
}

/// What is looked for.
enum Sought {
    /// One of this time or a later one.
    Since(i64),
    /// The one with this identifier.
    Event(String),
}

/// What a step of a search came to.
enum Step {
    /// Its sequence and its time.
    Found(u64, i64),
    Again,
    End,
}

impl Search {
    fn new(log: &EventLog, lane: Lane, sieve: Sieve, sought: Sought) -> Search {
        let (first, end) = log.bounds(lane);
        Search { reader: log.reader(lane, first), end, sieve, sought }
    }

    /// Blocks on the disk.
    fn step(&mut self) -> Result<Step, LogError> {
        let position = self.reader.position();
        self.reader.until(self.end.min(position.saturating_add(SEARCH_SPAN)));
        let run = match self.reader.read_where(&self.sieve, SEARCH_EVENTS_MAX, SEARCH_BYTES_MAX)? {
            Read::Run(run) => run,
            Read::End if self.reader.position() == position => return Ok(Step::End),
            Read::Gap(_) | Read::End => return Ok(Step::Again),
        };
        let found = run.events().find_map(|stored| {
            let head = Head::read(&stored.event).ok().filter(|head| self.sought.is(head))?;
            Some(Step::Found(stored.sequence, head.timestamp))
        });
        Ok(found.unwrap_or(Step::Again))
    }
}

impl Sought {
    fn is(&self, head: &Head) -> bool {
        match self {
            Sought::Since(time) => head.timestamp >= *time,
            Sought::Event(id) => head.id.eq_ignore_ascii_case(id),
        }
    }
}
