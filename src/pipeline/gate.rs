//! Which events the configuration lets into the log, and which ones no remote party can leave out.

use std::sync::Arc;

use crate::{
    event::{Catalogue, Level},
    schema::events::EventCategory,
};

/// Levels and categories that are let in. [`Level::Essential`] always is. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// One bit for each level's number on the wire.
    levels: u32,
    /// Numbers of the categories that are left out.
    left_out: Arc<[i32]>,
    /// This machine's own, where somebody else has set this one.
    own: Option<Arc<Gate>>,
}

impl Gate {
    /// Lets everything in.
    pub fn open() -> Gate {
        Gate { levels: u32::MAX, left_out: Arc::from([]), own: None }
    }

    /// Lets in events of one of these levels and one of these categories, by name; no names let all in.
    pub fn new(levels: &[Level], categories: &[String]) -> Gate {
        let open = Gate::open();
        let bits = levels.iter().chain([&Level::Essential]).fold(0, |bits, level| bits | bit(*level));
        let known = (1..).zip(Catalogue::compiled().categories());
        let is_left_out = |name: &String| !categories.is_empty() && !categories.contains(name);
        Gate {
            levels: if levels.is_empty() { open.levels } else { bits },
            left_out: known.filter(|(_, name)| is_left_out(name)).map(|(number, _)| number).collect(),
            own: None,
        }
    }

    /// A gate that somebody else has set, over a floor: what matters passes it where it passes this machine's own.
    #[must_use]
    pub fn over_floor_of(self, own: Gate) -> Gate {
        Gate { own: Some(Arc::new(own)), ..self }
    }

    /// Whether an event of this level and category passes. A category that this version does not know passes: the
    /// configuration cannot have meant it.
    pub(super) fn passes(&self, level: Level, category: i32) -> bool {
        let is_let_in = self.levels & bit(level) != 0 && !self.left_out.contains(&category);
        let is_owed =
            || self.own.as_ref().is_some_and(|own| is_of_floor(level, category) && own.passes(level, category));
        level == Level::Essential || is_let_in || is_owed()
    }
}

/// What nobody but this machine's own files can leave out: a remote party that is taken over must not disarm the node.
/// Records of losses never come to a gate.
fn is_of_floor(level: Level, category: i32) -> bool {
    let is_guarded = matches!(category.try_into(), Ok(EventCategory::Security | EventCategory::Identity));
    match level {
        Level::Error | Level::Critical | Level::Essential => true,
        Level::Warn => is_guarded,
        Level::Info | Level::Debug | Level::Trace => false,
    }
}

fn bit(level: Level) -> u32 {
    1u32.checked_shl(level.to_wire() as u32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn essential_events_pass_every_gate() {
        let gate = Gate::new(&[Level::Error], &["storage".to_owned()]);
        assert!(gate.passes(Level::Essential, 1));
        assert!(gate.passes(Level::Error, 2));
        assert!(!gate.passes(Level::Error, 1), "another category");
        assert!(!gate.passes(Level::Info, 2), "another level");
        assert!(!gate.passes(Level::Debug, 2) && !gate.passes(Level::Trace, 2));
    }

    #[test]
    fn a_gate_of_somebody_else_lets_errors_and_what_is_worse_in_and_warnings_of_security_and_identity() {
        let number = |category: EventCategory| i32::from(category);
        let (security, identity, storage) =
            (number(EventCategory::Security), number(EventCategory::Identity), number(EventCategory::Storage));
        let silenced = || Gate::new(&[Level::Essential], &["usage".to_owned()]);
        let gate = silenced().over_floor_of(Gate::open());
        for category in [security, identity, storage] {
            assert!([Level::Error, Level::Critical, Level::Essential].map(|l| gate.passes(l, category)) == [true; 3]);
            assert_eq!(gate.passes(Level::Warn, category), category != storage);
            assert!(!gate.passes(Level::Info, category) && !silenced().passes(Level::Critical, category));
        }
        let own = Gate::new(&[], &["security".to_owned()]);
        let gate = silenced().over_floor_of(own);
        assert!(
            gate.passes(Level::Warn, security) && !gate.passes(Level::Error, storage),
            "left out here, by the files"
        );
    }

    #[test]
    fn no_names_let_everything_in() {
        let gate = Gate::new(&[], &[]);
        assert_eq!(gate, Gate::open());
        assert!(Level::ALL.into_iter().all(|level| (0..20).all(|category| gate.passes(level, category))));
    }
}
