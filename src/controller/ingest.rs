//! What agents send, checked and stored. Gets requests from `service`, gives batches to the store, and answers Ok only
//! when the store has them.
//!
//! Answers to a batch: UNAUTHENTICATED without a valid token; PERMISSION_DENIED when the batch names another node than
//! the token; INVALID_ARGUMENT when the batch is at fault, and the message says what; FAILED_PRECONDITION when its
//! numbers are taken by other events; RESOURCE_EXHAUSTED, with when to come back, when the node has had what the store
//! keeps of one; UNAVAILABLE when the store cannot write now. Nothing of a batch that is not
//! answered with success is stored — or all of it is, and the answer was lost: the repeat will be dropped.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tonic::{Status, codegen::http::HeaderMap};

use super::{
    batch::Batch,
    limits::{Limit, Reached},
    state::State,
    store::{Arrival, Numbering, Receipt, Record, Store, StoreError},
    token::{Keys, NodeIdentity},
};
use crate::{
    schema::wire::{EventBatch, EventBatchResponse, RegisterRequest, RegisterResponse},
    telemetry::ErrorChain,
};

/// What this controller understands beyond the published contract: it sorts by sequence, so that batches may overlap.
const DIALECT: u32 = 1;

const LANES: [&str; 2] = ["urgent", "routine"];

/// The longest epoch, bytes; agents send a UUID.
const EPOCH_BYTES_MAX: usize = 64;

/// When to come back whom the store has no place for: somebody has to look into it.
const FULL_WAIT: Duration = Duration::from_secs(600);

/// The entrance to a store.
pub(super) struct Ingest {
    keys: Keys,
    store: Arc<dyn Store>,
    state: Arc<State>,
}

impl Ingest {
    pub(super) fn new(keys: Keys, store: Arc<dyn Store>, state: Arc<State>) -> Ingest {
        Ingest { keys, store, state }
    }

    /// Who calls, by the bearer token among the headers.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<NodeIdentity, Status> {
        let header = headers.get("authorization").and_then(|value| value.to_str().ok());
        let scheme_and_token = header.and_then(|value| value.split_once(' '));
        let token =
            scheme_and_token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
        let token =
            token.ok_or_else(|| Status::unauthenticated("a call needs metadata `authorization: Bearer TOKEN`"))?;
        self.keys.verify(token.trim(), unix_ms() / 1000).map_err(|error| Status::unauthenticated(error.to_string()))
    }

    /// Notes that a node has introduced itself.
    pub(super) async fn register(
        &self,
        identity: &NodeIdentity,
        request: RegisterRequest,
    ) -> Result<RegisterResponse, Status> {
        self.seen(identity).await?;
        let troubles = request.system_info.map_or(0, |system| system.warnings.len() + system.errors.len());
        tracing::info!(node = identity.node, organisation = identity.organisation, troubles, "node registered");
        let message = format!("node {} is registered", identity.node);
        Ok(RegisterResponse { success: true, message, ..RegisterResponse::default() })
    }

    /// Notes that a node was heard of.
    pub(super) async fn seen(&self, identity: &NodeIdentity) -> Result<(), Status> {
        self.store(arrival(identity, None, Vec::new())).await.map(|_| ())
    }

    /// Stores a batch.
    pub(super) async fn take(&self, identity: &NodeIdentity, batch: Batch) -> Result<EventBatchResponse, Status> {
        let Batch { head, events } = batch;
        check_sender(identity, &head)?;
        let numbering = check_numbering(&head, events.len())?;
        // Decoding ten thousand events takes longer than an async thread may be held.
        let records = tokio::task::spawn_blocking(move || read_records(events))
            .await
            .map_err(|_| Status::internal("reading the events was interrupted"))??;
        if numbering.is_none() {
            check_identifiers(&records)?;
        }
        let message = self.store(arrival(identity, numbering, records)).await?;
        Ok(EventBatchResponse { success: true, message, retry_after_ms: 0, dialect: DIALECT })
    }

    async fn store(&self, arrival: Arrival) -> Result<String, Status> {
        let node = arrival.node.clone();
        let begun = Instant::now();
        let stored = self.store.store(arrival).await;
        self.note(&stored, begun);
        let receipt = stored.map_err(|error| self.refused(&node, &error))?;
        Ok(format!("{} stored, {} repeated", receipt.stored, receipt.repeated))
    }

    fn refused(&self, node: &str, error: &StoreError) -> Status {
        let limit = match error {
            StoreError::Fork { .. } => {
                tracing::warn!(node, error = %error, "batch refused");
                return Status::failed_precondition(error.to_string());
            }
            StoreError::Closed => return Status::unavailable("the controller is shutting down"),
            StoreError::TooManyEpochs => Limit::Epochs,
            StoreError::NodeFull => Limit::Stored,
            StoreError::Scarce => Limit::Reserve,
            // The caller gets no paths of this machine; the store has told its own log.
            _ => {
                tracing::debug!(node, error = %ErrorChain(error), "batch refused");
                return Status::unavailable("the controller's store cannot write now");
            }
        };
        tracing::warn!(node, error = %error, "batch refused");
        self.state.limited(Reached { limit, after: FULL_WAIT })
    }

    fn note(&self, stored: &Result<Receipt, StoreError>, begun: Instant) {
        let State { metrics, pressure, .. } = &*self.state;
        let now = Instant::now();
        metrics.store_time.observe(now.saturating_duration_since(begun));
        pressure.note(!matches!(stored, Err(error) if error.is_of_store()), now);
        match stored {
            Ok(receipt) => {
                metrics.events_stored.add(receipt.stored as u64);
                metrics.events_repeated.add(receipt.repeated as u64);
            }
            Err(StoreError::Fork { .. }) => metrics.forks.add(1),
            Err(error) if error.is_of_store() => metrics.store_failures.add(1),
            // A limit of the node: counted when it is told.
            Err(_) => {}
        }
    }
}

