//! How far each consumer has come. The log keeps what a cursor has not passed, as far as space allows.
//!
//! Consumers commit, the writer makes it durable a little later: after a crash a cursor may stand a little behind,
//! never ahead.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Lane, LogError, Shared, meta::Meta};

/// A consumer's place in each lane.
#[derive(Clone)]
pub struct Cursor {
    pub(super) shared: Arc<Shared>,
    pub(super) name: Arc<str>,
}

impl Cursor {
    /// Sequence of the next event that the consumer has to take.
    pub fn next(&self, lane: Lane) -> u64 {
        self.shared.cursors.next(&self.name, lane)
    }

    /// Notes that everything before `next` has been taken. A cursor never moves back.
    pub fn commit(&self, lane: Lane, next: u64) {
        let next = next.min(self.shared.visible(lane));
        if self.shared.cursors.advance(&self.name, lane, next) {
            self.shared.buffer.cursor_moved();
        }
    }
}

#[derive(Clone, Copy)]
struct Position {
    next: u64,
    durable: u64,
}

/// All cursors of a log.
pub(super) struct Cursors {
    positions: Mutex<BTreeMap<(Arc<str>, Lane), Position>>,
}

impl Cursors {
    /// Those that the log knew when it was last closed.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn load(meta: &Meta) -> Result<Cursors, LogError> {
        let positions = meta
            .cursors()?
            .into_iter()
            .map(|(name, lane, next)| ((Arc::from(name), lane), Position { next, durable: next }))
            .collect();
        Ok(Cursors { positions: Mutex::new(positions) })
    }

    /// Adds a cursor at `first` unless there is one of this name. Gives false when there are too many.
    pub(super) fn register(&self, name: &Arc<str>, lane: Lane, first: u64) -> bool {
        let mut positions = self.lock();
        let full = positions.len() >= super::meta::CURSORS_MAX * Lane::ALL.len();
        let key = (Arc::clone(name), lane);
        if full && !positions.contains_key(&key) {
            return false;
        }
        // Not durable yet: until it is, the cursor counts as standing at the beginning.
        positions.entry(key).or_insert(Position { next: first, durable: 0 });
        true
    }

    fn next(&self, name: &Arc<str>, lane: Lane) -> u64 {
        self.lock().get(&(Arc::clone(name), lane)).map_or(1, |position| position.next)
    }

    fn advance(&self, name: &Arc<str>, lane: Lane, next: u64) -> bool {
        match self.lock().get_mut(&(Arc::clone(name), lane)) {
            Some(position) if position.next < next => {
                position.next = next;
                true
            }
            _ => false,
        }
    }

    /// The furthest place that any consumer has passed; 0 when there is none.
    pub(super) fn furthest(&self, lane: Lane) -> u64 {
        self.lock().iter().filter(|((_, l), _)| *l == lane).map(|(_, position)| position.next).max().unwrap_or(0)
    }

    /// The places that every consumer has passed; `None` when there is no consumer.
    pub(super) fn passed(&self) -> Option<[u64; 2]> {
        self.least(|position| position.next)
    }

    /// The places that every consumer has durably passed: a crash does not bring them back.
    pub(super) fn durably_passed(&self) -> Option<[u64; 2]> {
        self.least(|position| position.durable)
    }

    fn least(&self, place: impl Fn(&Position) -> u64) -> Option<[u64; 2]> {
        let positions = self.lock();
        let least =
            Lane::ALL.map(|lane| positions.iter().filter(|((_, l), _)| *l == lane).map(|(_, p)| place(p)).min());
        match least {
            [Some(urgent), Some(routine)] => Some([urgent, routine]),
            _ => None,
        }
    }

    /// Names of the cursors that stand before `next`.
    pub(super) fn behind(&self, lane: Lane, next: u64) -> Vec<Arc<str>> {
        let behind = |((name, l), position): (&(Arc<str>, Lane), &Position)| {
            (*l == lane && position.next < next).then(|| Arc::clone(name))
        };
        self.lock().iter().filter_map(behind).collect()
    }

    /// Moves every cursor that stands before `next` there, because what lies before goes.
    pub(super) fn raise(&self, lane: Lane, next: u64) {
        for ((_, l), position) in self.lock().iter_mut() {
            if *l == lane && position.next < next {
                position.next = next;
            }
        }
    }

    /// What was durable is not any more.
    pub(super) fn write_anew(&self) {
        self.lock().values_mut().for_each(|position| position.durable = 0);
    }

    /// Makes all positions durable. The writer's side.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn persist(&self, meta: &Meta) -> Result<(), LogError> {
        let moved: Vec<_> = self
            .lock()
            .iter()
            .filter(|(_, position)| position.next != position.durable)
            .map(|((name, lane), position)| (Arc::clone(name), *lane, position.next))
            .collect();
        if moved.is_empty() {
            return Ok(());
        }
        for (name, lane, next) in &moved {
            meta.set_cursor(name, *lane, *next)?;
        }
        meta.flush()?;
        let mut positions = self.lock();
        for (name, lane, next) in moved {
            if let Some(position) = positions.get_mut(&(name, lane)) {
                position.durable = next;
            }
        }
        Ok(())
    }

    /// Name, lane and next sequence of each.
    pub(super) fn list(&self) -> Vec<(String, Lane, u64)> {
        self.lock().iter().map(|((name, lane), position)| (name.to_string(), *lane, position.next)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Arc<str>, Lane), Position>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
