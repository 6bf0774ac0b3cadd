//! Which lane an event goes to. Urgent are errors and worse, security events from warn on, and whatever ends a state
//! that was told as urgent: else a pool would be online again for a week before a controller with a backlog hears of it.
//!
//! An end is known by what it follows: the first event of a lower level about the same state of the same thing. So what is
//! urgent is remembered until it has ended, and a warning and its end stay in one lane. Some kinds need no memory, for
//! they are only ever told when something bad is over. Kept by the emitter, and written down between runs.
//!
//! Always holds: at most [`STATES_MAX`] states of [`NAME_BYTES_MAX`] bytes are remembered.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    event::{EventView, Level, Summary},
    event_log::Lane,
    schema::events::EventCategory,
};

/// The most states that are remembered. Beyond it the oldest is forgotten, and its end travels as its level says.
const STATES_MAX: usize = 512;

/// A thing with a longer name is not remembered: its end travels as its level says.
const NAME_BYTES_MAX: usize = 200;

/// States of things, by the kinds that tell of them; a dot at the end stands for all that begin so. Kinds that are not
/// here tell what happened, not how something is: nothing ends them.
const STATES: &[(&str, &[&str])] = &[
    (
        "pool",
        &[
            "storage.pool.degraded",
            "storage.pool.faulted",
            "storage.pool.suspended",
            "storage.pool.online",
            "storage.pool.exported",
            "storage.pool.deleted",
            "storage.pool.removed",
        ],
    ),
    ("pool errors", &["storage.pool.errors", "storage.pool.errors_cleared"]),
    ("pool scrub", &["storage.pool.scrub_completed"]),
    ("pool resilver", &["storage.pool.resilver_completed"]),
    ("pool capacity", &["storage.pool.capacity"]),
    ("disk health", &["storage.disk.health_changed", "storage.disk.quarantined", "storage.disk.validated"]),
    ("disk", &["storage.disk."]),
    ("dataset", &["storage.dataset.property_changed", "storage.dataset.unmounted", "storage.dataset.deleted"]),
    (
        "interface",
        &["network.interface.up", "network.interface.down", "network.interface.added", "network.interface.removed"],
    ),
    ("clock", &["system.host.clock_unsynchronised", "system.host.clock_synchronised"]),
    ("event log", &["system.host.event_log_degraded", "system.host.event_log_restored"]),
    ("service", &["service.status."]),
    ("certificate", &["security.certificate."]),
    ("threshold", &["usage.threshold."]),
];

/// Kinds that are told only when something is over that was an error.
const ENDS: &[&str] = &["storage.pool.online", "storage.pool.errors_cleared"];

/// What is said of an event, as far as its lane depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// By its level and category, or because it is an end in any case.
    urgent: bool,
    /// The level and category make it urgent: it may begin a state.
    begins: bool,
    /// Which state of which thing it tells of.
    state: Option<String>,
}

/// States that were told as urgent and have not ended, oldest first.
#[derive(Debug, Default)]
pub(super) struct UrgentStates {
    states: VecDeque<String>,
}

/// The lanes of some events in their order, and what follows from them for [`UrgentStates`].
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) lanes: Vec<Lane>,
    /// State, and whether it is now an urgent one.
    changes: BTreeMap<String, bool>,
}

/// Whether an event is urgent whatever went before.
fn is_urgent(level: Level, category: i32) -> bool {
    level >= Level::Error || (category == EventCategory::Security as i32 && level >= Level::Warn)
}

impl Facts {
    /// Of an event. Costs a look at its descriptors, the more if it tells of a state.
    pub(super) fn of(event: &EventView, level: Level, category: i32) -> Facts {
        let begins = is_urgent(level, category);
        let kind = event.kind();
        let state = state_told_by(kind.as_str())
            .map(|state| format!("{state} {}", Summary::of(event).subject))
            .filter(|state| state.len() <= NAME_BYTES_MAX);
        Facts { urgent: begins || ENDS.contains(&kind.as_str()), begins, state }
    }
}

fn state_told_by(kind: &str) -> Option<&'static str> {
    let tells = |pattern: &&str| kind == *pattern || (pattern.ends_with('.') && kind.starts_with(*pattern));
    STATES.iter().find(|(_, kinds)| kinds.iter().any(tells)).map(|(state, _)| *state)
}

