//! What is missing, for every course that the numbering of a lane can take.

use proptest::prelude::*;

use super::*;
use crate::controller::store::Stream;

const NOW: i64 = 1_000_000_000;

fn stream(epoch: &str, ranges: &[(u64, u64, i64)]) -> Stream {
    let mut received = Ranges::default();
    ranges.iter().for_each(|(first, last, since)| received.insert(*first..=*last, *since));
    Stream { epoch: epoch.into(), lane: "routine".into(), events: received.count(), received }
}

fn lost(epoch: &str, range: Option<(u64, u64)>, consumer: &str) -> Loss {
    Loss {
        event_id: "report".into(),
        received_at: 50,
        epoch: epoch.into(),
        lane: "routine".into(),
        consumer: consumer.into(),
        operation: "retention".into(),
        range,
        count: range.map_or(0, |(first, last)| last - first + 1),
        exact: range.is_some(),
        first_time: 0,
        last_time: 0,
    }
}

fn overlap(one: &str, two: &str, same: u64, differs_at: Option<u64>) -> Overlap {
    Overlap { lane: "routine".into(), epochs: [one.into(), two.into()], same, differs_at }
}

fn account(streams: Vec<Stream>, losses: Vec<Loss>, overlaps: Vec<Overlap>) -> LaneAccount {
    let node =
        Node { node: "n".into(), organisation: String::new(), seen_at: NOW, events: 0, streams, losses, overlaps };
    let account = Account::of(&node);
    assert_eq!(account.missing(), account.lanes.iter().map(|lane| lane.missing).sum::<u64>());
    account.lanes.into_iter().find(|lane| lane.lane == "routine").expect("a lane")
}

/// What is missing, by epoch: first, last and since when.
fn missing(account: &LaneAccount) -> Vec<(&str, u64, u64, i64)> {
    let holes = |epoch: &'_ EpochAccount| -> Vec<_> {
        epoch.missing.iter().map(|hole| (hole.first, hole.last, hole.since)).collect()
    };
    account
        .epochs
        .iter()
        .flat_map(|epoch| {
            holes(epoch).into_iter().map(|(first, last, since)| (epoch.epoch.as_str(), first, last, since))
        })
        .collect()
}

#[test]
fn a_lane_without_a_hole_is_complete() {
    let account = account(vec![stream("a", &[(1, 900, 0)])], vec![], vec![]);
    assert_eq!((account.missing, account.received, account.lost_exact), (0, 900, true));
}

#[test]
fn what_was_overtaken_is_missing_since_the_first_higher_one_came() {
    let account = account(vec![stream("a", &[(3, 5, 10), (8, 9, 30), (11, 11, 20)])], vec![], vec![]);
    assert_eq!(missing(&account), [("a", 1, 2, 10), ("a", 6, 7, 20), ("a", 10, 10, 20)]);
    assert_eq!(account.missing, 5);
}

#[test]
fn epochs_that_are_too_far_apart_to_be_compared_are_of_one_history_until_one_between_them_differs() {
    let far = NEIGHBOURS_MAX as u64 + 2;
    let name = |index: u64| format!("{index:03}");
    // Each epoch goes on where the last one ended; all of them together are one history.
    let streams = || (0..=far).map(|index| stream(&name(index), &[(index * 10 + 1, index * 10 + 10, index as i64)]));
    assert_eq!(account(streams().collect(), vec![], vec![]).missing, 0);
    // From 5 on the second is another log, and what follows goes on from that.
    let mut streams: Vec<_> = streams().collect();
    streams[1] = stream(&name(1), &[(5, 20, 1)]);
    let account = account(streams, vec![], vec![overlap(&name(0), &name(1), 0, Some(5))]);
    assert_eq!(missing(&account), []);
    let streams: Vec<_> = (0..=far)
        .map(|index| match index {
            0 => stream(&name(0), &[(1, 30, 0)]),
            1 => stream(&name(1), &[(1, 10, 1)]),
            _ => stream(&name(index), &[(index * 10 + 1, index * 10 + 10, index as i64)]),
        })
        .collect();
    let account = self::account(streams, vec![], vec![overlap(&name(0), &name(1), 0, Some(1))]);
    let last = name(far);
    assert_eq!(missing(&account), [(last.as_str(), 11, 20, 2)], "what another log holds there is not this one's");
}

