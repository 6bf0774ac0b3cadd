//! That a person knows of a problem: it stands until the problem gets worse or ends.

use super::changes::{EventOrder, OTHERS};
use crate::{
    event::{EventView, Level},
    schema::{
        Payload as _,
        events::SystemProblemPayload,
        local::{Acknowledgement, StateChange, StateLevel, SubjectState},
    },
};

/// Of whose problem an event says that it is known.
pub(super) struct Known {
    pub(super) subject: String,
    pub(super) state: String,
    pub(super) acknowledgement: Acknowledgement,
}

impl Known {
    /// `None` for an event that says something else, and for what another program emits: whose word it is, the agent has not
    /// asked then.
    pub(super) fn of(event: &EventView) -> Option<Known> {
        let is_known = event.kind().as_str() == format!("{}.acknowledged", SystemProblemPayload::SUBJECT);
        if event.source() == OTHERS || !is_known {
            return None;
        }
        let said: SystemProblemPayload = event.payload()?.transcode_to().ok()?;
        let acknowledgement = Acknowledgement {
            actor: said.actor,
            time: event.timestamp(),
            note: said.note,
            level: level_of(Level::from_wire(said.known_level).unwrap_or(Level::Info)).into(),
            event_id: event.id().to_owned(),
        };
        Some(Known { subject: said.subject, state: said.state, acknowledgement })
    }

    /// Marks the problem, unless it has ended or got worse since, or is known by a later word.
    pub(super) fn mark(self, state: &mut SubjectState) {
        let said = order_of(&self.acknowledgement);
        let is_over =
            |change: &&StateChange| EventOrder::of_last(change) > said && ends(&self.acknowledgement, change.level());
        let has_later = state.acknowledgement.as_ref().is_some_and(|known| order_of(known) > said);
        let is_wrong = state.changes.first().is_some_and(|now| now.level() != StateLevel::Ok);
        if is_wrong && !has_later && !state.changes.iter().any(|change| is_over(&change)) {
            state.acknowledgement = Some(self.acknowledgement);
        }
    }
}

/// How bad a state is that an event of this level tells of.
pub(super) fn level_of(level: Level) -> StateLevel {
    match level {
        Level::Critical => StateLevel::Critical,
        Level::Error => StateLevel::Error,
        Level::Warn => StateLevel::Warn,
        Level::Essential | Level::Info | Level::Debug | Level::Trace => StateLevel::Ok,
    }
}

/// What this change leaves of it.
pub(super) fn after(known: Option<Acknowledgement>, change: &StateChange) -> Option<Acknowledgement> {
    known.filter(|known| !(EventOrder::of_last(change) > order_of(known) && ends(known, change.level())))
}

fn ends(known: &Acknowledgement, level: StateLevel) -> bool {
    level == StateLevel::Ok || level > known.level()
}

fn order_of(known: &Acknowledgement) -> EventOrder {
    EventOrder::of(&known.event_id, known.time)
}
