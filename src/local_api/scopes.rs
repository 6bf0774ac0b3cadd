//! Who may read less than everything: users whose queries, tails and consumers get what a filter takes, and nothing else.

use std::sync::Arc;

use crate::event::Filter;

/// Users, and what each may read. Whoever is not named reads everything. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    of_users: Arc<Vec<(u32, Filter)>>,
}

impl Scopes {
    /// One entry for a user is enough.
    pub fn new(of_users: Vec<(u32, Filter)>) -> Scopes {
        Scopes { of_users: Arc::new(of_users) }
    }

    /// What a user may read; `None` for everything.
    pub(super) fn of(&self, uid: u32) -> Option<Filter> {
        self.of_users.iter().find(|(user, _)| *user == uid).map(|(_, filter)| filter.clone())
    }
}
