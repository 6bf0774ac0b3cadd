//! Which lane an event goes to. Urgent are errors and worse, security events from warn on, and whatever ends a state
//! that was told as urgent: else a pool would be online again for a week before a controller with a backlog hears of it.
//!
//! Which state of its subject an event tells of, and which are over with it, stands in the schema. An end is known by what
//! it follows: so what is urgent is remembered until it has ended, and a warning and its end stay in one lane. Kept by the
//! emitter, and written down between runs.
//!
//! Always holds: at most [`STATES_MAX`] states of [`NAME_BYTES_MAX`] bytes are remembered, and of those that only other programs
//! told of at most [`OTHERS_MAX`].

use std::collections::VecDeque;

use crate::{
    event::{Head, Level},
    event_log::Lane,
    schema::events::EventCategory,
};

/// The most states that are remembered. Beyond it the oldest is forgotten, and its end travels as its level says.
const STATES_MAX: usize = 512;

/// Of these, so many that only other programs told of. The oldest of theirs goes first.
const OTHERS_MAX: usize = STATES_MAX / 4;

/// What such a one is written down with, before its name.
const OTHERS_MARK: char = '~';

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
    /// Who says so.
    teller: Teller,
}

/// Who told of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Teller {
    /// The agent itself.
    Agent,
    /// Another program.
    Other,
}

/// States that were told as urgent and have not ended, oldest first.
#[derive(Debug, Default)]
pub(super) struct UrgentStates {
    states: VecDeque<UrgentState>,
}

#[derive(Debug)]
struct UrgentState {
    name: String,
    teller: Teller,
}

/// The lanes of some events in their order, and which states were otherwise before them.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) lanes: Vec<Lane>,
    /// State, and by whose word it was an urgent one, if it was; in the order of the changes.
    before: Vec<(String, Option<Teller>)>,
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
        let mut facts = Facts { urgent: begins, begins, tells: None, ends: Vec::new(), teller: Teller::Agent };
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

    /// The same, of another program's event.
    pub(super) fn of_another(self) -> Facts {
        Facts { teller: Teller::Other, ..self }
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
        for name in names {
            let (name, teller) = match name.strip_prefix(OTHERS_MARK) {
                Some(name) => (name.to_owned(), Teller::Other),
                None => (name, Teller::Agent),
            };
            if name.len() <= NAME_BYTES_MAX {
                states.begin(UrgentState { name, teller });
            }
        }
        states
    }

    /// To be written down, oldest first.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.states.iter().map(|UrgentState { name, teller }| match teller {
            Teller::Agent => name.clone(),
            Teller::Other => format!("{OTHERS_MARK}{name}"),
        })
    }

    /// The lanes of events that come one after the other. What follows from them is remembered at once, so that whatever comes
    /// while these wait for room is sorted after them; [`UrgentStates::undo`] if the log does not take them.
    pub(super) fn sort<'a>(&mut self, events: impl IntoIterator<Item = &'a Facts>) -> Sorted {
        let mut sorted = Sorted::default();
        for facts in events {
            let before = self.are_spoken_of_by(facts);
            sorted.lanes.push(if facts.urgent || before { Lane::Urgent } else { Lane::Routine });
            for state in &facts.ends {
                self.change(state, None, &mut sorted);
            }
            if let Some(state) = &facts.tells {
                self.change(state, facts.begins.then_some(facts.teller), &mut sorted);
            }
        }
        sorted
    }

    /// Whether this event tells of one of these states, or ends it.
    pub(super) fn are_spoken_of_by(&self, facts: &Facts) -> bool {
        facts.states().any(|state| self.states.iter().any(|urgent| urgent.name == state))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Forgets what followed from events that the log has not taken.
    pub(super) fn undo(&mut self, sorted: Sorted) {
        for (state, teller) in sorted.before.into_iter().rev() {
            self.set(&state, teller);
        }
    }

    fn change(&mut self, state: &str, urgent: Option<Teller>, sorted: &mut Sorted) {
        let before = self.set(state, urgent);
        if before.is_some() != urgent.is_some() {
            sorted.before.push((state.to_owned(), before));
        }
    }

    /// Makes it an urgent one by somebody's word, or none. Gives by whose word it was one before.
    fn set(&mut self, state: &str, urgent: Option<Teller>) -> Option<Teller> {
        let place = self.states.iter().position(|other| other.name == state);
        let before = place.and_then(|place| self.states.get(place)).map(|known| known.teller);
        match (place, urgent) {
            (None, Some(teller)) => self.begin(UrgentState { name: state.to_owned(), teller }),
            (Some(place), None) => drop(self.states.remove(place)),
            // What the agent has seen itself is not only another's word any more.
            (Some(place), Some(Teller::Agent)) => {
                self.states.get_mut(place).into_iter().for_each(|known| known.teller = Teller::Agent);
            }
            _ => {}
        }
        before
    }

    fn begin(&mut self, state: UrgentState) {
        let is_theirs = |known: &UrgentState| known.teller == Teller::Other;
        let theirs = self.states.iter().filter(|known| is_theirs(known)).count();
        if self.states.len() >= STATES_MAX || (is_theirs(&state) && theirs >= OTHERS_MAX) {
            match self.states.iter().position(is_theirs) {
                Some(first) => drop(self.states.remove(first)),
                // What the agent has seen itself does not go for another's word.
                None if is_theirs(&state) => return,
                None => drop(self.states.pop_front()),
            }
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
        let names: Vec<String> = states.names().collect();
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

    #[test]
    fn other_programs_have_a_quarter_of_the_memory_and_theirs_goes_first() {
        let mut states = UrgentStates::default();
        lanes(&mut states, &["error service.status.failed own"]);
        let theirs = |number: usize| facts(&format!("error service.status.failed s{number}")).of_another();
        for number in 0..2 * STATES_MAX {
            states.sort([&theirs(number)]);
        }
        assert_eq!(states.names().count(), 1 + OTHERS_MAX);
        // Also through a restart.
        let mut states = UrgentStates::from_names(states.names().collect());
        for number in 1..STATES_MAX {
            lanes(&mut states, &[&format!("error service.status.failed own{number}")]);
        }
        let of_others = states.names().filter(|name| name.starts_with(OTHERS_MARK)).count();
        assert_eq!((states.names().count(), of_others), (STATES_MAX, 0));
        states.sort([&theirs(0)]);
        assert!(!states.names().any(|name| name.starts_with(OTHERS_MARK)), "nor does it take the place of another");
        assert_eq!(lanes(&mut states, &["info service.status.started own"]), [Urgent]);
    }
}
