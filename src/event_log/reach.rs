//! How far the lanes reach, and who waits for that.
//!
//! The writer says it, readers and committing producers wait. Always holds: whoever waits is woken by what it waits for and
//! by nothing else, so that a commit costs no more for a consumer that waits for a hundred events.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::lane::Lane;
use crate::lock::lock;

/// The sequences after the last events.
pub(super) struct Reach {
    state: Mutex<State>,
}

struct State {
    /// That readers see.
    visible: [u64; 2],
    /// That survive a loss of power; behind `visible` only while the disk cannot be written.
    durable: [u64; 2],
    waiting: Vec<(Awaited, oneshot::Sender<()>)>,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Awaited {
    /// Everything of a lane before a sequence can be read.
    Visible(Lane, u64),
    /// Everything of a lane before a sequence is durable.
    Durable(Lane, u64),
    /// Something that is told by [`Reach::stir`] alone.
    Stir,
}

impl Reach {
    /// Everything before these sequences is durable.
    pub(super) fn new(next: [u64; 2]) -> Reach {
        Reach { state: Mutex::new(State { visible: next, durable: next, waiting: Vec::new() }) }
    }

    pub(super) fn visible(&self, lane: Lane) -> u64 {
        self.lock().visible[lane.index()]
    }

    pub(super) fn durable(&self, lane: Lane) -> u64 {
        self.lock().durable[lane.index()]
    }

    /// Lets readers see everything before `next`, and if it is durable waiting producers too.
    pub(super) fn show(&self, lane: Lane, next: u64, durable: bool) {
        let mut state = self.lock();
        state.visible[lane.index()] = next;
        if durable {
            state.durable[lane.index()] = next;
        }
        let met = take(&mut state, |state, awaited| state.has(*awaited));
        drop(state);
        wake(met);
    }

    /// Something else has changed that somebody may wait for: an epoch, or that the writer has ended. Wakes everybody.
    pub(super) fn stir(&self) {
        let everybody = take(&mut self.lock(), |_, _| true);
        wake(everybody);
    }

    /// Waits from now on: what happens between this call and the first look at what it gives is not missed. Also ends with
    /// each [`Reach::stir`]. Cancel safe.
    pub(super) fn wait(&self, awaited: Awaited) -> impl Future<Output = ()> + Send + use<> {
        let (woken, wakes) = oneshot::channel();
        let mut state = self.lock();
        // Those who have ceased to wait.
        state.waiting.retain(|(_, woken)| !woken.is_closed());
        if state.has(awaited) {
            let _ = woken.send(());
        } else {
            state.waiting.push((awaited, woken));
        }
        drop(state);
        async {
            // Err: the log is gone with everything in it.
            let _ = wakes.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn has(&self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Visible(lane, next) => self.visible[lane.index()] >= next,
            Awaited::Durable(lane, next) => self.durable[lane.index()] >= next,
            Awaited::Stir => false,
        }
    }
}

/// Takes out who waits for what `is_met` says.
fn take(state: &mut State, is_met: impl Fn(&State, &Awaited) -> bool) -> Vec<oneshot::Sender<()>> {
    let waiting = std::mem::take(&mut state.waiting);
    let (met, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(awaited, _)| is_met(state, awaited));
    state.waiting = left;
    met.into_iter().map(|(_, woken)| woken).collect()
}

fn wake(met: Vec<oneshot::Sender<()>>) {
    for woken in met {
        // Err: it has ceased to wait.
        let _ = woken.send(());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn who_waits_is_woken_by_what_it_waits_for_and_by_nothing_else() {
        let reach = Reach::new([1, 1]);
        let mut durable = Box::pin(reach.wait(Awaited::Durable(Lane::Routine, 5)));
        let mut visible = Box::pin(reach.wait(Awaited::Visible(Lane::Routine, 5)));
        let mut other = Box::pin(reach.wait(Awaited::Visible(Lane::Urgent, 2)));
        let mut stirred = Box::pin(reach.wait(Awaited::Stir));
        reach.show(Lane::Routine, 4, true);
        assert!((&mut durable).now_or_never().is_none() && (&mut visible).now_or_never().is_none());
        reach.show(Lane::Routine, 5, false);
        assert!((&mut durable).now_or_never().is_none() && visible.now_or_never().is_some());
        reach.show(Lane::Routine, 6, true);
        assert!(durable.now_or_never().is_some());
        assert!((&mut other).now_or_never().is_none() && (&mut stirred).now_or_never().is_none());
        reach.stir();
        assert!(other.now_or_never().is_some() && stirred.now_or_never().is_some());
    }

    #[test]
    fn what_is_there_already_is_not_waited_for_and_who_ceases_to_wait_is_forgotten() {
        let reach = Reach::new([1, 9]);
        assert!(reach.wait(Awaited::Durable(Lane::Routine, 9)).now_or_never().is_some());
        for _ in 0..100 {
            drop(reach.wait(Awaited::Stir));
        }
        assert!(reach.lock().waiting.len() <= 1);
    }
}
