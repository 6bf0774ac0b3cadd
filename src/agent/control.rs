//! Answers what a controller asks on the control stream: how the agent is doing, and which events it is to keep until its
//! files are read the next time.
//!
//! Takes orders from the uplink's control stream, one after the other. Whatever is not one of these is refused: nothing that
//! a controller names is ever run.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::steering::Change;
use crate::{
    local_api::StatusSource,
    schema::{document, local::STATUS},
    sinks::uplink::control::{Demand, Order, Refusal},
};

/// Orders that wait for an answer. The stream gives one at a time.
pub(super) const ORDERS_MAX: usize = 1;

/// The one command.
const SYSTEM_STATUS: &str = "system.status";

/// The one part of the configuration.
const EVENTS: &str = "events";

/// The most of a name that is repeated in an error, characters.
const NAME_SHOWN_MAX: usize = 60;

/// Whoever answers.
pub(super) struct Desk {
    pub(super) status: StatusSource,
    /// Takes settings.
    pub(super) changes: mpsc::Sender<Change>,
}

impl Desk {
    /// Answers until `shutdown`, or until nobody asks any more.
    pub(super) async fn run(self, mut orders: mpsc::Receiver<Order>, shutdown: CancellationToken) {
        while let Some(Some(order)) = shutdown.run_until_cancelled(orders.recv()).await {
            let Order { demand, controller, answer } = order;
            let outcome = match demand {
                Demand::Command(name) if name == SYSTEM_STATUS => self.tell_status().await,
                Demand::Command(name) => Err(unknown("command", &name, SYSTEM_STATUS)),
                Demand::Configure { part, settings } if part == EVENTS => self.configure(settings, controller).await,
                Demand::Configure { part, .. } => Err(unknown("settings", &part, EVENTS)),
            };
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }

    /// The bytes that `rodent status -o json` prints.
    async fn tell_status(&self) -> Result<Vec<u8>, Refusal> {
        let source = Arc::clone(&self.status);
        let told = tokio::task::spawn_blocking(move || serde_json::to_vec_pretty(&document(STATUS, &source()))).await;
        match told {
            Ok(Ok(mut json)) => {
                json.push(b'\n');
                Ok(json)
            }
            _ => Err(Refusal::new(Code::Internal, "the status cannot be put together")),
        }
    }

    async fn configure(&self, settings: Vec<u8>, controller: String) -> Result<Vec<u8>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let stopping = || Refusal::new(Code::Unavailable, "the agent is stopping");
        self.changes.send(Change::Update { settings, controller, answer }).await.map_err(|_| stopping())?;
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }
}

fn unknown(what: &str, name: &str, known: &str) -> Refusal {
    let name: String = name.chars().take(NAME_SHOWN_MAX).flat_map(char::escape_debug).collect();
    Refusal::new(Code::Unimplemented, format!("no {what} of this agent: `{name}`; known is `{known}`"))
}
