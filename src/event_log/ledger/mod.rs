//! What the log has to know beside its events: how far each consumer has come and what it is owed, whose numbers the events
//! bear, how far each lane reached, how old the log is. In memory here; its file is `disk::slots`.
//!
//! Consumers, the pipeline and the writer change it; the writer makes it durable. Pure: nothing here touches the disk.

pub(super) mod age;
pub(super) mod consumer;
pub(super) mod header;
pub(super) mod loss;
pub(super) mod numbering;
pub(super) mod ownership;
pub(super) mod retention;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};

use self::{
    consumer::{Consumer, NAME_BYTES_MAX, Owed},
    loss::Loss,
    ownership::Ownership,
};
use crate::{
    event_log::{disk::slots::BODIES_MAX, lane::Lane, ranges},
    lock::lock,
    order::Sorted as _,
};

/// The most consumers that a log keeps.
pub(in crate::event_log) const CONSUMERS_MAX: usize = BODIES_MAX - 1;

/// All consumers of a log.
#[derive(Debug, Default)]
pub(in crate::event_log) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the number of its body in the file, from 1.
    consumers: BTreeMap<usize, Consumer>,
    /// The highest number that was ever used: what is freed has to be written too.
    numbers: usize,
}

/// A body to be written, and where the cursor stands with it.
pub(in crate::event_log) struct Body {
    pub(in crate::event_log) number: usize,
    pub(in crate::event_log) bytes: Vec<u8>,
    /// Whose it is; its place may be another's by the time it is written.
    name: Option<Arc<str>>,
    next: [u64; 2],
    blob: Vec<u8>,
}

