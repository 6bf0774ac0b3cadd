//! The fold: takes events and gaps of both lanes, keeps how each thing is.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::Bound::{Included, Unbounded},
};

use uuid::Uuid;

use super::{
    acknowledgement::{self, Known, level_of},
    changes::{self, OTHERS},
    silences::Silences,
};
use crate::{
    event::{Catalogue, EventView, Head, Kind, KindMark, Level, loss_record},
    event_log::{APPENDED_AGAIN, Gap, Lane},
    order::{Gather as _, Sorted as _},
    schema::{
        Payload as _,
        events::{EventLossPayload, SystemProblemPayload},
        local::{FoldedLane, Folding, ProblemCounts, Silence, StateChange, StateGap, StateLevel, SubjectState},
    },
};

/// The most states that are kept. Beyond it go those that are well, the ones of which nothing was heard for longest first; where
/// all are wrong, the worse stay.
pub const SUBJECTS_MAX: usize = 4_096;

/// Of these, so many of which nobody but other programs has told. They go before others.
pub const OTHERS_MAX: usize = SUBJECTS_MAX / 4;

/// So many that are well go at once, so that finding them costs nothing when things come and go all the time.
const FORGOTTEN_AT_ONCE: usize = SUBJECTS_MAX / 16;

/// The most gaps that are named.
const GAPS_MAX: usize = 16;

/// The longest sentence, advice, and name of a thing that is kept, bytes; a longer one is cut.
const TEXT_BYTES_MAX: usize = 300;

/// Where an event stands in the log.
#[derive(Clone, Copy, Debug)]
pub struct LaneAt {
    pub lane: Lane,
    /// Identity of the numbering.
    pub epoch: Uuid,
    /// Its number in the lane.
    pub sequence: u64,
}

/// A thing and the name of a state of it.
pub(super) type Key = (String, String);

/// How each thing is, and until where that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fold {
    pub(super) subjects: BTreeMap<Key, SubjectState>,
    pub(super) lanes: [FoldedLane; 2],
    pub(super) gaps: Vec<StateGap>,
    pub(super) older_gaps: u64,
    pub(super) forgotten: u64,
    pub(super) left_out: u64,
    pub(super) rebuilt: String,
    pub(super) rebuilt_at: i64,
    pub(super) silences: Silences,
}

impl Fold {
    /// Nothing, before the first event of a log whose lanes begin with these sequences, urgent first.
    pub fn new(first_sequences: [u64; 2]) -> Fold {
        let lane = |lane: Lane| FoldedLane {
            lane: lane.name().to_owned(),
            next_sequence: first_sequences[lane.index()].max(1),
            ..FoldedLane::default()
        };
        let mut fold = Fold { lanes: Lane::ALL.map(lane), ..Fold::default() };
        for lane in Lane::ALL {
            fold.miss(lane, Gap { from: 1, to: fold.next_sequence(lane) });
        }
        fold
    }

    /// The same, over what was known before and cannot be folded again: what `before` knew is as it was at the time
    /// `carried_from`, Unix milliseconds, until an event tells of it. States that no kind tells of any more are forgotten.
    #[must_use]
    pub fn carrying(mut self, before: Fold, carried_from: i64) -> Fold {
        let is_known = |state: &SubjectState| Catalogue::compiled().is_state(&state.state);
        for (key, mut state) in before.subjects.into_iter().filter(|(_, state)| is_known(state)) {
            if state.carried_from == 0 {
                state.carried_from = carried_from;
            }
            self.subjects.insert(key, state);
        }
        let gaps = std::mem::replace(&mut self.gaps, before.gaps);
        self.older_gaps = before.older_gaps;
        gaps.into_iter().for_each(|gap| self.name_gap(gap));
        (self.forgotten, self.left_out) = (before.forgotten, before.left_out);
        self.silences = before.silences;
        self
    }

    /// Says why and when it was made anew.
    #[must_use]
    pub fn rebuilt(self, why: impl Into<String>, at: i64) -> Fold {
        Fold { rebuilt: why.into(), rebuilt_at: at, ..self }
    }

    /// The sequence that is to come next in a lane.
    pub fn next_sequence(&self, lane: Lane) -> u64 {
        self.lanes[lane.index()].next_sequence
    }

    /// Identifier of the event before the one that comes next in a lane, as it was written down; empty where that is not known.
    pub fn last_event_id(&self, lane: Lane) -> &str {
        &self.lanes[lane.index()].last_event_id
    }

    /// Notes the identifier of the event before the one that comes next in a lane.
    pub fn note_last_event_id(&mut self, lane: Lane, event_id: String) {
        self.lanes[lane.index()].last_event_id = event_id;
    }

