//! The control stream, as far as there is one yet: this controller has no commands, so it says of each message that it
//! was seen and what became of it, and keeps the stream open until the agent ends it or the controller stops.

use futures_util::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::schema::wire::{
    Acknowledgement, RodentRequest, ToggleRequest, rodent_request::Payload as Said, toggle_request::Payload as Answer,
};

/// The answers to what an agent says, one for one and in order.
pub(super) fn answers(
    said: Streaming<RodentRequest>,
    stopping: CancellationToken,
) -> impl Stream<Item = Result<ToggleRequest, Status>> + Send + 'static {
    said.map(|request| request.map(acknowledge)).take_until(stopping.cancelled_owned())
}

fn acknowledge(request: RodentRequest) -> ToggleRequest {
    let RodentRequest { request_id, payload } = request;
    let (success, message) = match payload {
        Some(Said::Event(_)) => (true, "seen; events are stored through SendEvents"),
        Some(Said::Ack(_)) => (true, ""),
        Some(Said::CommandResponse(_)) => (false, "no command waits for this answer"),
        None => (false, "the message has no payload that this controller knows"),
    };
    let ack = Acknowledgement { request_id: request_id.clone(), success, message: message.to_owned() };
    ToggleRequest { request_id, payload: Some(Answer::Ack(ack)) }
}