impl Ledger {
    /// Of what the file held, by number from 1. Gives the numbers of those that cannot be understood, too.
    pub(in crate::event_log) fn load<'a>(bodies: impl Iterator<Item = (usize, &'a [u8])>) -> (Ledger, Vec<usize>) {
        let (mut state, mut unknown) = (State::default(), Vec::new());
        for (number, body) in bodies.filter(|(_, body)| !body.is_empty()) {
            state.numbers = state.numbers.max(number);
            match Consumer::from_bytes(body) {
                Some(consumer) => _ = state.consumers.insert(number, consumer),
                None => unknown.push(number),
            }
        }
        (Ledger { state: Mutex::new(state) }, unknown)
    }

    /// Adds a consumer that begins at `first` unless there is one of this name. Gives false when there are too many, or the
    /// name is too long.
    pub(in crate::event_log) fn register(&self, name: &Arc<str>, first: [u64; 2], program: Option<Ownership>) -> bool {
        let mut state = self.lock();
        if state.of(name).is_some() {
            return true;
        }
        let free = (1..=CONSUMERS_MAX).find(|number| !state.consumers.contains_key(number));
        let Some(number) = free.filter(|_| !name.is_empty() && name.len() <= NAME_BYTES_MAX) else { return false };
        state.numbers = state.numbers.max(number);
        let mut consumer = Consumer::new(name, first);
        consumer.program = program;
        state.consumers.insert(number, consumer);
        true
    }

    /// What is known of a program's consumer; `None` for one that is none, or is not there.
    pub(in crate::event_log) fn program(&self, name: &str) -> Option<Ownership> {
        self.lock().of(name)?.program
    }

    /// Notes something else of it, where it is a program's.
    pub(in crate::event_log) fn set_program(&self, name: &str, to: Ownership) {
        if let Some(program) = self.lock().of(name).and_then(|consumer| consumer.program.as_mut()) {
            *program = to;
        }
    }

    /// Those that are programs'.
    pub(in crate::event_log) fn programs(&self) -> Vec<(String, Ownership)> {
        let state = self.lock();
        let of = |consumer: &Consumer| Some((consumer.name.to_string(), consumer.program?));
        state.consumers.values().filter_map(of).collect()
    }

    /// See [`Consumer::rewind`]. Gives whether there is one of this name.
    pub(in crate::event_log) fn rewind(&self, name: &str, to: [u64; 2]) -> bool {
        self.lock().of(name).map(|consumer| consumer.rewind(to)).is_some()
    }

    /// The losses that a consumer is owed of these sequences, as far as they are not struck off yet.
    pub(in crate::event_log) fn owed(&self, name: &str, lane: Lane, sequences: &Range<u64>) -> Vec<Loss> {
        self.lock().of(name).map_or_else(Vec::new, |consumer| consumer.owed_of(lane, sequences))
    }

    /// Forgets a consumer: nothing is kept for it any more. Gives whether there was one.
    pub(in crate::event_log) fn remove(&self, name: &str) -> bool {
        let mut state = self.lock();
        let before = state.consumers.len();
        state.consumers.retain(|_, consumer| &*consumer.name != name);
        state.consumers.len() < before
    }

    /// Where a consumer stands; 1 for one that is not there.
    pub(in crate::event_log) fn next(&self, name: &str, lane: Lane) -> u64 {
        self.lock().of(name).map_or(1, |consumer| consumer.position(lane).next)
    }

    pub(in crate::event_log) fn blob(&self, name: &str) -> Vec<u8> {
        self.lock().of(name).map_or_else(Vec::new, |consumer| consumer.blob().to_owned())
    }

    /// What is kept with a cursor once it is on the disk.
    pub(in crate::event_log) fn durable_blob(&self, name: &str) -> Vec<u8> {
        self.lock().of(name).map_or_else(Vec::new, |consumer| consumer.durable_blob().to_owned())
    }

    /// See [`Consumer::take`].
    pub(in crate::event_log) fn take(&self, name: &str, lane: Lane, next: u64, blob: Option<&[u8]>) -> bool {
        self.lock().of(name).is_some_and(|consumer| consumer.take(lane, next, blob))
    }

    /// See [`Consumer::hold`]; a consumer that is not there may read anything.
    pub(in crate::event_log) fn hold(&self, name: &str, lane: Lane, from: u64, count: u64) -> Range<u64> {
        let of_nobody = from..from.saturating_add(count);
        self.lock().of(name).map_or(of_nobody, |consumer| consumer.hold(lane, from, count))
    }

    /// See [`Consumer::held`].
    pub(in crate::event_log) fn held(&self, name: &str, lane: Lane, position: u64) {
        if let Some(consumer) = self.lock().of(name) {
            consumer.held(lane, position);
        }
    }

    /// Each consumer that has not taken all of it loses what goes, as [`Consumer::lose`] says; but for those that are released,
    /// which find it gone when they come again. Gives the most that one loses.
    pub(in crate::event_log) fn lose(&self, loss: &Loss, gone: &[Range<u64>], told: &[Range<u64>]) -> u64 {
        let mut state = self.lock();
        let losing = state.consumers.values_mut().filter(|consumer| consumer.is_kept_for());
        losing.map(|consumer| consumer.lose(loss, gone, told)).max().unwrap_or(0)
    }

    /// What of these sequences a consumer would lose if they went; without a name, any of those for whom the log keeps it.
    pub(in crate::event_log) fn misses(
        &self,
        name: Option<&str>,
        lane: Lane,
        sequences: &Range<u64>,
    ) -> Vec<Range<u64>> {
        let state = self.lock();
        let is_asked = |consumer: &&Consumer| match name {
            Some(name) => *name == *consumer.name,
            None => consumer.is_kept_for(),
        };
        let asked = state.consumers.values().filter(is_asked);
        ranges::joined(asked.flat_map(|consumer| consumer.misses(lane, sequences)).collect())
    }

    /// Whether another loss can be owed durably to everybody.
    pub(in crate::event_log) fn can_owe(&self) -> bool {
        self.lock().consumers.values().all(Consumer::can_owe)
    }

    /// Appends what is owed and not appended yet. Gives whether there was anything.
    pub(in crate::event_log) fn tell(&self, mut append: impl FnMut(&str, &Owed) -> u64) -> bool {
        let mut told = false;
        for consumer in self.lock().consumers.values_mut() {
            told |= consumer.tell(&mut append);
        }
        told
    }

    /// See [`Consumer::strike`].
    pub(in crate::event_log) fn strike(&self, records: Lane, durable: u64) {
        self.lock().consumers.values_mut().for_each(|consumer| consumer.strike(records, durable));
    }

    /// See [`Consumer::carried`].
    pub(in crate::event_log) fn carried(&self, from: u64, to: u64) {
        self.lock().consumers.values_mut().for_each(|consumer| consumer.carried(from, to));
    }

    /// The furthest place that any consumer has passed; 0 when there is none.
    pub(in crate::event_log) fn furthest(&self, lane: Lane) -> u64 {
        self.lock().consumers.values().map(|consumer| consumer.position(lane).next).max().unwrap_or(0)
    }

    /// The places that every consumer has passed for whom the log keeps anything; `None` when there is none.
    pub(in crate::event_log) fn passed(&self) -> Option<[u64; 2]> {
        self.least(|consumer, lane| consumer.position(lane).next)
    }

    /// The places that every consumer has durably passed: a crash does not bring them back, and what was lost before them is
    /// recorded.
    pub(in crate::event_log) fn durably_passed(&self) -> Option<[u64; 2]> {
        self.least(Consumer::done)
    }

    fn least(&self, place: impl Fn(&Consumer, Lane) -> u64) -> Option<[u64; 2]> {
        let state = self.lock();
        let kept_for = || state.consumers.values().filter(|consumer| consumer.is_kept_for());
        let least = Lane::ALL.map(|lane| kept_for().map(|consumer| place(consumer, lane)).min());
        match least {
            [Some(urgent), Some(routine)] => Some([urgent, routine]),
            _ => None,
        }
    }

    /// Whether there is any consumer for whom the log keeps anything.
    pub(in crate::event_log) fn has_consumers(&self) -> bool {
        self.lock().consumers.values().any(Consumer::is_kept_for)
    }

    /// Name, lane and next sequence of each.
    pub(in crate::event_log) fn list(&self) -> Vec<(String, Lane, u64)> {
        let state = self.lock();
        let of = |consumer: &Consumer| {
            let name = consumer.name.to_string();
            Lane::ALL.map(|lane| (name.clone(), lane, consumer.position(lane).next))
        };
        let mut list: Vec<_> = state.consumers.values().flat_map(of).collect();
        list.order_by(Ord::cmp);
        list
    }

    /// The bodies as they have to be on the disk.
    pub(in crate::event_log) fn bodies(&self) -> Vec<Body> {
        let state = self.lock();
        let body = |number| match state.consumers.get(&number) {
            Some(consumer) => Body {
                number,
                bytes: consumer.to_bytes(),
                name: Some(Arc::clone(&consumer.name)),
                next: consumer.safe(),
                blob: consumer.safe_blob().to_owned(),
            },
            None => Body { number, bytes: Vec::new(), name: None, next: [0; 2], blob: Vec::new() },
        };
        (1..=state.numbers).map(body).collect()
    }

    /// They are on the disk.
    pub(in crate::event_log) fn persisted(&self, bodies: &[Body]) {
        let mut state = self.lock();
        for body in bodies {
            // Not by its letters: one may have been removed and registered anew.
            let is_its = |name: &Arc<str>| body.name.as_ref().is_some_and(|written| Arc::ptr_eq(written, name));
            if let Some(consumer) = state.consumers.get_mut(&body.number).filter(|consumer| is_its(&consumer.name)) {
                consumer.persisted(body.next, &body.blob);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn of(&mut self, name: &str) -> Option<&mut Consumer> {
        self.consumers.values_mut().find(|consumer| &*consumer.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_consumer_holds_nothing_and_its_place_is_written_over_and_given_again() {
        let ledger = Ledger::default();
        let [first, second] = ["first", "second"].map(Arc::from);
        assert!(ledger.register(&first, [1, 1], None) && ledger.register(&second, [5, 5], None));
        assert_eq!(ledger.passed(), Some([1, 1]));
        assert!(ledger.remove("first") && !ledger.remove("first"));
        assert_eq!(ledger.passed(), Some([5, 5]));
        let bodies = ledger.bodies();
        assert_eq!(bodies.iter().map(|body| body.bytes.is_empty()).collect::<Vec<_>>(), [true, false]);
        let (loaded, unknown) = Ledger::load(bodies.iter().map(|body| (body.number, &body.bytes[..])));
        assert_eq!((loaded.list(), unknown), (ledger.list(), vec![]));
        assert!(loaded.register(&first, [9, 9], None));
        assert_eq!(loaded.bodies().len(), 2);
    }

    #[test]
    fn there_is_a_bound_of_consumers_and_of_the_length_of_a_name() {
        let ledger = Ledger::default();
        for number in 0..CONSUMERS_MAX {
            assert!(ledger.register(&Arc::from(number.to_string()), [1, 1], None), "{number}");
        }
        assert!(!ledger.register(&Arc::from("one more"), [1, 1], None));
        assert!(ledger.register(&Arc::from("7"), [1, 1], None), "it is there");
        assert!(!Ledger::default().register(&Arc::from("n".repeat(NAME_BYTES_MAX + 1)), [1, 1], None));
    }

    #[test]
    fn who_takes_a_removed_consumers_place_while_that_is_written_does_not_get_its_cursor() {
        let ledger = Ledger::default();
        assert!(ledger.register(&Arc::from("one"), [1, 1], None) && ledger.take("one", Lane::Routine, 500, None));
        let bodies = ledger.bodies();
        assert!(ledger.remove("one") && ledger.register(&Arc::from("two"), [1, 1], None));
        ledger.persisted(&bodies);
        assert_eq!(ledger.durably_passed(), Some([0, 0]));
    }
}