#[test]
fn what_was_reported_lost_is_not_missing_but_for_other_consumers_or_without_numbers_it_is() {
    let streams = || vec![stream("a", &[(1, 10, 0), (21, 30, 0)])];
    let complete = account(streams(), vec![lost("a", Some((11, 20)), "")], vec![]);
    assert_eq!((complete.missing, complete.lost, complete.lost_exact), (0, 10, true));
    assert_eq!(complete.epochs[0].losses.len(), 1);
    let hook = account(streams(), vec![lost("a", Some((11, 20)), "hook")], vec![]);
    assert_eq!((hook.missing, hook.lost, hook.epochs[0].losses.len()), (10, 0, 0));
    let unnumbered = account(streams(), vec![lost("a", None, "uplink")], vec![]);
    assert_eq!((unnumbered.missing, unnumbered.lost_exact), (10, false));
}

#[test]
fn a_loss_at_the_end_tells_that_there_were_numbers_before_it() {
    let account = account(vec![stream("a", &[(1, 10, 0)])], vec![lost("a", Some((15, 20)), "")], vec![]);
    assert_eq!(missing(&account), [("a", 11, 14, 50)]);
}

#[test]
fn an_epoch_goes_on_where_the_one_before_it_ended_even_if_all_of_that_is_lost() {
    let on = account(vec![stream("a", &[(1, 10, 0)]), stream("b", &[(11, 20, 5)])], vec![], vec![]);
    assert_eq!(on.missing, 0);
    let gap = account(vec![stream("a", &[(1, 10, 0)]), stream("b", &[(13, 20, 5)])], vec![], vec![]);
    assert_eq!(missing(&gap), [("b", 11, 12, 5)]);
    let all_lost = account(vec![stream("b", &[(11, 20, 60)])], vec![lost("a", Some((1, 10)), "")], vec![]);
    assert_eq!((all_lost.missing, all_lost.epochs[0].epoch.as_str()), (0, "a"));
}

#[test]
fn what_overtook_the_rest_before_a_renumbering_is_repeated_and_nothing_is_missing() {
    let streams = vec![stream("a", &[(1, 800, 0), (901, 1000, 1)]), stream("b", &[(801, 2000, 5)])];
    let account = account(streams, vec![], vec![overlap("b", "a", 100, None)]);
    assert_eq!((account.missing, account.repeated), (0, 100));
    assert_eq!((account.epochs[0].overlaps.len(), account.epochs[1].overlaps.len()), (0, 1));
}

#[test]
fn a_hole_that_is_in_two_histories_is_counted_once_in_the_epoch_that_goes_on_above_it() {
    let streams =
        vec![stream("a", &[(1, 10, 0), (15, 20, 1)]), stream("b", &[(15, 30, 5)]), stream("c", &[(31, 40, 9)])];
    let account = account(streams, vec![], vec![overlap("a", "b", 6, None)]);
    assert_eq!(missing(&account), [("b", 11, 14, 1)]);
}

#[test]
fn a_log_that_was_set_back_shares_what_is_before_with_the_history_that_it_left() {
    let streams = || vec![stream("a", &[(1, 900, 0), (951, 1000, 1)]), stream("c", &[(601, 2000, 5)])];
    let account = account(streams(), vec![], vec![overlap("a", "c", 0, Some(601))]);
    assert_eq!(missing(&account), [("a", 901, 950, 1)], "what `c` holds there are other events");
}

#[test]
fn a_log_made_anew_must_begin_at_1_by_itself() {
    let streams = || vec![stream("a", &[(1, 500, 0)]), stream("d", &[(1, 20, 5), (31, 90, 6)])];
    let account = account(streams(), vec![], vec![overlap("a", "d", 0, Some(1))]);
    assert_eq!(missing(&account), [("d", 21, 30, 6)]);
}

#[test]
fn what_is_missing_is_awaited_while_the_node_may_still_be_about_to_send_it() {
    let streams = vec![stream("a", &[(2, 2, NOW - AWAITED_MS_MAX), (4, 4, NOW - AWAITED_MS_MAX + 1)])];
    let account = account(streams, vec![], vec![]);
    let awaited: Vec<_> = account.epochs[0].missing.iter().map(|hole| (hole.first, hole.awaited)).collect();
    assert_eq!(awaited, [(1, false), (3, true)]);
}

