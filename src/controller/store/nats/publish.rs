//! Writing: the events of a batch side by side, each a message, and Ok when the servers have acknowledged the last.

use std::sync::Arc;

use async_nats::{
    connection::State,
    jetstream::{message::PublishMessage, publish::PublishAck},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Away, NatsStore,
    message::{self, Envelope},
    refused,
};
use crate::{
    controller::store::{Arrival, ArrivedEvent, Receipt, StoreError},
    event::json::Place,
};

/// Messages of one batch that are under way at once. Many batches are, too; one alone gains nothing beyond this.
const UNDER_WAY_MAX: usize = 512;

impl NatsStore {
    /// Stores a batch. Of one that is refused, a part may be stored.
    pub(super) async fn publish(&self, arrival: &Arrival) -> Result<Receipt, StoreError> {
        // What is sent now would wait for the servers' return, and be sent by the agent once more.
        if self.connection.client.connection_state() != State::Connected {
            return Err(refused("write to")(Away));
        }
        let prefix = self.connection.prefix.as_str();
        if arrival.records.is_empty() {
            self.send(Envelope::of_seen(prefix, arrival), Bytes::new()).await?;
            return Ok(Receipt::default());
        }
        let sending =
            (0..arrival.records.len()).zip(arrival.records.iter().cloned()).map(|(index, record)| async move {
                self.send(Envelope::of_event(prefix, arrival, index, &record), record.bytes).await
            });
        let acks: Vec<PublishAck> = stream::iter(sending).buffered(UNDER_WAY_MAX).try_collect().await?;
        self.refuse_fork(arrival, &acks).await?;
        let repeated = acks.iter().filter(|ack| ack.duplicate).count();
        if self.tail.is_followed() {
            self.tell(arrival, &acks);
        }
        Ok(Receipt { stored: acks.len() - repeated, repeated })
    }

    /// Sends a message and waits until it is stored.
    async fn send(&self, envelope: Envelope, body: Bytes) -> Result<PublishAck, StoreError> {
        let message = PublishMessage::build().headers(envelope.headers).payload(body);
        // Another stream that has our subjects would acknowledge just as well.
        let message = message.expected_stream(&self.settings.stream);
        let context = &self.connection.context;
        let ack = context.send_publish(envelope.subject, message).await.map_err(refused("write to"))?;
        ack.await.map_err(refused("write to"))
    }

    /// A number that is taken is acknowledged as a repeat, whatever the event: the one that is there has to be looked at.
    /// A log only ever appends, so where two agree at a number they agree at all before it: the last repeat of a batch
    /// tells of all, and the first where the fork begins early.
    async fn refuse_fork(&self, arrival: &Arrival, acks: &[PublishAck]) -> Result<(), StoreError> {
        let Some(numbering) = &arrival.numbering else { return Ok(()) };
        let repeated = |(_, ack): &(usize, &PublishAck)| ack.duplicate;
        let mut repeats = acks.iter().enumerate().filter(repeated);
        for (index, ack) in [repeats.next(), repeats.next_back()].into_iter().flatten() {
            let Some(record) = arrival.records.get(index) else { continue };
            if self.id_at(ack.sequence).await?.is_some_and(|id| id != message::name(&record.id)) {
                let (epoch, lane) = (numbering.epoch().to_owned(), numbering.lane().to_owned());
                return Err(StoreError::Fork { epoch, lane, sequence: numbering.first() + index as u64 });
            }
        }
        Ok(())
    }

    /// The identifier of the event in a message; none when the stream has let go of it.
    async fn id_at(&self, row: u64) -> Result<Option<String>, StoreError> {
        Ok(self.connection.message_at(row).await?.and_then(|found| message::id(&found.headers)))
    }

    fn tell(&self, arrival: &Arrival, acks: &[PublishAck]) {
        let node: Arc<str> = arrival.node.as_str().into();
        let numbering = arrival.numbering.as_ref();
        for (index, (ack, record)) in
            acks.iter().zip(&arrival.records).enumerate().filter(|(_, (ack, _))| !ack.duplicate)
        {
            let place = numbering.map(|n| Place { lane: n.lane().to_owned(), sequence: n.first() + index as u64 });
            self.tail.send(Arc::new(ArrivedEvent {
                row: ack.sequence,
                node: Arc::clone(&node),
                epoch: numbering.map_or("", |n| n.epoch()).into(),
                place,
                received_at: arrival.received_at,
                bytes: record.bytes.clone(),
            }));
        }
    }
}
