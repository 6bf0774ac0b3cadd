//! A change that is believed once two looks in a row have seen it: for what is written in several steps, each of which looks like
//! a state of its own.
//!
//! Kept by a domain beside what it looks at. Always holds: what is known already, and the first sight, are believed at once.

use std::{future::pending, time::Duration};

use tokio::time::sleep;

/// What was seen last, where that is not what is known.
#[derive(Debug)]
pub(super) struct Settling<Known>(Option<Known>);

impl<Known> Default for Settling<Known> {
    fn default() -> Settling<Known> {
        Settling(None)
    }
}

impl<Known: Clone + PartialEq> Settling<Known> {
    /// What was seen, where it is to be believed.
    pub(super) fn believed(&mut self, before: Option<&Known>, seen: Known) -> Option<Known> {
        let is_sure = before.is_none() || before == Some(&seen) || self.0.as_ref() == Some(&seen);
        self.0 = (!is_sure).then(|| seen.clone());
        is_sure.then_some(seen)
    }

    /// Ready `after` so long where another look is to tell; otherwise never.
    pub(super) async fn in_doubt(&self, after: Duration) {
        match self.0 {
            Some(_) => sleep(after).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_believed_when_it_is_seen_twice_and_one_that_passes_never() {
        let mut settling = Settling::default();
        assert_eq!(settling.believed(None, 1), Some(1), "the first sight");
        assert_eq!(settling.believed(Some(&1), 2), None);
        assert_eq!(settling.believed(Some(&1), 3), None, "something else again");
        assert_eq!(settling.believed(Some(&1), 3), Some(3));
        assert_eq!(settling.believed(Some(&3), 4), None);
        assert_eq!(settling.believed(Some(&3), 3), Some(3), "back again");
        assert_eq!(settling.believed(Some(&3), 4), None, "what was seen before that counts no more");
    }
}
