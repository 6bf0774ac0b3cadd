//! The last events, as far as somebody can see them. The agent reads its log for whoever follows it, so what nobody could read
//! anyway is not asked for: beyond [`EVENTS_MAX`] an interval the stream is closed, and opened again at the newest.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    client::{Client, ClientError, Events, QueryResponse, StoredEvent, TailRequest},
    event::{EventView, Level, Manner, Summary},
    terminal::TimeZone,
};

/// Events that are taken in one interval.
const EVENTS_MAX: usize = 400;

/// Events that are kept: more than the rows of any terminal.
const KEPT_MAX: usize = 200;

/// Columns of a name: in 80 there is room for the words beside it.
const NAME_WIDTH: usize = 36;

/// Stored events that it begins with.
const BACKLOG: u32 = 60;

/// An event in a row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) time: i64,
    pub(super) level: Level,
    pub(super) text: String,
}

/// The last events.
#[derive(Default)]
pub(super) struct Feed {
    stream: Option<Events>,
    taken: usize,
    /// The last sequence of each lane, and of which epoch.
    last: BTreeMap<String, (String, u64)>,
    /// The newest last.
    pub(super) rows: VecDeque<Row>,
    /// Events in between that are not among the rows, because there were too many.
    pub(super) skipped: u64,
}

impl Feed {
    /// Opens what is followed.
    ///
    /// # Errors
    /// When the agent refuses; then it is tried again at the next interval.
    pub(super) async fn open(client: &Client) -> Result<Events, ClientError> {
        client.tail(TailRequest { backlog: BACKLOG, ..TailRequest::default() }).await
    }

    /// Whether the log is followed.
    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Begins an interval; from then on follows what has been opened for it, if anything.
    pub(super) fn begin(&mut self, opened: Option<Events>) {
        self.taken = 0;
        self.stream = opened.or_else(|| self.stream.take());
    }

    /// Stops following.
    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    /// Takes what comes next; waits for it, for ever where nothing is followed.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) {
        let Some(stream) = &mut self.stream else { return std::future::pending().await };
        match stream.next().await {
            Ok(Some(page)) => self.take(&page),
            // The agent has gone or stops; the status tells.
            Ok(None) | Err(_) => self.close(),
        }
        if self.taken >= EVENTS_MAX {
            self.close();
        }
    }

    fn take(&mut self, page: &QueryResponse) {
        self.skipped = self.skipped.saturating_add(page.missed);
        for stored in &page.events {
            self.taken += 1;
            if self.is_new(stored)
                && let Ok(event) = EventView::decode(&stored.event)
            {
                if self.rows.len() >= KEPT_MAX {
                    self.rows.pop_front();
                }
                self.rows.push_back(row(&event));
            }
        }
    }

    /// Whether it was not there before: the stream begins anew with events that are known. Counts those between.
    fn is_new(&mut self, stored: &StoredEvent) -> bool {
        let StoredEvent { lane, log_epoch, sequence, .. } = stored;
        let Some((epoch, last)) = self.last.get_mut(lane) else {
            self.last.insert(lane.clone(), (log_epoch.clone(), *sequence));
            return true;
        };
        if epoch != log_epoch {
            (*epoch, *last) = (log_epoch.clone(), *sequence);
            return true;
        }
        let is_new = *sequence > *last;
        if is_new {
            self.skipped = self.skipped.saturating_add(*sequence - *last - 1);
            *last = *sequence;
        }
        is_new
    }
}

fn row(event: &EventView) -> Row {
    let manner = Manner { times: TimeZone::Local.writer(), name_width: NAME_WIDTH };
    Row { time: event.timestamp(), level: event.level(), text: Summary::put(event, manner).text }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::schema::events::Event;

    fn page(sequences: impl IntoIterator<Item = u64>) -> QueryResponse {
        let stored = |sequence: u64| StoredEvent {
            event: Event { timestamp: 7, ..Event::default() }.encode_to_vec().into(),
            lane: "routine".to_owned(),
            sequence,
            log_epoch: "e".to_owned(),
        };
        QueryResponse { events: sequences.into_iter().map(stored).collect(), missed: 0, ..QueryResponse::default() }
    }

    #[test]
    fn a_stream_that_begins_anew_repeats_nothing_and_tells_how_many_it_left_out() {
        let mut feed = Feed::default();
        feed.take(&page(1..=3));
        assert_eq!((feed.rows.len(), feed.skipped), (3, 0));
        feed.take(&page(2..=5));
        assert_eq!((feed.rows.len(), feed.skipped), (5, 0));
        feed.take(&page(100..=101));
        assert_eq!((feed.rows.len(), feed.skipped), (7, 94));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut feed = Feed::default();
        feed.take(&page(1..=1_000));
        assert_eq!((feed.rows.len(), feed.taken), (KEPT_MAX, 1_000));
    }

    #[test]
    fn another_epoch_begins_its_own_count() {
        let mut feed = Feed::default();
        feed.take(&page(50..=51));
        let mut other = page(1..=1);
        other.events[0].log_epoch = "f".to_owned();
        feed.take(&other);
        assert_eq!((feed.rows.len(), feed.skipped), (3, 0));
    }
}
