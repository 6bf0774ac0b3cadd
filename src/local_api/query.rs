//! The newest events that match, oldest first, without holding them: a search walks both lanes from their ends
//! backwards in growing steps and remembers only sequences; then these are read forwards, page by page.
//!
//! What retention removes in between is counted as missed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use tonic::Status;

use super::{
    page::{self, Item, PAGE_BYTES_MAX, PAGE_EVENTS_MAX, Step},
    shares::ReaderPlace,
    wanted::{Order, Wanted},
};
use crate::{
    event_log::{EventLog, Lane, LogError, Read, Reader},
    schema::local::QueryResponse,
};

/// Events of a query that names no number.
pub(super) const LIMIT_DEFAULT: u32 = 20;

/// The most events of one query; more are asked for with `until`.
pub(super) const LIMIT_MAX: u32 = 10_000;

/// Events that the search looks at in its first step backwards in a lane, and in its largest.
const STEP_MIN: u64 = 256;
const STEP_MAX: u64 = 8_192;

/// Bytes that one read of the search may bring into memory.
const SEARCH_BYTES_MAX: usize = 1024 * 1024;

/// How often it is said how far a search is.
const TELLING_INTERVAL: Duration = Duration::from_millis(500);

/// Events that are read over on the way to the next one that was found; a new reader is made for a longer way.
const SKIP_MAX: u64 = 4_096;

/// A query in progress.
pub(super) struct Query {
    log: EventLog,
    wanted: Wanted,
    ends: [(Lane, u64); 2],
    /// Stored events, all of which may have to be looked at.
    stored: u64,
    stage: Stage,
}

/// Whether and when somebody wants to hear how far a search is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    /// `None` where nobody does.
    told_at: Option<Instant>,
}

impl Telling {
    pub(super) fn new(is_wanted: bool) -> Telling {
        Telling { told_at: is_wanted.then(Instant::now) }
    }

    /// Once in an interval.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let Some(told_at) = self.told_at.as_mut().filter(|at| now.saturating_duration_since(**at) >= TELLING_INTERVAL)
        else {
            return false;
        };
        *told_at = now;
        true
    }
}

enum Stage {
    Search { left: u32, lanes: Vec<Backward> },
    Playback(Vec<Forward>),
}

/// A lane that is searched from its end.
struct Backward {
    lane: Lane,
    first: u64,
    /// Everything from here on has been looked at.
    end: u64,
    step: u64,
    /// What the last step found, oldest first.
    found: Vec<(Order, u64)>,
    /// Sequences that the query will show, oldest first.
    chosen: VecDeque<u64>,
}

/// A lane whose chosen events are read.
struct Forward {
    lane: Lane,
    reader: Option<Reader>,
    chosen: VecDeque<u64>,
    ready: VecDeque<Item>,
    missed: u64,
}

/// The stream of pages, with its progress between them where that is wanted. The place is held until the stream ends.
pub(super) fn pages(
    query: Query,
    telling: Telling,
    place: ReaderPlace,
) -> impl Stream<Item = Result<QueryResponse, Status>> {
    stream::unfold(Some((query, telling, place)), |state| async move {
        let (mut query, mut telling, place) = state?;
        loop {
            match page::on_disk(&place.slots, query, Query::step).await {
                Ok((next, Step::Again)) => match next.progress().filter(|_| telling.is_due()) {
                    Some(progress) => return Some((Ok(progress), Some((next, telling, place)))),
                    None => query = next,
                },
                Ok((next, Step::Page(page))) => return Some((Ok(page), Some((next, telling, place)))),
                Ok((_, Step::End)) => return None,
                Err(status) => return Some((Err(status), None)),
            }
        }
    })
}

impl Query {
    /// The newest `limit` events of what is durable now.
    pub(super) fn new(log: EventLog, wanted: Wanted, limit: u32) -> Query {
        let lanes = Lane::ALL.map(|lane| {
            let (first, end) = log.bounds(lane);
            Backward { lane, first, end, step: STEP_MIN, found: Vec::new(), chosen: VecDeque::new() }
        });
        let ends = lanes.each_ref().map(|lane| (lane.lane, lane.end));
        let stored = lanes.iter().map(Backward::left).sum();
        Query { log, wanted, ends, stored, stage: Stage::Search { left: limit, lanes: lanes.into() } }
    }

