//! What people ask of a sink that is configured: to be left alone for a while, to go on, to send again what it has sent.
//!
//! Always holds: while a cursor is moved back nobody reads by it; a sink that is paused keeps its place, and what is for it.

use tonic::Status;

use super::Delivering;
use crate::{
    agent::{config::SinkSettings, pausing::Pause},
    event_log::Lane,
    local_api::{SinkAct, SinkOrder},
    telemetry::message,
};

impl Delivering {
    /// Does it. Gives how many events come once more, of a replay.
    ///
    /// # Errors
    /// When there is no such sink, the disk does not take it, or there is nothing to send again.
    pub(in crate::agent) async fn obey(
        &mut self,
        sinks: &[SinkSettings],
        order: &SinkOrder,
        now: i64,
    ) -> Result<u64, Status> {
        let SinkOrder { sink: name, act, actor } = order;
        let Some(settings) = sinks.iter().find(|sink| sink.name == *name) else {
            return Err(Status::invalid_argument(self.consumers.unknown(name)));
        };
        match act {
            SinkAct::Pause => {
                self.set_pause(name, Some(Pause { since: now, actor: actor.clone() })).await?;
                let message_id = message::SINK_PAUSED;
                tracing::info!(%message_id, sink = name, actor, "the sink is paused; what is for it is kept");
                self.begin_anew(sinks, name).await;
                Ok(0)
            }
            SinkAct::Resume => {
                self.set_pause(name, None).await?;
                tracing::info!(sink = name, actor, "the sink goes on");
                // Also where it was not paused: whatever it waits for, it tries now.
                self.begin_anew(sinks, name).await;
                Ok(0)
            }
            SinkAct::Replay { to, dry_run } => {
                if settings.build().is_some_and(|sink| sink.is_of_states()) {
                    return Err(Status::invalid_argument(format!(
                        "the sink {name} tells how things are (`tell: changes`): what has happened is not told again"
                    )));
                }
                let events = Lane::ALL.into_iter().zip(to).map(|(lane, to)| self.comes_again(name, lane, *to)).sum();
                if !dry_run {
                    self.end_sink(name).await;
                    self.with.log.rewind(name, *to);
                    tracing::info!(sink = name, actor, events, "the sink begins again further back");
                    self.begin_sink(settings);
                }
                Ok(events)
            }
        }
    }

    /// Makes it durable.
    pub(super) async fn set_pause(&mut self, name: &str, pause: Option<Pause>) -> Result<(), Status> {
        let paused = self.with.paused.with(name, pause);
        let writing = paused.clone();
        let written = tokio::task::spawn_blocking(move || writing.write()).await;
        match written {
            Ok(Ok(())) => self.with.paused = paused,
            Ok(Err(error)) => {
                return Err(Status::unavailable(format!("which sinks are paused cannot be written: {error}")));
            }
            Err(_) => return Err(Status::internal("which sinks are paused cannot be written")),
        }
        Ok(())
    }

    /// With those that it takes the place of.
    async fn begin_anew(&mut self, sinks: &[SinkSettings], name: &str) {
        for settings in sinks.iter().filter(|sink| sink.names().any(|its| its == name)) {
            self.end_sink(&settings.name).await;
            self.begin_sink(settings);
        }
    }

    async fn end_sink(&mut self, name: &str) {
        if let Some(running) = self.sinks.remove(name) {
            running.end(&self.with.stopping).await;
        }
    }

    /// Events between a sequence and where the sink stands; what is gone of them does not come again.
    fn comes_again(&self, name: &str, lane: Lane, to: u64) -> u64 {
        let log = &self.with.log;
        let cursors = log.cursors().into_iter().filter(|its| its.name == name && its.lane == lane);
        let next: u64 = cursors.map(|cursor| cursor.next_sequence).sum();
        next.saturating_sub(to.max(log.bounds(lane).0))
    }
}
