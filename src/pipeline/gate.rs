//! Which events the configuration lets into the log.

use std::sync::Arc;

use crate::event::{Catalogue, Level};

/// Levels and categories that are let in. [`Level::Essential`] always is. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// One bit for each level's number on the wire.
    levels: u32,
    /// Numbers of the categories that are left out.
    left_out: Arc<[i32]>,
}

impl Gate {
    /// Lets everything in.
    pub fn open() -> Gate {
        Gate { levels: u32::MAX, left_out: Arc::from([]) }
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
        }
    }

    /// Whether an event of this level and category passes. A category that this version does not know passes: the
    /// configuration cannot have meant it.
    pub(super) fn passes(&self, level: Level, category: i32) -> bool {
        level == Level::Essential || (self.levels & bit(level) != 0 && !self.left_out.contains(&category))
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
    fn no_names_let_everything_in() {
        let gate = Gate::new(&[], &[]);
        assert_eq!(gate, Gate::open());
        assert!(Level::ALL.into_iter().all(|level| (0..20).all(|category| gate.passes(level, category))));
    }
}