fn arrival(identity: &NodeIdentity, numbering: Option<Numbering>, records: Vec<Record>) -> Arrival {
    let NodeIdentity { node, organisation, .. } = identity.clone();
    Arrival { node, organisation, numbering, records, received_at: unix_ms() }
}

fn check_sender(identity: &NodeIdentity, head: &EventBatch) -> Result<(), Status> {
    if head.node_id.is_empty() || head.node_id == identity.node {
        return Ok(());
    }
    let message = format!("the batch is of node {:?}, the token of node {:?}", head.node_id, identity.node);
    Err(Status::permission_denied(message))
}

/// The numbers of the batch; none when it carries no epoch.
fn check_numbering(head: &EventBatch, count: usize) -> Result<Option<Numbering>, Status> {
    let EventBatch { lane, log_epoch, first_sequence: first, last_sequence: last, .. } = head;
    let numbered = !log_epoch.is_empty();
    if log_epoch.len() > EPOCH_BYTES_MAX || !log_epoch.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message =
            format!("log_epoch must be at most {EPOCH_BYTES_MAX} printable characters of ASCII, without blanks");
        return Err(Status::invalid_argument(message));
    }
    if !LANES.contains(&lane.as_str()) && (numbered || !lane.is_empty()) {
        return Err(Status::invalid_argument(format!("lane {lane:?} is neither `urgent` nor `routine`")));
    }
    if (*first, *last) == (0, 0) && (count == 0 || !numbered) {
        return Ok(None);
    }
    let numbering = Numbering::new(log_epoch, lane, *first, *last).filter(|n| n.count() == count as u64);
    match numbering {
        Some(numbering) => Ok(numbered.then_some(numbering)),
        None => {
            let message = format!("sequences {first} to {last} do not number {count} events from 1 upwards");
            Err(Status::invalid_argument(message))
        }
    }
}

fn read_records(events: Vec<Bytes>) -> Result<Vec<Record>, Status> {
    let read = |(index, bytes)| {
        Record::read(bytes)
            .map_err(|error| Status::invalid_argument(format!("event {index} of the batch: {}", ErrorChain(&error))))
    };
    events.into_iter().enumerate().map(read).collect()
}

fn check_identifiers(records: &[Record]) -> Result<(), Status> {
    match records.iter().position(|record| record.id.is_empty()) {
        None => Ok(()),
        Some(index) => Err(Status::invalid_argument(format!(
            "event {index} of the batch has no event_id, and the batch no log_epoch: a repeat of it could not be told"
        ))),
    }
}

/// Unix milliseconds by this machine's clock; 0 before 1970.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
