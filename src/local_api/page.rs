//! Events of both lanes on their way to a reader, in pages that are bounded in events and bytes.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tonic::Status;

use super::wanted::{Order, Wanted};
use crate::{
    event_log::{Lane, LogError, Run},
    schema::local::{QueryResponse, StoredEvent},
    telemetry::ErrorChain,
};

pub(super) const PAGE_EVENTS_MAX: usize = 256;

/// Bytes of one page, but for its last event.
pub(super) const PAGE_BYTES_MAX: usize = 256 * 1024;

/// An event that a reader wants.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) order: Order,
    pub(super) lane: Lane,
    pub(super) epoch: uuid::Uuid,
    pub(super) sequence: u64,
    pub(super) event: Bytes,
}

/// What a step of reading came to.
#[derive(Debug)]
pub(super) enum Step {
    Page(QueryResponse),
    /// Nothing to show yet; go on.
    Again,
    /// Nothing is left to read for now.
    End,
}

/// Those events of a run that are wanted.
pub(super) fn items<'a>(run: &'a Run, wanted: &'a Wanted) -> impl Iterator<Item = Item> + 'a {
    run.events().filter_map(|stored| {
        let order = wanted.order_of(&stored.event)?;
        Some(Item { order, lane: run.lane, epoch: run.epoch, sequence: stored.sequence, event: stored.event })
    })
}

/// The lane whose next event comes first; never changes the order inside a lane.
pub(super) fn first_of<'a>(lanes: impl IntoIterator<Item = &'a mut VecDeque<Item>>) -> Option<&'a mut VecDeque<Item>> {
    lanes.into_iter().filter(|lane| !lane.is_empty()).min_by_key(|lane| lane.front().map(|item| item.order))
}

/// Adds an event to a page. Returns whether there is room for another.
pub(super) fn add(page: &mut QueryResponse, bytes: &mut usize, item: Item) -> bool {
    *bytes += item.event.len();
    page.events.push(StoredEvent {
        event: item.event,
        lane: item.lane.name().to_owned(),
        sequence: item.sequence,
        log_epoch: item.epoch.to_string(),
    });
    page.events.len() < PAGE_EVENTS_MAX && *bytes < PAGE_BYTES_MAX
}

/// Runs a step of reading away from the async threads, as soon as one of the `slots` is free.
pub(super) async fn on_disk<T: Send + 'static, S: Send + 'static>(
    slots: &Arc<Semaphore>,
    mut reading: T,
    step: fn(&mut T) -> Result<S, LogError>,
) -> Result<(T, S), Status> {
    let slot = slots.clone().acquire_owned().await;
    let done = tokio::task::spawn_blocking(move || {
        let step = step(&mut reading);
        drop(slot);
        (reading, step)
    });
    let (reading, step) = done.await.map_err(|_| Status::internal("the reader of the log has stopped"))?;
    match step {
        Ok(step) => Ok((reading, step)),
        Err(error) => {
            let error = ErrorChain(&error).to_string();
            tracing::warn!(error, "the log could not be read for a local client");
            Err(Status::internal(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::schema::events::Event;

    fn lane(lane: Lane, times: &[i64]) -> VecDeque<Item> {
        let wanted = Wanted::parse(&[], 0, 0).expect("no conditions");
        let item = |(sequence, &timestamp): (u64, &i64)| {
            let event = Bytes::from(Event { timestamp, ..Default::default() }.encode_to_vec());
            let order = wanted.order_of(&event).expect("wanted");
            Item { order, lane, epoch: uuid::Uuid::nil(), sequence, event }
        };
        (1..).zip(times).map(item).collect()
    }

    #[test]
    fn lanes_are_merged_by_time_and_keep_their_own_order() {
        // The clock of the routine lane was set back after its second event.
        let mut lanes = [lane(Lane::Urgent, &[5, 25, 45]), lane(Lane::Routine, &[10, 40, 20, 50])];
        let mut merged = Vec::new();
        while let Some(lane) = first_of(&mut lanes) {
            let item = lane.pop_front().expect("not empty");
            merged.push((item.lane, item.sequence));
        }
        use Lane::{Routine, Urgent};
        assert_eq!(
            merged,
            [(Urgent, 1), (Routine, 1), (Urgent, 2), (Routine, 2), (Routine, 3), (Urgent, 3), (Routine, 4)]
        );
    }

    #[test]
    fn a_page_is_full_at_its_bound_of_events_or_of_bytes() {
        let item = |bytes: usize| Item {
            order: Order::default(),
            lane: Lane::Routine,
            epoch: uuid::Uuid::nil(),
            sequence: 1,
            event: Bytes::from(vec![0; bytes]),
        };
        let (mut page, mut bytes) = (QueryResponse::default(), 0);
        while add(&mut page, &mut bytes, item(10)) {}
        assert_eq!(page.events.len(), PAGE_EVENTS_MAX);
        let (mut page, mut bytes) = (QueryResponse::default(), 0);
        while add(&mut page, &mut bytes, item(16 * 1024)) {}
        assert_eq!(page.events.len(), PAGE_BYTES_MAX / (16 * 1024));
    }
}
