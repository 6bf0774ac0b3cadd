//! Consumers of the log on demand: which there are, one again further back, one no more.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::Status;

use super::{
    StatusSource,
    consume::{find, status_of},
};
use crate::{
    consumers::programs::{Caller, Programs},
    event_log::{EventLog, Lane},
    schema::local::{
        ListConsumersRequest, ListConsumersResponse, ListedConsumer, RemoveConsumerRequest, RemoveConsumerResponse,
        RewindConsumerRequest, RewindConsumerResponse, Start, StatusResponse, own_name,
    },
};

/// What it answers from.
#[derive(Clone)]
pub(super) struct Consumers {
    pub(super) log: EventLog,
    pub(super) programs: Programs,
    pub(super) status: StatusSource,
}

impl Consumers {
    /// Blocking, as the status is.
    ///
    /// # Errors
    /// When there is none of the name that is asked for.
    pub(super) fn list(&self, request: &ListConsumersRequest) -> Result<ListConsumersResponse, Status> {
        let StatusResponse { consumers, log, .. } = (self.status)();
        let cursors = log.map(|log| log.cursors).unwrap_or_default();
        let asked = &request.consumer;
        let is_asked = |name: &str| asked.is_empty() || name == asked || own_name(name) == asked;
        let listed = consumers.into_iter().filter(|status| is_asked(&status.name)).map(|status| ListedConsumer {
            cursors: cursors.iter().filter(|cursor| cursor.name == status.name).cloned().collect(),
            status: Some(status),
        });
        let consumers: Vec<_> = listed.collect();
        if consumers.is_empty() && !asked.is_empty() {
            let asked = crate::visible::visible(asked);
            return Err(Status::not_found(format!("there is no consumer `{asked}`")));
        }
        Ok(ListConsumersResponse { consumers })
    }

    /// Whether it may be rewound now, before a place is looked for.
    ///
    /// # Errors
    /// When the caller may not, or a program is attached.
    pub(super) fn idle(&self, consumer: &str, caller: Caller) -> Result<(), Status> {
        self.programs.idle(consumer, caller).map_err(|error| status_of(&error))
    }

    /// Blocking.
    ///
    /// # Errors
    /// When the caller may not, or a program is attached.
    pub(super) fn rewind(
        &self,
        RewindConsumerRequest { consumer, dry_run, .. }: &RewindConsumerRequest,
        to: [u64; 2],
        caller: Caller,
    ) -> Result<RewindConsumerResponse, Status> {
        let rewind = |log: &EventLog, cursor: &str| {
            let events = Lane::ALL.into_iter().zip(to).map(|(lane, to)| {
                // What is gone of it does not come again.
                let from = to.max(log.bounds(lane).0);
                next(log, cursor, lane).saturating_sub(from)
            });
            let events = events.sum();
            if !dry_run {
                log.rewind(cursor, to);
            }
            events
        };
        let rewound = self.programs.change(consumer, caller, rewind);
        rewound.map(|events| RewindConsumerResponse { events }).map_err(|error| status_of(&error))
    }

    /// The sequences that a place stands for. May read the log, in its turns at the disk. Cancel safe.
    ///
    /// # Errors
    /// When it names none, or one that is not there.
    pub(super) async fn place(&self, slots: &Arc<Semaphore>, to: Option<&Start>) -> Result<[u64; 2], Status> {
        find(&self.log, slots, to.filter(|to| to.start.is_some()))
            .await?
            .ok_or_else(|| Status::invalid_argument("it is not said to where: name an event, a time, or the oldest"))
    }

    /// # Errors
    /// When the caller may not, or a program is attached.
    pub(super) fn remove(
        &self,
        request: &RemoveConsumerRequest,
        caller: Caller,
    ) -> Result<RemoveConsumerResponse, Status> {
        let RemoveConsumerRequest { consumer, dry_run } = request;
        let remove = |log: &EventLog, cursor: &str| {
            let events = log.cursors().iter().filter(|its| its.name == cursor).map(|its| its.lag_events).sum();
            if !dry_run {
                log.remove_consumer(cursor);
                tracing::info!(consumer = cursor, user = caller.uid, "a consumer is removed; nothing is kept for it");
            }
            events
        };
        let removed = self.programs.change(consumer, caller, remove);
        removed.map(|events| RemoveConsumerResponse { events }).map_err(|error| status_of(&error))
    }
}

fn next(log: &EventLog, cursor: &str, lane: Lane) -> u64 {
    let cursors = log.cursors().into_iter();
    cursors.filter(|its| its.name == cursor && its.lane == lane).map(|its| its.next_sequence).sum()
}
