//! Who may read less than everything: users whose queries, tails and consumers get what a filter takes, and nothing else. And
//! what programs' consumers get where somebody has subscribed it for them.

use std::sync::Arc;

use crate::event::Filter;

/// Users, and what each may read. Whoever is not named reads everything. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    of_users: Arc<Vec<(u32, Filter)>>,
    of_consumers: Arc<Vec<(String, Filter)>>,
}

impl Scopes {
    /// One entry for a user, or a consumer, is enough.
    pub fn new(of_users: Vec<(u32, Filter)>, of_consumers: Vec<(String, Filter)>) -> Scopes {
        Scopes { of_users: Arc::new(of_users), of_consumers: Arc::new(of_consumers) }
    }

    /// What a user may read; `None` for everything.
    pub(super) fn of(&self, uid: u32) -> Option<Filter> {
        self.of_users.iter().find(|(user, _)| *user == uid).map(|(_, filter)| filter.clone())
    }

    /// Whether a user may read the same by these and by those.
    pub(super) fn are_alike_for(&self, uid: u32, others: &Scopes) -> bool {
        // A filter cannot be compared but by what it is made of.
        let said = |scopes: &Scopes| scopes.of(uid).map(|filter| format!("{filter:?}"));
        Arc::ptr_eq(&self.of_users, &others.of_users) || said(self) == said(others)
    }

    /// What is subscribed for the consumer of this name; `None` where nothing is.
    pub fn of_consumer(&self, name: &str) -> Option<Filter> {
        self.of_consumers.iter().find(|(consumer, _)| consumer == name).map(|(_, filter)| filter.clone())
    }
}
