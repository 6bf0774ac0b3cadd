//! The first call on a new connection: the node registers, and learns what the controller issues and accepts.

use std::sync::Arc;

use super::{
    Registration, Uplink,
    answer::{Answer, Asked, classify},
    connection::Connection,
    credentials::Proof,
    failure::{Failure, Reason},
    link::guarded,
};
use crate::{sinks::Compression, telemetry::ErrorChain};

impl Uplink {
    /// A registered connection, and how the controller wants its batches, if it says.
    pub(super) async fn try_connect(&mut self, proof: &Proof) -> Result<(Connection, Option<Compression>), Failure> {
        // Finding the controller, and agreeing on TLS.
        self.pulse.wait(self.patience.connect_timeout() * 2);
        let connection = Connection::open(&self.settings.address, proof, &self.patience)
            .await
            .map_err(|error| Failure::retry(ErrorChain(&error).to_string()))?;
        let system_info = Arc::clone(&self.surroundings.system_info);
        let measuring = tokio::task::spawn_blocking(move || system_info());
        let system_info = self.pulse.await_disk(measuring).await.unwrap_or_default();
        self.pulse.wait(self.patience.call_timeout);
        match guarded(connection.register(&proof.token.header, system_info)).await.unwrap_or_else(Err) {
            Ok((Some(response), _)) if !response.success => {
                let error = format!("the controller does not register this node: {}", response.message);
                Err(Failure { reason: Reason::Refused, ..Failure::hold(error) })
            }
            Ok((response, accepts)) => {
                let response = response.unwrap_or_default();
                self.pulse.await_disk(self.credentials.keep(&response)).await;
                self.state.registered(Registration {
                    claims: proof.token.claims.clone(),
                    domain: response.domain,
                    expires_on: response.expires_on,
                    controller: self.settings.address.clone(),
                });
                Ok((connection, accepts))
            }
            Err(status) => {
                let asked = Asked { events: 1, compressed: false, strained: 0 };
                let outcome = Err(status);
                let answer = match classify(&outcome, asked) {
                    Answer::Retry(after) => Answer::Retry(after),
                    _ => Answer::Hold,
                };
                Err(Failure::of("register: ", answer, &outcome, connection.refusal()))
            }
        }
    }
}