impl UrgentStates {
    /// As they were written down, oldest first.
    pub(super) fn from_names(names: Vec<String>) -> UrgentStates {
        let mut states = UrgentStates::default();
        names.into_iter().filter(|name| name.len() <= NAME_BYTES_MAX).for_each(|name| states.begin(name));
        states
    }

    /// To be written down, oldest first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.states.iter().map(String::as_str)
    }

    /// The lanes of events that come one after the other. Nothing is remembered before [`UrgentStates::apply`].
    pub(super) fn sort<'a>(&self, events: impl IntoIterator<Item = &'a Facts>) -> Sorted {
        let mut sorted = Sorted::default();
        for facts in events {
            let before = facts
                .state
                .as_ref()
                .is_some_and(|state| sorted.changes.get(state).copied().unwrap_or_else(|| self.states.contains(state)));
            sorted.lanes.push(if facts.urgent || before { Lane::Urgent } else { Lane::Routine });
            if let Some(state) = facts.state.as_ref().filter(|_| before != facts.begins) {
                sorted.changes.insert(state.clone(), facts.begins);
            }
        }
        sorted
    }

    /// Remembers what follows from events that the log has taken. Gives whether anything is different now.
    pub(super) fn apply(&mut self, sorted: Sorted) -> bool {
        let is_news = |states: &UrgentStates, state: &String, urgent: bool| states.states.contains(state) != urgent;
        let mut changed = false;
        for (state, urgent) in sorted.changes {
            if !is_news(self, &state, urgent) {
                continue;
            }
            changed = true;
            if urgent { self.begin(state) } else { self.states.retain(|other| *other != state) }
        }
        changed
    }

    fn begin(&mut self, state: String) {
        if self.states.len() >= STATES_MAX {
            self.states.pop_front();
        }
        self.states.push_back(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{json, kind},
        schema::events::Event,
    };

    /// The lane of each event of a story, `level kind name`, remembered one after the other.
    fn lanes(states: &mut UrgentStates, story: &[&str]) -> Vec<Lane> {
        let lane = |line: &&str| {
            let sorted = states.sort([&facts(line)]);
            let lane = sorted.lanes[0];
            states.apply(sorted);
            lane
        };
        story.iter().map(lane).collect()
    }

    fn facts(line: &str) -> Facts {
        let event = event(line);
        let view = EventView::from(&event);
        Facts::of(&view, view.level(), event.category)
    }

    fn event(line: &str) -> Event {
        let [level, kind, name] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("three words: {line}") };
        let field = match kind.rsplit_once('.').expect("a kind").0 {
            "storage.pool" => "pool_name",
            "storage.disk" => "device_id",
            "storage.dataset" => "dataset_name",
            "network.interface" => "interface_name",
            "service.status" => "service_name",
            "usage.threshold" => "threshold_name",
            "security.auth" => "username",
            _ => "subject",
        };
        json::from_str(&format!(r#"{{"level": "{level}", "kind": "{kind}", "payload": {{"{field}": "{name}"}}}}"#))
            .expect("an event")
    }

    use Lane::{Routine, Urgent};

    #[test]
    fn errors_and_worse_are_urgent_and_of_security_events_warnings_too() {
        for (line, lane) in [
            ("essential system.host.heartbeat nas", Urgent),
            ("critical storage.pool.faulted tank", Urgent),
            ("error storage.pool.errors tank", Urgent),
            ("warn network.interface.down eth0", Routine),
            ("warn security.auth.login_failed eve", Urgent),
            ("info security.auth.login_success eve", Routine),
            ("debug service.status.stopped timer", Routine),
        ] {
            assert_eq!(UrgentStates::default().sort([&facts(line)]).lanes, [lane], "{line}");
        }
    }

    #[test]
    fn what_ends_an_urgent_state_is_urgent_and_what_follows_is_not() {
        let mut states = UrgentStates::default();
        let story = [
            "error service.status.failed smbd",
            "info service.status.started nfsd",
            "warn service.status.restarted smbd",
            "info service.status.stopped smbd",
            "error usage.threshold.exceeded capacity:/srv",
            "warn usage.threshold.approached capacity:/srv",
            "info usage.threshold.cleared capacity:/srv",
            "error storage.disk.state_changed sda",
            "info storage.disk.health_changed sda",
            "info storage.disk.removed_from_pool sda",
        ];
        assert_eq!(
            lanes(&mut states, &story),
            [Urgent, Routine, Urgent, Routine, Urgent, Urgent, Routine, Urgent, Routine, Urgent]
        );
        assert_eq!(states.names().count(), 0);
    }

    #[test]
    fn a_pools_work_does_not_end_its_trouble() {
        let mut states = UrgentStates::default();
        let story = [
            "error storage.pool.degraded tank",
            "error storage.pool.errors tank",
            "info storage.pool.resilver_started tank",
            "info storage.pool.resilver_completed tank",
            "info storage.pool.exported tank",
        ];
        assert_eq!(lanes(&mut states, &story), [Urgent, Urgent, Routine, Routine, Urgent]);
        assert_eq!(states.names().collect::<Vec<_>>(), ["pool errors tank"]);
    }

    #[test]
    fn a_warning_and_its_end_stay_in_one_lane() {
        let mut states = UrgentStates::default();
        let story = [
            "warn network.interface.down eth0",
            "info network.interface.up eth0",
            "warn system.host.clock_unsynchronised clock",
            "info system.host.clock_synchronised clock",
            "error network.interface.down eth0",
            "info network.interface.up eth0",
        ];
        assert_eq!(lanes(&mut states, &story), [Routine, Routine, Routine, Routine, Urgent, Urgent]);
    }

    #[test]
    fn a_pool_that_is_online_again_is_urgent_whatever_is_remembered() {
        let mut states = UrgentStates::default();
        let story = ["info storage.pool.online tank", "info storage.pool.errors_cleared tank"];
        assert_eq!(lanes(&mut states, &story), [Urgent, Urgent]);
        assert_eq!(states.names().count(), 0);
    }

    #[test]
    fn events_of_one_request_are_sorted_one_after_the_other() {
        let story = ["error service.status.failed a", "info service.status.started a", "info service.status.stopped a"];
        let facts = story.map(facts);
        let mut states = UrgentStates::default();
        let sorted = states.sort(&facts);
        assert_eq!(sorted.lanes, [Urgent, Urgent, Routine]);
        assert_eq!(states.names().count(), 0, "nothing is remembered before the log has them");
        assert!(!states.apply(sorted));
    }

    #[test]
    fn what_is_written_down_comes_back_in_its_order() {
        let mut states = UrgentStates::default();
        lanes(&mut states, &["error service.status.failed b", "error service.status.failed a"]);
        let names: Vec<String> = states.names().map(str::to_owned).collect();
        let mut states = UrgentStates::from_names(names.clone());
        assert_eq!(states.names().collect::<Vec<_>>(), names);
        assert_eq!(lanes(&mut states, &["info service.status.started a"]), [Urgent]);
    }

    #[test]
    fn the_memory_is_bounded_in_states_and_in_names() {
        let mut states = UrgentStates::default();
        for number in 0..=STATES_MAX {
            lanes(&mut states, &[&format!("error service.status.failed s{number}")]);
        }
        assert_eq!(states.names().count(), STATES_MAX);
        let story = ["info service.status.started s0", "info service.status.started s1"];
        assert_eq!(lanes(&mut states, &story), [Routine, Urgent], "the oldest is forgotten");
        let long = "x".repeat(NAME_BYTES_MAX);
        assert_eq!(facts(&format!("error service.status.failed {long}")).state, None);
        assert_eq!(UrgentStates::from_names(vec![long + "x"; STATES_MAX + 1]).names().count(), 0);
    }

    #[test]
    fn every_kind_that_is_named_here_is_one_of_the_schema() {
        let named = STATES.iter().flat_map(|(_, kinds)| *kinds).chain(ENDS);
        for name in named {
            let known =
                |kind: &kind::Kind| kind.as_str() == *name || (name.ends_with('.') && kind.as_str().starts_with(name));
            assert!(kind::all().iter().any(known), "{name}");
        }
    }
}
