//! Reads both lanes behind the fold, and gives it the older event first.
//!
//! Frames that hold nothing that tells of a state are passed over. Always holds: what was read is folded before more of its lane
//! is read; a step is bounded, by the events that it folds and by the sequences that it passes over.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::Notify;

use super::{INVENTORY, READ_MAX, States};
use crate::{
    event::{Catalogue, Head},
    event_log::{Gap, Lane, LogError, Read, Reader, Sieve, StoredEvent},
    lock::lock,
    state::{EventOrder, Fold, LaneAt},
};

/// Events that are folded, and sequences of a lane that are passed over, before anything else has its turn.
const STEP_EVENTS: u64 = 2_048;
const PASS_MAX: u64 = 65_536;

/// So long what is not urgent waits for more of it.
const GATHER: Duration = Duration::from_millis(200);

/// What one step has folded.
#[derive(Default)]
pub(super) struct Step {
    pub(super) events: u64,
    /// Sequences that were not looked at.
    pub(super) passed: u64,
    pub(super) is_news: bool,
    /// There may be more; otherwise it has come to the end of both lanes.
    pub(super) is_full: bool,
    /// What ended it.
    pub(super) trouble: Option<LogError>,
}

/// Reads both lanes, and gives the older event first.
pub(super) struct Follower {
    pub(super) lanes: [LaneQueue; 2],
}

/// An event that was read, with its head; without one where it is no event.
struct Placed {
    order: EventOrder,
    at: LaneAt,
    head: Option<Head>,
    event: StoredEvent,
}

pub(super) struct LaneQueue {
    lane: Lane,
    pub(super) reader: Reader,
    read: VecDeque<Placed>,
}

impl Follower {
    pub(super) fn new(states: &States) -> Follower {
        let next = states.with(|fold| Lane::ALL.map(|lane| fold.next_sequence(lane)));
        let queue = |lane: Lane| LaneQueue {
            lane,
            reader: states.shared.log.reader(lane, next[lane.index()]),
            read: VecDeque::new(),
        };
        Follower { lanes: Lane::ALL.map(queue) }
    }

    /// Waits until there is something in the urgent lane, for a while something in the routine lane, or somebody who asks. Cancel
    /// safe.
    pub(super) async fn ready(&self, asked: &Notify) {
        let [urgent, routine] = &self.lanes;
        let gathered = async {
            routine.reader.ready().await;
            tokio::time::sleep(GATHER).await;
        };
        tokio::select! {
            () = urgent.reader.ready() => {}
            () = gathered => {}
            () = asked.notified() => {}
        }
    }

    /// Folds what is there, as far as one step goes; `None` when the program is being torn down.
    pub(super) async fn step(self, states: &States) -> Option<(Follower, Step)> {
        let folding = states.clone();
        let stepped = tokio::task::spawn_blocking(move || {
            let mut follower = self;
            let mut step = Step::default();
            step.trouble = follower.fold(&folding, &mut step).err();
            (follower, step)
        });
        match stepped.await {
            Ok((follower, step)) => Some((follower, step)),
            // The place has moved before the event was looked at: it is not met again.
            Err(panic) if panic.is_panic() => {
                tracing::error!("an event could not be folded into the states; it is left out");
                let step = Step { events: STEP_EVENTS, is_news: true, is_full: true, ..Step::default() };
                Some((Follower::new(states), step))
            }
            Err(_) => None,
        }
    }

    /// Some events, the older of both lanes first; none at the end of the log.
    pub(super) fn fold(&mut self, states: &States, step: &mut Step) -> Result<(), LogError> {
        let mut has_ended = [false; 2];
        while step.events < STEP_EVENTS {
            for (queue, has_ended) in self.lanes.iter_mut().zip(&mut has_ended) {
                while queue.read.is_empty() && !*has_ended {
                    match queue.fill(states, step)? {
                        Filled::Some => {}
                        Filled::End => *has_ended = true,
                        Filled::Passed => {
                            step.is_full = true;
                            return Ok(());
                        }
                    }
                }
            }
            let [urgent, routine] = self.lanes.each_ref().map(|queue| queue.read.front().map(|placed| placed.order));
            let lane = match (urgent, routine) {
                (Some(urgent), Some(routine)) => usize::from(routine < urgent),
                (urgent, _) => usize::from(urgent.is_none()),
            };
            let Some(Placed { at, head, event, .. }) = self.lanes[lane].read.pop_front() else { return Ok(()) };
            step.events += 1;
            step.is_news |= lock(&states.shared.fold).event(at, head.as_ref(), &event.event);
        }
        step.is_full = true;
        Ok(())
    }
}

/// What a read has given.
enum Filled {
    /// Events, or a gap.
    Some,
    /// So much that is not to be looked at that others are to have their turn.
    Passed,
    End,
}

impl LaneQueue {
    /// Reads on, when everything is folded that was read.
    fn fill(&mut self, states: &States, step: &mut Step) -> Result<Filled, LogError> {
        let from = self.reader.position();
        self.reader.until(from.saturating_add(PASS_MAX));
        let is_awaited = states.with(|fold| fold.awaits_event(self.lane));
        let sieve = if is_awaited { &Sieve::OPEN } else { &states.shared.sieve };
        match self.reader.read_where(sieve, READ_MAX.0, READ_MAX.1)? {
            Read::Run(run) => {
                step.passed += run.first_sequence.saturating_sub(from);
                for event in run.events() {
                    let at = LaneAt { lane: run.lane, epoch: run.epoch, sequence: event.sequence };
                    let head = Head::read(&event.event).ok();
                    if let Some(head) = &head {
                        states.note_look(at, head, &event.event);
                    }
                    let order =
                        head.as_ref().map_or_else(EventOrder::default, |head| EventOrder::of(&head.id, head.timestamp));
                    self.read.push_back(Placed { order, at, head, event });
                }
                Ok(Filled::Some)
            }
            Read::Gap(gap) => {
                let Gap { from, to } = gap;
                tracing::warn!(
                    lane = self.lane.name(),
                    from,
                    to,
                    "events are gone that were not folded into the states"
                );
                lock(&states.shared.fold).gap(self.lane, gap);
                (step.events, step.is_news) = (step.events + 1, true);
                Ok(Filled::Some)
            }
            Read::End => {
                let position = self.reader.position();
                let passed = position.saturating_sub(from);
                step.passed += passed;
                lock(&states.shared.fold).pass(self.lane, position);
                Ok(if passed >= PASS_MAX { Filled::Passed } else { Filled::End })
            }
        }
    }
}

/// Frames that hold something that the fold or this is to look at.
pub(super) fn sieve() -> Sieve {
    let looks = Catalogue::compiled().marks(|kind, _| kind.as_str() == INVENTORY);
    Sieve { kinds: Some([Fold::marks(), looks].concat()), ..Sieve::OPEN }
}
