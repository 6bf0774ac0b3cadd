//! Tells once, as an event, that a controller has taken this node.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    event::{Level, Metadata},
    pipeline::{Emitter, Memory},
    schema::events::SystemRegistrationPayload,
    sinks::uplink::Registration,
};

/// What is remembered of the last one: node, organisation, controller, domain.
type Known = (String, String, String, String);

/// Emits `system.registration` when the node is registered as another one than before, or elsewhere.
pub(super) async fn report(
    mut registrations: watch::Receiver<Option<Registration>>,
    emitter: Emitter,
    memory: Memory,
    shutdown: CancellationToken,
) {
    let recalling = memory.clone();
    let mut known: Option<Known> = tokio::task::spawn_blocking(move || recalling.recall()).await.ok().flatten();
    loop {
        let registration = registrations.borrow_and_update().clone();
        if let Some(registration) = registration {
            let now = known_of(&registration);
            if known.as_ref() != Some(&now) {
                match emitter.emit(Level::Info, payload(registration), metadata()).await {
                    Ok(_) => {
                        memory.remember(&now);
                        known = Some(now);
                    }
                    Err(error) => tracing::warn!(%error, "that a controller has taken this node is not in the log"),
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            Ok(()) = registrations.changed() => {}
        }
    }
}

fn known_of(registration: &Registration) -> Known {
    let Registration { claims, domain, controller, .. } = registration;
    (claims.rid.clone().unwrap_or_default(), claims.sub.clone().unwrap_or_default(), controller.clone(), domain.clone())
}

fn payload(registration: Registration) -> SystemRegistrationPayload {
    let Registration { claims, domain, expires_on, .. } = registration;
    SystemRegistrationPayload {
        rodent_id: claims.rid.unwrap_or_default(),
        organization_id: claims.sub.unwrap_or_default(),
        registered_at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        toggle_domain: domain,
        certificate_expires: expires_on,
        is_private_network: claims.prv.unwrap_or_default(),
        registration_type: "token".to_owned(),
    }
}

fn metadata() -> Metadata {
    [("component", "uplink"), ("action", "register")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}
