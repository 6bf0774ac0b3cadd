//! Which lane an event goes to. Urgent are errors and worse, security events from warn on, and whatever ends a state
//! that was told as urgent: else a pool would be online again for a week before a controller with a backlog hears of it.
//!
//! Which state of its subject an event tells of, and which are over with it, stands in the schema. An end is known by what
//! it follows: so what is urgent is remembered until it has ended, and a warning and its end stay in one lane. Kept by the
//! emitter, and written down between runs.
//!
//! Always holds: at most [`STATES_MAX`] states of [`NAME_BYTES_MAX`] bytes are remembered.

use std::collections::VecDeque;

use crate::{
    event::{Head, Level},
    event_log::Lane,
    schema::events::EventCategory,
};

/// The most states that are remembered. Beyond it the oldest is forgotten, and its end travels as its level says.
const STATES_MAX: usize = 512;

/// A thing with a longer name is not remembered: its end travels as its level says.
const NAME_BYTES_MAX: usize = 200;

/// What is said of an event, as far as its lane depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// By its level and category, or because it is told only after something urgent.
    urgent: bool,
    /// Whether the state that it tells of is an urgent one from now on.
    begins: bool,
    /// The state of a thing that it tells of.
    tells: Option<String>,
    /// States of the thing that are over with it.
    ends: Vec<String>,
}

/// States that were told as urgent and have not ended, oldest first.
#[derive(Debug, Default)]
pub(super) struct UrgentStates {
    states: VecDeque<String>,
}

/// The lanes of some events in their order, and which states were otherwise before them.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) lanes: Vec<Lane>,
    /// State, and whether it was an urgent one; in the order of the changes.
    before: Vec<(String, bool)>,
}

impl Sorted {
    /// Whether anything is remembered otherwise now.
    pub(super) fn is_news(&self) -> bool {
        !self.before.is_empty()
    }
}

/// Whether an event is urgent whatever went before.
fn is_urgent(level: Level, category: i32) -> bool {
    level >= Level::Error || (category == EventCategory::Security as i32 && level >= Level::Warn)
}

impl Facts {
    /// Of an event of this level and category.
    pub(super) fn of(event: &Head, level: Level, category: i32) -> Facts {
        let begins = is_urgent(level, category);
        let mut facts = Facts { urgent: begins, begins, tells: None, ends: Vec::new() };
        if let Some(meaning) = event.meaning().filter(|meaning| !meaning.tells.is_empty() || !meaning.ends.is_empty()) {
            let subject = event.subject_name();
            let state = |name: &String| format!("{name} {subject}");
            let is_short = |state: &String| state.len() <= NAME_BYTES_MAX;
            facts.tells = Some(&meaning.tells).filter(|name| !name.is_empty()).map(state).filter(is_short);
            facts.ends = meaning.ends.iter().map(state).filter(is_short).collect();
            facts.urgent |= meaning.ends.contains(&meaning.tells);
        }
        facts
    }

    /// The urgent state that it begins.
    pub(super) fn begun(&self) -> Option<&str> {
        self.tells.as_deref().filter(|_| self.begins)
    }

    /// The states that it tells of, or ends.
    pub(super) fn states(&self) -> impl Iterator<Item = &str> {
        self.tells.iter().chain(&self.ends).map(String::as_str)
    }
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

    /// The lanes of events that come one after the other. What follows from them is remembered at once, so that whatever comes
    /// while these wait for room is sorted after them; [`UrgentStates::undo`] if the log does not take them.
    pub(super) fn sort<'a>(&mut self, events: impl IntoIterator<Item = &'a Facts>) -> Sorted {
        let mut sorted = Sorted::default();
        for facts in events {
            let before = self.are_spoken_of_by(facts);
            sorted.lanes.push(if facts.urgent || before { Lane::Urgent } else { Lane::Routine });
            for state in &facts.ends {
                self.change(state, false, &mut sorted);
            }
            if let Some(state) = &facts.tells {
                self.change(state, facts.begins, &mut sorted);
            }
        }
        sorted
    }

    /// Whether this event tells of one of these states, or ends it.
    pub(super) fn are_spoken_of_by(&self, facts: &Facts) -> bool {
        facts.states().any(|state| self.states.iter().any(|urgent| urgent == state))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Forgets what followed from events that the log has not taken.
    pub(super) fn undo(&mut self, sorted: Sorted) {
        for (state, was_urgent) in sorted.before.into_iter().rev() {
            self.set(&state, was_urgent);
        }
    }

    fn change(&mut self, state: &str, urgent: bool, sorted: &mut Sorted) {
        if self.set(state, urgent) {
            sorted.before.push((state.to_owned(), !urgent));
        }
    }

    /// Gives whether it was otherwise.
    fn set(&mut self, state: &str, urgent: bool) -> bool {
        let known = self.states.iter().position(|other| other == state);
        match (known, urgent) {
            (None, true) => self.begin(state.to_owned()),
            (Some(place), false) => drop(self.states.remove(place)),
            _ => return false,
        }
        true
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
    use prost::Message as _;

    use super::*;
    use crate::{event::json, schema::events::Event};

    /// The lane of each event of a story, `level kind name`, remembered one after the other.
    fn lanes(states: &mut UrgentStates, story: &[&str]) -> Vec<Lane> {
        let lane = |line: &&str| states.sort([&facts(line)]).lanes[0];
        story.iter().map(lane).collect()
    }

    fn facts(line: &str) -> Facts {
        let event = event(line);
        let head = Head::read(&event.encode_to_vec()).expect("an event");
        Facts::of(&head, head.level, event.category)
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
        assert_eq!(states.names().count(), 0, "a pool that has gone has no trouble here");
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
        assert_eq!(states.names().count(), 0);
    }

    #[test]
    fn what_comes_while_an_event_waits_is_sorted_after_it_and_what_was_not_taken_is_forgotten() {
        let mut states = UrgentStates::default();
        lanes(&mut states, &["error service.status.failed a"]);
        let waiting = states.sort(&["error service.status.failed b", "info service.status.started a"].map(facts));
        assert_eq!(lanes(&mut states, &["info service.status.started b"]), [Urgent], "its failure is on its way");
        lanes(&mut states, &["error service.status.failed b"]);
        states.undo(waiting);
        assert_eq!(states.names().collect::<Vec<_>>(), ["service a"]);
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
        assert_eq!(facts(&format!("error service.status.failed {long}")).tells, None);
        assert_eq!(UrgentStates::from_names(vec![long + "x"; STATES_MAX + 1]).names().count(), 0);
    }
}
