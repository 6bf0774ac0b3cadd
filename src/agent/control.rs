//! Answers what a controller asks on the control stream: how the agent is doing, and which events it is to keep until the
//! next start.
//!
//! Takes orders from the uplink's control stream, one after the other. Whatever is not one of these is refused: nothing that
//! a controller names is ever run.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{
    config::{EventUpdate, FileEvents, Profile},
    config_change::{Known, changed, known},
};
use crate::{
    event::{Level, Metadata},
    event_log::EventLog,
    local_api::StatusSource,
    pipeline::{Emitter, Gate},
    schema::{
        document,
        events::{SystemConfigChangePayload, system_config_change_payload::SystemConfigOperation},
        local::STATUS,
    },
    sinks::{
        Threshold,
        uplink::control::{Demand, Order, Refusal},
    },
};

/// Orders that wait for an answer. The stream gives one at a time.
pub(super) const ORDERS_MAX: usize = 1;

/// The one command.
const SYSTEM_STATUS: &str = "system.status";

/// The one part of the configuration.
const EVENTS: &str = "events";

/// The most of a name that is repeated in an error, characters.
const NAME_SHOWN_MAX: usize = 60;

/// Whoever answers, and what it may turn.
pub(super) struct Desk {
    pub(super) status: StatusSource,
    pub(super) emitter: Emitter,
    pub(super) log: EventLog,
    pub(super) threshold: watch::Sender<Threshold>,
    pub(super) profile: watch::Sender<Profile>,
    pub(super) file: FileEvents,
}

impl Desk {
    /// Answers until `shutdown`, or until nobody asks any more.
    pub(super) async fn run(self, mut orders: mpsc::Receiver<Order>, shutdown: CancellationToken) {
        // What the files say: it is in force, so it is valid.
        let Ok(EventUpdate { records, .. }) = self.file.with(b"{}") else { return };
        let mut in_force = known(&records);
        while let Some(Some(order)) = shutdown.run_until_cancelled(orders.recv()).await {
            let Order { demand, controller, answer } = order;
            let outcome = match demand {
                Demand::Command(name) if name == SYSTEM_STATUS => self.tell_status().await,
                Demand::Command(name) => Err(unknown("command", &name, SYSTEM_STATUS)),
                Demand::Configure { part, settings } if part == EVENTS => {
                    self.configure(&settings, &controller, &mut in_force).await
                }
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

    async fn configure(&self, settings: &[u8], controller: &str, in_force: &mut Known) -> Result<Vec<u8>, Refusal> {
        let EventUpdate { settings, records } = self.file.with(settings).map_err(|details| Refusal {
            code: Code::InvalidArgument,
            message: "the settings are not valid; nothing has changed".to_owned(),
            details,
        })?;
        self.emitter.set_gate(Gate::new(&settings.levels, &settings.categories));
        self.log.set_memory(settings.buffer_size, settings.flush_threshold, settings.flush_interval);
        self.threshold
            .send_replace(Threshold { batch_size: settings.batch_size, batch_timeout: settings.batch_timeout });
        self.profile.send_replace(settings.profile);
        let now = known(&records);
        let keys: Vec<_> = changed(in_force, &now).into_values().flatten().collect();
        *in_force = now;
        if keys.is_empty() {
            return Ok(b"in force already".to_vec());
        }
        let text = keys.join(", ");
        tracing::info!(controller, keys = text, "the controller has changed settings, until the next start");
        let metadata: Metadata = [("component", "config"), ("action", "update"), ("controller", controller)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let payload = SystemConfigChangePayload {
            config_section: EVENTS.to_owned(),
            changed_keys: keys,
            operation: SystemConfigOperation::Updated.into(),
        };
        // Who leaves events out from afar cannot leave out that it was done.
        if let Err(error) = self.emitter.emit(Level::Essential, payload, metadata).await {
            tracing::warn!(%error, "that settings have changed is not in the log");
        }
        Ok(format!("in force until the next start: {text}").into_bytes())
    }
}

fn unknown(what: &str, name: &str, known: &str) -> Refusal {
    let name: String = name.chars().take(NAME_SHOWN_MAX).flat_map(char::escape_debug).collect();
    Refusal::new(Code::Unimplemented, format!("no {what} of this agent: `{name}`; known is `{known}`"))
}