    /// Marks of which every event has one that changes anything but the place in the log: others need not be looked at, as long
    /// as no gap [awaits](Fold::awaits_event) them.
    pub fn marks() -> Vec<KindMark> {
        Catalogue::compiled()
            .marks(|kind, meaning| !meaning.tells.is_empty() || !meaning.ends.is_empty() || is_noted(kind))
    }

    /// Whether the next event of a lane is to be looked at, whatever it is: it gives the time at which a gap ended.
    pub fn awaits_event(&self, lane: Lane) -> bool {
        self.gaps.iter().any(|gap| gap.noticed_at == 0 && gap.lane == lane.name())
    }

    /// Nothing that changes anything stands in a lane before this sequence.
    pub fn pass(&mut self, lane: Lane, next: u64) {
        let place = &mut self.lanes[lane.index()].next_sequence;
        *place = next.max(*place);
    }

    /// Whether anything was lost, or never known, of which the collectors have not told since.
    pub fn needs_assertion(&self) -> bool {
        self.gaps.iter().any(|gap| !gap.asserted)
    }

    /// The collectors have said how what they look at is: what was lost before this time, Unix milliseconds, is made up for.
    pub fn asserted(&mut self, time: i64) {
        for gap in self.gaps.iter_mut().filter(|gap| gap.noticed_at != 0 && gap.noticed_at <= time) {
            gap.asserted = true;
        }
    }

    /// Takes the next event of a lane, with its head where it is one; gives whether anything but the place in the log is otherwise
    /// now. What is no event, and what tells of no state, only moves the place.
    pub fn event(&mut self, at: LaneAt, head: Option<&Head>, event: &[u8]) -> bool {
        let lane = &mut self.lanes[at.lane.index()];
        if at.sequence < lane.next_sequence {
            // Whoever reads it twice folds it once.
            return false;
        }
        lane.next_sequence = at.sequence + 1;
        if lane.log_epoch != *at.epoch.hyphenated().encode_lower(&mut Uuid::encode_buffer()) {
            lane.log_epoch = at.epoch.to_string();
        }
        let Some(head) = head else { return false };
        let is_news = self.end_gaps(at.lane, head.timestamp);
        self.tell(at, head, event) || is_news
    }

    /// The next sequences of a lane are gone.
    pub fn gap(&mut self, lane: Lane, gap: Gap) {
        let next = &mut self.lanes[lane.index()].next_sequence;
        let gap = Gap { from: gap.from.max(*next), ..gap };
        *next = gap.to.max(*next);
        self.miss(lane, gap);
    }

    /// Everything, the worst first, of equals what has been wrong for longest; then by name.
    pub fn worst_first(&self) -> Vec<&SubjectState> {
        let mut all: Vec<_> = self.subjects.values().collect();
        all.order_by_key(|state| badness(state));
        all
    }

    /// What is wrong, the worst first; what is acknowledged behind everything else. At most so many.
    pub fn worst(&self, most: usize) -> Vec<&SubjectState> {
        let mut wrong: Vec<_> = self.subjects.values().filter(|state| state.level() != StateLevel::Ok).collect();
        wrong.order_by_key(|state| (state.acknowledgement.is_some(), badness(state)));
        wrong.truncate(most);
        wrong
    }

