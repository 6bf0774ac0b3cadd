//! What all callers of the socket share: so much in all, of that so much a user, and some kept for root and the agent's own user.
//!
//! Gives a [`Share`], which counts until it is dropped. Always holds: no user can take what another needs, and nobody takes the
//! socket from root; only who owns the agent has no bound but the whole.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use nix::unistd::{Uid, geteuid};
use tokio::sync::{Notify, Semaphore};

use crate::lock::lock;

/// How much there is of something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In all.
    pub(super) max: usize,
    /// For one user who is neither root nor the agent's own.
    pub(super) user_max: usize,
    /// Of all, what those users together leave to these two.
    pub(super) kept: usize,
}

#[derive(Debug)]
pub(super) struct Shares {
    bounds: Bounds,
    own: Uid,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of_users: HashMap<u32, usize>,
}

/// So much of it, for a user.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    user: u32,
    amount: usize,
}

/// What a query or a tail holds while it runs.
pub(super) struct ReaderPlace {
    _place: Share,
    /// To be asked for before each read.
    pub(super) slots: Arc<Semaphore>,
}

impl ReaderPlace {
    pub(super) fn new(place: Share, slots: Arc<Semaphore>) -> ReaderPlace {
        ReaderPlace { _place: place, slots }
    }
}

impl Shares {
    /// For the agent that runs as this process's user.
    pub(super) fn new(bounds: Bounds) -> Arc<Shares> {
        Shares::of(geteuid(), bounds)
    }

    fn of(own: Uid, bounds: Bounds) -> Arc<Shares> {
        Arc::new(Shares { bounds, own, taken: Mutex::default(), freed: Notify::new() })
    }

    /// How much there is.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Takes so much, if there is so much for this user.
    pub(super) fn take(self: &Arc<Self>, user: u32, amount: usize) -> Option<Share> {
        let mut share = Share { shares: Arc::clone(self), user, amount: 0 };
        share.change(amount).then_some(share)
    }

    /// Waits until something is given back, or has been since the last time. Cancel safe; for one who waits.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn allows(&self, taken: &Taken, user: u32, of_user: usize) -> bool {
        let Bounds { max, user_max, kept } = self.bounds;
        let uid = Uid::from_raw(user);
        let is_owner = uid.is_root() || uid == self.own;
        taken.all <= max && (is_owner || (of_user <= user_max && taken.all <= max.saturating_sub(kept)))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
    }
}

impl Share {
    /// Makes it so much; if there is not so much, it stays as it is. Less is always allowed.
    pub(super) fn change(&mut self, amount: usize) -> bool {
        let shares = &self.shares;
        let mut taken = shares.lock();
        let of_user = taken.of_users.get(&self.user).copied().unwrap_or_default();
        let (all, of_user) = (taken.all + amount - self.amount, of_user + amount - self.amount);
        let after = Taken { all, of_users: HashMap::new() };
        if amount > self.amount && !shares.allows(&after, self.user, of_user) {
            return false;
        }
        taken.all = all;
        match of_user {
            0 => drop(taken.of_users.remove(&self.user)),
            _ => drop(taken.of_users.insert(self.user, of_user)),
        }
        drop(taken);
        if amount < self.amount {
            shares.freed.notify_one();
        }
        self.amount = amount;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.change(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares() -> Arc<Shares> {
        Shares::of(Uid::from_raw(990), Bounds { max: 10, user_max: 4, kept: 2 })
    }

    #[test]
    fn no_user_takes_all_and_all_users_leave_some_to_root_and_the_agents_own() {
        let shares = shares();
        let take = |user| std::iter::from_fn(|| shares.take(user, 1)).take(20).collect::<Vec<_>>();
        let (one, other) = (take(1000), take(1001));
        assert_eq!((one.len(), other.len()), (4, 4));
        assert_eq!(take(1002).len(), 0, "the rest is kept");
        let own = shares.take(990, 1);
        assert_eq!((own.is_some(), take(0).len()), (true, 1));
        drop(one);
        assert_eq!(take(1002).len(), 3, "of what was given back, less what the owners have");
    }

    #[test]
    fn a_share_grows_as_far_as_there_is_room_and_is_given_back() {
        let shares = shares();
        let mut share = shares.take(1000, 3).expect("there is room");
        assert!(!share.change(5) && share.change(4) && share.change(1));
        assert_eq!(shares.lock().all, 1);
        drop(share);
        assert!(shares.lock().of_users.is_empty() && shares.lock().all == 0);
    }
}