#[test]
fn holes_that_are_too_young_can_be_left_out() {
    let mut node = Node {
        node: "n".into(),
        organisation: String::new(),
        seen_at: NOW,
        events: 0,
        streams: vec![stream("a", &[(2, 2, 10), (5, 5, 20)]), Stream { epoch: String::new(), ..stream("", &[]) }],
        losses: vec![],
        overlaps: vec![],
    };
    node.streams[1].events = 4;
    let mut account = Account::of(&node);
    assert_eq!((account.missing(), account.unnumbered), (3, 4));
    account.forget_missing_since(20);
    assert_eq!(account.missing(), 1);
}

/// What an agent does with one lane of one log.
#[derive(Clone, Debug)]
enum Step {
    /// Accepts so many events.
    Accept(u64),
    /// Sends the batches of its window, of so many events each; those whose bit is set are stored, in any order.
    Send(u64, u8),
    /// Loses what is next, with a report.
    Lose(u64),
    /// Renumbers what is not delivered.
    Renumber,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u64..30).prop_map(Step::Accept),
        (1u64..9, any::<u8>()).prop_map(|(size, stored)| Step::Send(size, stored)),
        (1u64..9).prop_map(Step::Lose),
        Just(Step::Renumber),
    ]
}

/// A correct agent, and what a store knows of it.
#[derive(Default)]
struct Agent {
    accepted: u64,
    /// The last number that is delivered or lost, with all before it.
    passed: u64,
    epoch: usize,
    /// From which number on events are sent under which epoch.
    begins: Vec<u64>,
    received: Vec<Ranges>,
    losses: Vec<Loss>,
}

impl Agent {
    fn take(&mut self, step: &Step) {
        self.begins.resize(self.epoch + 1, 0);
        self.received.resize(self.epoch + 1, Ranges::default());
        match step {
            Step::Accept(count) => self.accepted += count,
            Step::Lose(count) => {
                let last = self.accepted.min(self.passed + count);
                if self.passed < last {
                    self.losses.push(lost(&self.epoch.to_string(), Some((self.passed + 1, last)), ""));
                    self.passed = last;
                }
            }
            Step::Renumber => self.epoch += 1,
            Step::Send(size, stored) => {
                for index in 0..8 {
                    let first = self.passed + 1 + index * size;
                    let last = self.accepted.min(first + size - 1);
                    if first <= last && stored >> index & 1 == 1 {
                        self.received[self.epoch].insert(first..=last, 0);
                    }
                }
                while self.received[self.epoch].contains(self.passed + 1) {
                    self.passed += 1;
                }
            }
        }
    }

    /// Everything that was stored, but for one number.
    fn account(&self, without: u64) -> LaneAccount {
        let cut = |ranges: &Ranges| {
            let mut cut = Ranges::default();
            for number in ranges.iter().flatten().filter(|number| *number != without) {
                cut.insert(number..=number, 0);
            }
            cut
        };
        let received: Vec<_> = self.received.iter().map(cut).collect();
        let mut overlaps = Vec::new();
        for later in 0..received.len() {
            for earlier in 0..later {
                let same = received[earlier].shared(&received[later]).into_iter().flatten().count() as u64;
                overlaps.push(overlap(&earlier.to_string(), &later.to_string(), same, None));
            }
        }
        let stream = |(index, received): (usize, &Ranges)| Stream {
            epoch: index.to_string(),
            lane: "routine".into(),
            events: received.count(),
            received: received.clone(),
        };
        account(received.iter().enumerate().map(stream).collect(), self.losses.clone(), overlaps)
    }
}

proptest! {
    #[test]
    fn of_an_agent_that_has_sent_all_nothing_is_missing_and_what_it_passes_over_is_found(
        steps in prop::collection::vec(step(), 1..40),
        victim in 1u64..400,
    ) {
        let mut agent = Agent::default();
        steps.iter().for_each(|step| agent.take(step));
        agent.take(&Step::Accept(1));
        agent.take(&Step::Send(agent.accepted, 1));
        let complete = agent.account(0);
        prop_assert_eq!(complete.missing, 0, "{:?}", complete);
        let reported = agent.losses.iter().filter_map(|loss| loss.range).any(|(first, last)| (first..=last).contains(&victim));
        if victim < agent.accepted && !reported {
            let short = agent.account(victim);
            prop_assert_eq!(short.missing, 1, "{:?}", short);
        }
    }
}
