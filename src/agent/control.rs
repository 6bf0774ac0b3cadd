//! Answers what a controller asks on the control stream: how the agent is doing, and which events it is to keep until its
//! files are read the next time.
//!
//! Takes orders from the uplink's control stream, one after the other. Whatever is not one of these, or not let by this node's
//! own files (`controller.may`), is refused: nothing that a controller names is ever run.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{
    config::{MAY_SET, MAY_STATUS},
    steering::Change,
};
use crate::{
    local_api::StatusSource,
    schema::{document, local::STATUS},
    sinks::uplink::control::{Demand, Order, OrderRefusal},
    visible::visible,
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
    /// What the controller may do here, as the files say.
    pub(super) may: watch::Receiver<Vec<String>>,
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
                Demand::Command(name) if name == SYSTEM_STATUS => match self.permit(MAY_STATUS) {
                    Ok(()) => self.tell_status().await,
                    Err(refusal) => Err(refusal),
                },
                Demand::Command(name) => Err(unknown("command", &name, SYSTEM_STATUS)),
                Demand::Configure { part, settings } if part == EVENTS => {
                    if let Err(refusal) = self.permit(MAY_SET) {
                        let _ = answer.send(Err(refusal));
                        continue;
                    }
                    // Who makes the change answers, and sees whether anybody still waits for it.
                    let change = Change::Update { settings, controller, answer };
                    if self.changes.send(change).await.is_err() {
                        return;
                    }
                    continue;
                }
                Demand::Configure { part, .. } => Err(unknown("settings", &part, EVENTS)),
            };
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }

    /// Whether this node's files let its controller do this.
    fn permit(&self, act: &str) -> Result<(), OrderRefusal> {
        let may = self.may.borrow();
        if may.iter().any(|own| own == act) {
            return Ok(());
        }
        let may = if may.is_empty() { "nothing".to_owned() } else { may.join(", ") };
        let message = format!(
            "this node lets its controller do {may}, and not {act}; its own administrator can, in `controller.may`"
        );
        Err(OrderRefusal::new(Code::PermissionDenied, message))
    }

    /// The bytes that `rodent status -o json` prints.
    async fn tell_status(&self) -> Result<Vec<u8>, OrderRefusal> {
        let source = Arc::clone(&self.status);
        let told = tokio::task::spawn_blocking(move || serde_json::to_vec_pretty(&document(STATUS, &source()))).await;
        match told {
            Ok(Ok(mut json)) => {
                json.push(b'\n');
                Ok(json)
            }
            _ => Err(OrderRefusal::new(Code::Internal, "the status cannot be put together")),
        }
    }
}

fn unknown(what: &str, name: &str, known: &str) -> OrderRefusal {
    let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
    let name = visible(&name);
    OrderRefusal::new(Code::Unimplemented, format!("no {what} of this agent: `{name}`; known is `{known}`"))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::schema::local::StatusResponse;

    fn may(words: &[&str]) -> watch::Receiver<Vec<String>> {
        watch::channel(words.iter().map(|word| (*word).to_owned()).collect()).1
    }

    #[tokio::test]
    async fn a_controller_does_only_what_the_files_of_this_node_let_it() {
        let settings = Demand::Configure { part: EVENTS.to_owned(), settings: b"{}".to_vec() };
        for (words, demand) in
            [(vec![MAY_STATUS, "doctor"], settings), (vec![MAY_SET], Demand::Command(SYSTEM_STATUS.into()))]
        {
            let (orders, given) = mpsc::channel(ORDERS_MAX);
            let (changes, mut asked) = mpsc::channel(1);
            let status: StatusSource = Arc::new(StatusResponse::default);
            let desk = Desk { may: may(&words), status, changes };
            let (answer, answered) = oneshot::channel();
            assert!(orders.send(Order { demand, controller: "c:1".to_owned(), answer }).await.is_ok());
            drop(orders);
            desk.run(given, CancellationToken::new()).await;
            assert!(asked.try_recv().is_err(), "it is made");
            let refusal = answered.await.expect("an answer").expect_err("not let");
            assert_eq!(refusal.code, Code::PermissionDenied, "{refusal:?}");
            assert!(refusal.message.contains("controller.may"), "{refusal:?}");
        }
    }

    #[tokio::test]
    async fn settings_that_nobody_waits_for_any_more_are_not_put_in_force() {
        let (orders, given) = mpsc::channel(ORDERS_MAX);
        let (changes, mut asked) = mpsc::channel(2);
        let status: StatusSource = Arc::new(StatusResponse::default);
        let desk = Desk { may: may(&[MAY_SET]), status, changes }.run(given, CancellationToken::new());
        let asking = async move {
            let mut waiting = Vec::new();
            for _ in 0..2 {
                let demand = Demand::Configure { part: EVENTS.to_owned(), settings: b"{}".to_vec() };
                let (answer, answered) = oneshot::channel();
                let order = Order { demand, controller: "c:1".to_owned(), answer };
                assert!(orders.send(order).await.is_ok(), "there is a desk");
                waiting.push(answered);
            }
            waiting
        };
        let ((), mut waiting) = tokio::join!(desk, asking);
        let (first, second) = (asked.recv().await.expect("a change"), asked.recv().await.expect("another"));
        assert!(first.is_wanted() && second.is_wanted());
        // Its controller was told that it took too long, or is no longer the one that is configured.
        waiting.remove(0);
        assert!(!first.is_wanted() && second.is_wanted());
    }
}