    /// Where each lane ended when the query was made.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Lane, u64)> {
        self.ends.into_iter()
    }

    /// How far the search is; nothing when it is done.
    pub(super) fn progress(&self) -> Option<QueryResponse> {
        let Stage::Search { lanes, .. } = &self.stage else { return None };
        let left: u64 = lanes.iter().map(Backward::left).sum();
        Some(QueryResponse {
            looked_at: self.stored.saturating_sub(left),
            to_look_at: self.stored,
            ..QueryResponse::default()
        })
    }

    /// One step of searching or reading. Blocks on the disk.
    pub(super) fn step(&mut self) -> Result<Step, LogError> {
        match &mut self.stage {
            Stage::Search { left, lanes } => {
                if search(&self.log, &self.wanted, left, lanes)? {
                    self.stage = Stage::Playback(lanes.drain(..).map(Forward::new).collect());
                }
                Ok(Step::Again)
            }
            Stage::Playback(lanes) => play(&self.log, &self.wanted, lanes),
        }
    }
}

/// Takes found events, newest first, until it has to read a step or is done. Returns whether it is done.
fn search(log: &EventLog, wanted: &Wanted, left: &mut u32, lanes: &mut [Backward]) -> Result<bool, LogError> {
    while *left > 0 {
        // Only when each lane shows its newest can be said which is newer.
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.found.is_empty() && lane.end > lane.first) {
            lane.look_back(log, wanted)?;
            return Ok(false);
        }
        let newest =
            lanes.iter_mut().filter(|lane| !lane.found.is_empty()).max_by_key(|lane| lane.found.last().copied());
        let Some(lane) = newest else { return Ok(true) };
        if let Some((_, sequence)) = lane.found.pop() {
            lane.chosen.push_front(sequence);
        }
        *left -= 1;
    }
    Ok(true)
}

fn play(log: &EventLog, wanted: &Wanted, lanes: &mut [Forward]) -> Result<Step, LogError> {
    let (mut page, mut bytes, mut room) = (QueryResponse::default(), 0, true);
    while room {
        for lane in lanes.iter_mut() {
            lane.fill(log, wanted)?;
        }
        let next = page::first_of(lanes.iter_mut().map(|lane| &mut lane.ready)).and_then(VecDeque::pop_front);
        let Some(item) = next else { break };
        room = page::add(&mut page, &mut bytes, item);
    }
    page.missed = lanes.iter_mut().map(|lane| std::mem::take(&mut lane.missed)).sum();
    Ok(if page == QueryResponse::default() { Step::End } else { Step::Page(page) })
}

impl Backward {
    /// Events that have not been looked at.
    fn left(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    fn look_back(&mut self, log: &EventLog, wanted: &Wanted) -> Result<(), LogError> {
        let start = self.end.saturating_sub(self.step).max(self.first);
        let mut reader = log.reader(self.lane, start);
        reader.until(self.end);
        loop {
            let events = usize::try_from(self.end - start).unwrap_or(usize::MAX);
            match reader.read_where(wanted.sieve(), events, SEARCH_BYTES_MAX)? {
                Read::Run(run) => self.found.extend(page::items(&run, wanted).map(|item| (item.order, item.sequence))),
                Read::Gap(_) => {}
                Read::End => break,
            }
        }
        self.end = start;
        self.step = (self.step * 2).min(STEP_MAX);
        Ok(())
    }
}

impl Forward {
    fn new(searched: Backward) -> Forward {
        Forward { lane: searched.lane, reader: None, chosen: searched.chosen, ready: VecDeque::new(), missed: 0 }
    }

    /// Reads on until the next chosen event is ready.
    fn fill(&mut self, log: &EventLog, wanted: &Wanted) -> Result<(), LogError> {
        while self.ready.is_empty()
            && let (Some(&next), Some(&last)) = (self.chosen.front(), self.chosen.back())
        {
            let near = |reader: &Reader| reader.position() <= next && next - reader.position() <= SKIP_MAX;
            let mut reader = self.reader.take().filter(near).unwrap_or_else(|| log.reader(self.lane, next));
            let events =
                usize::try_from(last.saturating_sub(reader.position())).unwrap_or(usize::MAX).saturating_add(1);
            match reader.read(events.min(PAGE_EVENTS_MAX), PAGE_BYTES_MAX)? {
                Read::Run(run) => page::items(&run, wanted).for_each(|item| self.take(item)),
                Read::Gap(gap) => self.miss_until(gap.to),
                Read::End => self.miss_until(u64::MAX),
            }
            self.reader = Some(reader);
        }
        Ok(())
    }

    fn take(&mut self, item: Item) {
        self.miss_until(item.sequence);
        if self.chosen.front() == Some(&item.sequence) {
            self.chosen.pop_front();
            self.ready.push_back(item);
        }
    }

    fn miss_until(&mut self, sequence: u64) {
        while self.chosen.front().is_some_and(|&chosen| chosen < sequence) {
            self.chosen.pop_front();
            self.missed += 1;
        }
    }
}
