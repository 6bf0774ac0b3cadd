//! How often one event was refused, where so many refusals make a dead letter of it (`refusals_max`).
//!
//! Always holds: only an answer counts that may be the event's own fault; that nobody answers, or a gateway does in place of the
//! receiver, never does. What is remembered is bounded and goes with the process: after a restart it is counted anew.

use std::sync::{Arc, Mutex};

use hyper::StatusCode;

use super::{courier::NotTaken, reason, said::Said};
use crate::{
    consumers::{Reason, Then},
    lock::lock,
};

/// Events that are counted at once: one of each lane is on its way, and what was refused before it is put aside. The oldest goes.
const COUNTED_MAX: usize = 8;

/// Counts them. Cheap to copy.
#[derive(Clone, Default)]
pub(super) struct Refusals {
    most: Option<u32>,
    counted: Arc<Mutex<Vec<(String, u32)>>>,
}

/// Why something was not taken, and how often that event was refused by now: 0 where that is not counted, none where it is no event.
pub(super) struct Refused {
    pub(super) why: NotTaken,
    pub(super) times: Option<u32>,
}

impl Refused {
    /// What is no event is not counted.
    pub(super) fn of_nobody(why: NotTaken) -> Refused {
        Refused { why, times: None }
    }
}

impl Refusals {
    pub(super) fn new(most: Option<u32>) -> Refusals {
        Refusals { most, counted: Arc::default() }
    }

    /// These, which go together, were not taken.
    pub(super) fn note(&self, said: &[Said], why: NotTaken) -> Refused {
        let first = said.first().filter(|_| self.most.is_some() && is_of_event(&why));
        let times = first.map_or(0, |first| self.count(first.id()));
        Refused { why, times: Some(times) }
    }

    fn count(&self, id: &str) -> u32 {
        let mut counted = lock(&self.counted);
        let before = counted.iter().position(|(counted, _)| counted == id).map(|at| counted.remove(at).1);
        let times = before.unwrap_or_default().saturating_add(1);
        if counted.len() >= COUNTED_MAX {
            counted.remove(0);
        }
        counted.push((id.to_owned(), times));
        times
    }

    /// What is to be done about it, when `otherwise` is what the answer alone means.
    pub(super) fn then(&self, times: Option<u32>, otherwise: Then) -> Then {
        let Some(times) = times else {
            // The events of the batch are not at fault, and what is cannot be put aside.
            return if otherwise == Then::Smaller { Then::Hold } else { otherwise };
        };
        match self.most.filter(|_| times > 0) {
            None => otherwise,
            Some(most) if times >= most => Then::Smaller,
            Some(_) => match otherwise {
                Then::Later(asked) => Then::Later(asked),
                _ => Then::Later(std::time::Duration::ZERO),
            },
        }
    }
}

/// Whether what was said may be at fault: it is refused, or the receiver stumbles over it.
fn is_of_event(why: &NotTaken) -> bool {
    why.as_ref().is_ok_and(|answer| match reason(answer) {
        Reason::Refused => true,
        Reason::Error => !matches!(answer.status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sinks::webhook::answer::{Answer, NoAnswer};

    fn answered(status: u16) -> NotTaken {
        Ok(Answer::of(StatusCode::from_u16(status).expect("a status")))
    }

    #[test]
    fn only_an_answer_that_may_be_the_events_own_fault_is_counted() {
        for (status, counts) in [
            (400, true),
            (413, true),
            (422, true),
            (500, true),
            (502, false),
            (503, false),
            (504, false),
            (401, false),
            (410, false),
            (429, false),
            (302, false),
        ] {
            assert_eq!(is_of_event(&answered(status)), counts, "{status}");
        }
        assert!(!is_of_event(&Err(NoAnswer::new("nobody is there"))));
        let misfit = Some("`ok` in it is false".to_owned());
        assert!(is_of_event(&Ok(Answer { misfit, ..Answer::of(StatusCode::OK) })), "it said what is not expected");
    }

    #[test]
    fn an_event_is_put_aside_after_so_many_refusals_and_each_is_counted_for_itself() {
        let refusals = Refusals::new(Some(3));
        let later = Then::Later(Duration::ZERO);
        let then = |id: &str, otherwise: Then| refusals.then(Some(refusals.count(id)), otherwise);
        assert_eq!(then("one", Then::Smaller), later);
        assert_eq!(then("other", Then::Later(Duration::from_secs(7))), Then::Later(Duration::from_secs(7)));
        assert_eq!(then("one", Then::Smaller), later);
        assert_eq!(then("one", later), Then::Smaller, "also what is answered with 500");
        assert_eq!(then("one", later), Then::Smaller, "and alone, when others were put aside from it");
        assert_eq!(then("other", later), later);
        (0..100).for_each(|number| _ = refusals.count(&format!("{number}")));
        assert_eq!(lock(&refusals.counted).len(), COUNTED_MAX);
        let usual = Refusals::new(None);
        assert_eq!((usual.then(Some(0), Then::Smaller), usual.then(Some(0), Then::Hold)), (Then::Smaller, Then::Hold));
    }

    #[test]
    fn a_message_that_is_refused_holds_the_sink_and_is_no_fault_of_an_event() {
        let later = Then::Later(Duration::ZERO);
        for refusals in [Refusals::new(None), Refusals::new(Some(1))] {
            let then = |otherwise: Then| refusals.then(Refused::of_nobody(answered(400)).times, otherwise);
            assert_eq!([Then::Smaller, Then::Hold, later].map(then), [Then::Hold, Then::Hold, later]);
        }
    }
}
