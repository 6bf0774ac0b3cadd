//! The last changes of one state, and where a new event goes among them.
//!
//! In one lane the order of the numbers counts. Between the lanes, and for what somebody else than a collector reports (a
//! hook's event may have waited in the spool while the agent was away) or was put into the log again, the time counts at which
//! it happened. So a fold gives the same however far one lane is read ahead of the other, as long as the clock is not set back
//! in between.

use uuid::Uuid;

use crate::schema::local::{StateChange, StateLevel};

/// The most changes of a state that are kept; the oldest go first.
pub(super) const CHANGES_MAX: usize = 5;

/// The source of events of other programs.
pub(super) const OTHERS: &str = "local";

/// When an event happened, as far as two can be put in order: by its identifier, where that is one that grows with time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventOrder(u128);

impl EventOrder {
    /// Of an event with this identifier and time, Unix milliseconds.
    pub fn of(event_id: &str, time: i64) -> EventOrder {
        let id = Uuid::try_parse(event_id).ok().filter(|id| id.get_version_num() == 7);
        let by_time = || u128::from(time.max(0).unsigned_abs() & ((1 << 48) - 1)) << 80;
        EventOrder(id.map_or_else(by_time, |id| id.as_u128()))
    }

    pub(super) fn of_last(change: &StateChange) -> EventOrder {
        EventOrder::of(&change.event_id, change.last_time)
    }
}

/// Puts what one event tells among the changes, the newest first. `is_again`: it was put into the log again.
pub(super) fn put(changes: &mut Vec<StateChange>, told: StateChange, is_again: bool) {
    let (when, by_time) = (EventOrder::of_last(&told), is_again || told.source == OTHERS);
    let is_later = |known: &&StateChange| (known.lane != told.lane || by_time) && EventOrder::of_last(known) > when;
    // Those before `place` are later.
    let place = changes.iter().take_while(is_later).count();
    if let Some(before) = changes.get_mut(place).filter(|before| before.level == told.level) {
        go_on(before, told);
    } else if let Some(after) = place.checked_sub(1).and_then(|after| changes.get_mut(after)) {
        if after.level == told.level {
            after.since = after.since.min(told.since);
            after.events += told.events;
        } else {
            // Of the events at that level some may have come before this one; the last has come after it.
            after.since = after.since.max(told.last_time);
            changes.insert(place, told);
        }
    } else {
        changes.insert(place, told);
    }
    changes.truncate(CHANGES_MAX);
    count_since(changes, place);
}

/// One more event at the same level; the same event again is none.
fn go_on(known: &mut StateChange, told: StateChange) {
    if known.event_id == told.event_id && !told.event_id.is_empty() {
        return;
    }
    let (since, wrong_since, events) = (known.since.min(told.since), known.wrong_since, known.events + told.events);
    *known = StateChange { since, wrong_since, events, ..told };
}

/// Says since when it has been wrong, for what stands at `place` and later. What the oldest followed upon is not known any more.
fn count_since(changes: &mut [StateChange], place: usize) {
    for at in (0..=place.min(changes.len().saturating_sub(1))).rev() {
        let before = changes.get(at + 1).map(|before| before.wrong_since);
        let Some(change) = changes.get_mut(at) else { return };
        change.wrong_since = match (change.level(), before) {
            (StateLevel::Ok, _) => 0,
            (_, Some(before)) if before != 0 => before,
            (_, None) if change.wrong_since != 0 => change.wrong_since.min(change.since),
            _ => change.since,
        };
    }
}
