//! Events as they become durable, after stored ones: the newest so many, or all from a moment on.
//!
//! A tail is a reader without a cursor that reads only when its client has taken the last page. The log does not wait
//! for it: what retention removed before a slow client came to it is told as missed.

use std::collections::VecDeque;

use futures_util::{Stream, stream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    page::{self, PAGE_BYTES_MAX, PAGE_EVENTS_MAX, Step},
    query::{Query, Telling},
    shares::ReaderPlace,
    wanted::Wanted,
};
use crate::{
    event_log::{EventLog, Lane, LogError, Read, Reader},
    schema::local::QueryResponse,
};

/// Events that one step passes over at most.
const STEP_MAX: u64 = 65_536;

/// A tail in progress.
pub(super) struct Tail {
    /// Until it has been shown.
    backlog: Option<Query>,
    telling: Telling,
    lanes: Vec<Following>,
    /// Of what was stored when it began.
    stored: Wanted,
    /// Of what has come since: its time plays no part, for a clock may have been set back.
    coming: Wanted,
}

struct Following {
    reader: Reader,
    /// Where the lane ended when the tail began.
    end: u64,
    ready: VecDeque<page::Item>,
}

/// The stream of pages; ends only with an error, or with `shutdown`. The place is held until then.
pub(super) fn pages(
    tail: Tail,
    place: ReaderPlace,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<QueryResponse, Status>> {
    stream::unfold(Some((tail, place, shutdown)), |state| async move {
        let (mut tail, place, shutdown) = state?;
        loop {
            let step;
            (tail, step) = match page::on_disk(&place.slots, tail, Tail::step).await {
                Ok(done) => done,
                Err(status) => return Some((Err(status), None)),
            };
            match step {
                Step::Page(page) => return Some((Ok(page), Some((tail, place, shutdown)))),
                Step::Again => {}
                Step::End => tokio::select! {
                    () = tail.ready() => {}
                    () = shutdown.cancelled() => return Some((Err(Status::unavailable("the agent is stopping")), None)),
                },
            }
        }
    })
}

impl Tail {
    /// The newest `backlog` events, then everything behind them.
    pub(super) fn new(log: &EventLog, wanted: Wanted, backlog: u32, telling: Telling) -> Tail {
        let backlog = Query::new(log.clone(), wanted.clone(), backlog);
        // From where the backlog ends, so that no event is shown twice or never.
        let follow = |(lane, end)| Following { reader: log.reader(lane, end), end, ready: VecDeque::new() };
        let lanes = backlog.ends().map(follow).collect();
        Tail { backlog: Some(backlog), telling, lanes, coming: wanted.at_any_time(), stored: wanted }
    }

    /// All stored events that are wanted, then everything behind them.
    pub(super) fn of_all(log: &EventLog, wanted: Wanted) -> Tail {
        let follow = |lane| {
            let (first, end) = log.bounds(lane);
            Following { reader: log.reader(lane, first), end, ready: VecDeque::new() }
        };
        let lanes = Lane::ALL.into_iter().map(follow).collect();
        Tail { backlog: None, telling: Telling::new(false), lanes, coming: wanted.at_any_time(), stored: wanted }
    }

    /// One step of reading. Blocks on the disk.
    fn step(&mut self) -> Result<Step, LogError> {
        if let Some(backlog) = &mut self.backlog {
            match backlog.step()? {
                Step::End => self.backlog = None,
                Step::Again if self.telling.is_due() => {
                    return Ok(backlog.progress().map_or(Step::Again, Step::Page));
                }
                step => return Ok(step),
            }
        }
        let (mut page, mut bytes, mut idle) = (QueryResponse::default(), 0, true);
        for lane in self.lanes.iter_mut().filter(|lane| lane.ready.is_empty()) {
            let position = lane.reader.position();
            let (wanted, border) = match lane.stored_left() {
                0 => (&self.coming, u64::MAX),
                _ => (&self.stored, lane.end),
            };
            lane.reader.until(border.min(position.saturating_add(STEP_MAX)));
            match lane.reader.read_where(wanted.sieve(), PAGE_EVENTS_MAX, PAGE_BYTES_MAX)? {
                Read::Run(run) => lane.ready.extend(page::items(&run, wanted)),
                Read::Gap(gap) => page.missed += gap.to.saturating_sub(gap.from),
                Read::End if lane.reader.position() > position => {}
                Read::End => continue,
            }
            idle = false;
        }
        // What is stored comes in the order of time: a lane of which nothing is ready yet may hold what comes first.
        while !self.lanes.iter().any(Following::is_behind)
            && let Some(item) =
                page::first_of(self.lanes.iter_mut().map(|lane| &mut lane.ready)).and_then(VecDeque::pop_front)
        {
            if !page::add(&mut page, &mut bytes, item) {
                break;
            }
        }
        Ok(match page == QueryResponse::default() {
            false => Step::Page(page),
            true if idle => Step::End,
            true => Step::Again,
        })
    }

    /// Waits until one of the lanes has something new. Cancel safe.
    async fn ready(&self) {
        let mut lanes: Vec<_> = self.lanes.iter().map(|lane| Box::pin(lane.reader.ready())).collect();
        std::future::poll_fn(|cx| match lanes.iter_mut().any(|lane| lane.as_mut().poll(cx).is_ready()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
        .await;
    }
}

impl Following {
    /// Events between the reader and where the lane ended when the tail began.
    fn stored_left(&self) -> usize {
        usize::try_from(self.end.saturating_sub(self.reader.position())).unwrap_or(usize::MAX)
    }

    fn is_behind(&self) -> bool {
        self.ready.is_empty() && self.stored_left() > 0
    }
}