    /// How many states are kept.
    pub fn len(&self) -> usize {
        self.subjects.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// How many that are wrong had no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Of what nobody is to be told.
    pub fn silences(&self) -> &Silences {
        &self.silences
    }

    /// What is known of one thing.
    pub fn of_subject<'a>(&'a self, subject: &'a str) -> impl Iterator<Item = &'a SubjectState> {
        let from = (subject.to_owned(), String::new());
        self.subjects
            .range((Included(from), Unbounded))
            .map(|(_, state)| state)
            .take_while(move |it| it.subject == subject)
    }

    /// How many are wrong.
    pub fn problems(&self) -> ProblemCounts {
        let mut counts = ProblemCounts::default();
        for state in self.subjects.values() {
            match state.level() {
                StateLevel::Ok => continue,
                StateLevel::Warn => counts.warn += 1,
                StateLevel::Error => counts.error += 1,
                StateLevel::Critical => counts.critical += 1,
            }
            counts.acknowledged += u64::from(state.acknowledgement.is_some());
        }
        counts
    }

    /// Until where it is folded.
    pub fn folding(&self) -> Folding {
        Folding {
            lanes: self.lanes.to_vec(),
            gaps: self.gaps.clone(),
            older_gaps: self.older_gaps,
            known_since: self.known_since(),
            subjects: self.subjects.len() as u64,
            subjects_max: SUBJECTS_MAX as u64,
            forgotten: self.forgotten,
            left_out: self.left_out,
            behind_events: 0,
            rebuilt: self.rebuilt.clone(),
            rebuilt_at: self.rebuilt_at,
        }
    }

    /// What a fold is made of; `None` when it is of no use.
    pub(super) fn of(folding: Folding, subjects: Vec<SubjectState>, silences: Vec<Silence>) -> Option<Fold> {
        let named = |lane: &FoldedLane, name: Lane| lane.lane == name.name() && lane.next_sequence > 0;
        let lanes: [FoldedLane; 2] = folding.lanes.try_into().ok()?;
        if !lanes.iter().zip(Lane::ALL).all(|(lane, name)| named(lane, name)) || subjects.len() > SUBJECTS_MAX {
            return None;
        }
        let key = |state: SubjectState| ((state.subject.clone(), state.state.clone()), state);
        Some(Fold {
            subjects: subjects.into_iter().filter(|state| !state.changes.is_empty()).map(key).gather(),
            lanes,
            gaps: folding.gaps,
            older_gaps: folding.older_gaps,
            forgotten: folding.forgotten,
            left_out: folding.left_out,
            rebuilt: folding.rebuilt,
            rebuilt_at: folding.rebuilt_at,
            silences: Silences::of(silences),
        })
    }

    fn tell(&mut self, at: LaneAt, head: &Head, event: &[u8]) -> bool {
        let Some(meaning) = head.meaning() else { return false };
        if meaning.tells.is_empty() && meaning.ends.is_empty() {
            return self.note(head, event);
        }
        let Ok(view) = EventView::decode(event) else { return false };
        // What is essential belongs to the record; how bad it is stands with the kind.
        let told = if head.level == Level::Essential { meaning.level } else { head.level };
        let change = |level: StateLevel| StateChange {
            level: level.into(),
            since: head.timestamp,
            last_time: head.timestamp,
            wrong_since: 0,
            events: 1,
            text: cut(view.sentence()),
            advice: if level == StateLevel::Ok { String::new() } else { cut(view.advice()) },
            kind: view.kind().to_string(),
            source: view.source().to_owned(),
            event_id: head.id.clone(),
            lane: at.lane.name().to_owned(),
            sequence: at.sequence,
        };
        let is_again = view.metadata(APPENDED_AGAIN).is_some();
        for ended in meaning.ends.iter().filter(|ended| **ended != meaning.tells) {
            self.put(ended, head.subject_name(), change(StateLevel::Ok), is_again);
        }
        if !meaning.tells.is_empty() {
            self.put(&meaning.tells, head.subject_name(), change(level_of(told)), is_again);
        }
        true
    }

    /// What is no state, and all the same says something about them.
    fn note(&mut self, head: &Head, event: &[u8]) -> bool {
        if !head.kind().is_some_and(|kind| is_noted(&kind)) {
            return false;
        }
        let Ok(view) = EventView::decode(event) else { return false };
        if let Some(known) = Known::of(&view) {
            let key = (known.subject.clone(), known.state.clone());
            if let Some(state) = self.subjects.get_mut(&key) {
                known.mark(state);
            }
            return true;
        }
        if self.silences.take(&view) {
            return true;
        }
        // Events that had a number leave a gap where they stood.
        match loss_record(&view).filter(|(lost, _)| lost.consumer.is_empty() && lost.last_sequence == 0) {
            // What was never durable a collector has not remembered as told either: it tells of it again. Whoever waited for an
            // answer has got none.
            Some((lost, _)) => self.name_gap(StateGap {
                lane: lost.lane,
                events: if lost.count_exact { lost.count } else { 0 },
                noticed_at: head.timestamp,
                asserted: true,
                ..StateGap::default()
            }),
            None => return false,
        }
        true
    }

    fn put(&mut self, state: &str, subject: &str, change: StateChange, is_again: bool) {
        let key = (cut(subject.to_owned()), state.to_owned());
        if !self.subjects.contains_key(&key) && !self.has_room(&change) {
            self.left_out += u64::from(change.level() != StateLevel::Ok);
            self.forgotten += u64::from(change.level() == StateLevel::Ok);
            return;
        }
        let known = self.subjects.entry(key).or_insert_with_key(|(subject, state)| SubjectState {
            subject: subject.clone(),
            state: state.clone(),
            ..SubjectState::default()
        });
        let is_same = known.changes.first().is_some_and(|now| now.level == change.level);
        if known.carried_from != 0 && !is_same {
            // What is folded again counts, whenever it was.
            known.changes.clear();
        }
        (known.carried_from, known.lost_since) = (0, 0);
        let acknowledgement = known.acknowledgement.take();
        known.acknowledgement = acknowledgement::after(acknowledgement, &change);
        changes::put(&mut known.changes, change, is_again);
    }

    /// Whether something new may have no room, of other programs or at all.
    pub fn is_full(&self) -> bool {
        let of_others = || self.subjects.values().filter(|state| is_of_others(state)).count();
        self.subjects.len() >= SUBJECTS_MAX || (self.subjects.len() >= OTHERS_MAX && of_others() >= OTHERS_MAX)
    }

    /// Whether there is room for something new, if need be because somebody goes for it.
    fn has_room(&mut self, new: &StateChange) -> bool {
        let is_theirs = new.source == OTHERS && self.subjects.len() >= OTHERS_MAX;
        if is_theirs && self.subjects.values().filter(|state| is_of_others(state)).count() >= OTHERS_MAX {
            return self.make_room(new, is_of_others);
        }
        self.subjects.len() < SUBJECTS_MAX || self.make_room(new, |_| true)
    }

    /// Has somebody go, of those who may, for something new; gives whether there is room now.
    fn make_room(&mut self, new: &StateChange, may_go: impl Fn(&SubjectState) -> bool) -> bool {
        let heard = |state: &SubjectState| state.changes.first().map_or(0, |now| now.last_time);
        let mut well: Vec<_> = self
            .subjects
            .iter()
            .filter(|(_, state)| state.level() == StateLevel::Ok && may_go(state))
            .map(|(key, state)| (!is_of_others(state), heard(state), key.clone()))
            .collect();
        if well.is_empty() {
            let rank = |state: &SubjectState| (state.level(), !is_of_others(state));
            let rank_of_new = (new.level(), new.source != OTHERS);
            let those = self.subjects.iter().filter(|(_, state)| may_go(state));
            let least = those.min_by_key(|(_, state)| (rank(state), heard(state)));
            let Some((key, _)) = least.filter(|(_, state)| rank(state) < rank_of_new) else { return false };
            let key = key.clone();
            self.subjects.remove(&key);
            self.left_out += 1;
            return true;
        }
        well.order_by(Ord::cmp);
        for (_, _, key) in well.into_iter().take(FORGOTTEN_AT_ONCE) {
            self.subjects.remove(&key);
            self.forgotten += 1;
        }
        true
    }

    /// What happened before this is not known, Unix milliseconds; 0 where the log was folded from its beginning.
    fn known_since(&self) -> i64 {
        self.gaps.iter().filter(|gap| gap.first_sequence == 1).map(|gap| gap.noticed_at).max().unwrap_or(0)
    }

    /// Events that have numbers.
    fn miss(&mut self, lane: Lane, Gap { from, to }: Gap) {
        if to > from {
            let (lane, events) = (lane.name().to_owned(), to - from);
            let (first_sequence, last_sequence) = (from, to - 1);
            self.lose(StateGap { lane, first_sequence, last_sequence, events, ..StateGap::default() });
        }
    }

    fn lose(&mut self, gap: StateGap) {
        for state in self.subjects.values_mut() {
            state.lost_since = state.lost_since.saturating_add(gap.events);
        }
        self.name_gap(gap);
    }

    fn name_gap(&mut self, gap: StateGap) {
        self.gaps.push(gap);
        if self.gaps.len() > GAPS_MAX {
            // Where the log begins is known as long as there is one.
            let oldest = self.gaps.iter().position(|gap| gap.first_sequence != 1).unwrap_or(0);
            self.gaps.remove(oldest);
            self.older_gaps += 1;
        }
    }

    /// The first event behind a gap gives the time of its end.
    fn end_gaps(&mut self, lane: Lane, time: i64) -> bool {
        let mut open = self.gaps.iter_mut().filter(|gap| gap.noticed_at == 0 && gap.lane == lane.name()).peekable();
        let is_news = open.peek().is_some();
        open.for_each(|gap| gap.noticed_at = time);
        is_news
    }
}

/// Whether nobody but other programs has told of it.
fn is_of_others(state: &SubjectState) -> bool {
    state.changes.iter().all(|change| change.source == OTHERS)
}

/// Whether events of this kind say something about states without telling of one.
fn is_noted(kind: &Kind) -> bool {
    let is_of =
        |subject| kind.as_str().strip_prefix(subject).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    is_of(SystemProblemPayload::SUBJECT) || is_of(EventLossPayload::SUBJECT)
}

/// The worst first, of equals what has been wrong for longest.
fn badness(state: &SubjectState) -> (Reverse<StateLevel>, i64) {
    (Reverse(state.level()), state.changes.first().map_or(0, |now| now.wrong_since))
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let most = TEXT_BYTES_MAX - '…'.len_utf8();
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}
