//! The course of the simulation: what happens is kept in order of time, each thing may cause others.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{
    HerdPlan, Policy,
    agent::Agent,
    controller::{Controller, Job, Work, cost},
    dice::Dice,
};

/// From agent to controller, one way.
const WAY: Duration = Duration::from_millis(10);

/// As the uplink: how long a connection may take to make, and a call.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const CALL_MAX: Duration = Duration::from_secs(30);

/// A herd that is not drained so long after the controller's return never is.
const PATIENCE: Duration = Duration::from_secs(7_200);

pub(super) struct World {
    plan: HerdPlan,
    policy: Policy,
    dice: Dice,
    agents: Vec<Agent>,
    controller: Controller,
    /// By time, then in the order in which they were caused.
    agenda: BinaryHeap<Reverse<(Duration, u64, Step)>>,
    caused: u64,
    outcome: Outcome,
    to_drain: usize,
}

/// Something that happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// An agent looks whether it has something to do.
    Look { agent: usize },
    /// What an agent sent is there; `events` is 0 for a connection.
    Arrives { agent: usize, link: u64, pauses: u64, sent_at: Duration, events: u64 },
    /// The oldest job is done.
    Done,
    /// The answer is back.
    Answered { agent: usize, link: u64, sent_at: Duration, events: u64 },
    /// A refusal is back, with a word on when.
    Refused { agent: usize, link: u64, pauses: u64, events: u64, after: Duration },
}

/// What came of it.
#[derive(Default)]
pub(super) struct Outcome {
    /// From the controller's return until every agent had nothing left for the first time.
    pub(super) drained: Option<Duration>,
    /// As fast as the controller could have been, had every agent come in time and none in vain.
    pub(super) best: Duration,
    /// Batches that were offered, and refused for now.
    pub(super) offered: u64,
    pub(super) refused: u64,
    /// What the controller did, and what of it nobody waited for any more; microseconds.
    pub(super) work: u64,
    pub(super) in_vain: u64,
    /// Each second from the controller's return on.
    pub(super) course: Vec<Second>,
    /// How long each of the ordinary agents took.
    times: Vec<f64>,
}

/// One second of the course.
#[derive(Clone, Copy, Default)]
pub(super) struct Second {
    pub(super) connects: u64,
    pub(super) batches: u64,
    pub(super) refused: u64,
    pub(super) busy_micros: u64,
}

impl Outcome {
    /// How much longer the last of a hundred took than the middle one.
    pub(super) fn spread(&self) -> f64 {
        let at = |part: usize| self.times.get(self.times.len() * part / 100).copied().unwrap_or(0.0);
        if at(50) > 0.0 { at(99) / at(50) } else { 0.0 }
    }

    /// Jain's index of the agents' times: 1 when all are served alike, 1/n when one gets everything.
    pub(super) fn fairness(&self) -> f64 {
        let (sum, squares) = self.times.iter().fold((0.0, 0.0), |(sum, squares), t| (sum + t, squares + t * t));
        if squares > 0.0 { sum * sum / (self.times.len() as f64 * squares) } else { 0.0 }
    }
}

impl World {
    pub(super) fn new(plan: HerdPlan, policy: Policy) -> World {
        let agents: Vec<_> = (0..plan.agents).map(Agent::new).collect();
        World {
            plan,
            policy,
            dice: Dice::new(plan.seed),
            to_drain: agents.len(),
            agents,
            controller: Controller::default(),
            agenda: BinaryHeap::new(),
            caused: 0,
            outcome: Outcome::default(),
        }
    }

    /// Every connection breaks at the beginning.
    pub(super) fn run(mut self) -> Outcome {
        (0..self.agents.len()).for_each(|agent| self.cause(Duration::ZERO, Step::Look { agent }));
        let end = self.plan.outage + PATIENCE;
        while let Some(Reverse((now, _, step))) = self.agenda.pop() {
            if self.to_drain == 0 || now > end {
                break;
            }
            self.happen(now, step);
        }
        self.conclude()
    }

    fn happen(&mut self, now: Duration, step: Step) {
        match step {
            Step::Look { agent } => self.look(now, agent),
            Step::Arrives { agent, link, pauses, sent_at, events } => {
                self.arrive(now, agent, link, pauses, sent_at, events);
            }
            Step::Done => self.done(now),
            Step::Answered { agent, link, sent_at, events } => self.answered(now, agent, link, sent_at, events),
            Step::Refused { agent, link, pauses, events, after } => {
                self.refused(now, agent, link, pauses, events, after);
            }
        }
    }

    fn look(&mut self, now: Duration, number: usize) {
        let (policy, batch_size) = (self.policy, self.plan.batch_size);
        let Some(agent) = self.agents.get_mut(number) else { return };
        if now < agent.pause_until {
            return;
        }
        if !agent.connected {
            // One attempt at a time: the next look comes with its answer, or with its end.
            if agent.in_flight == 0 {
                agent.in_flight = 1;
                let (link, pauses) = (agent.link, agent.pauses);
                self.cause(now + WAY, Step::Arrives { agent: number, link, pauses, sent_at: now, events: 0 });
            }
            return;
        }
        agent.accumulate(now);
        let mut sent = Vec::new();
        while agent.room(policy) > 0 && agent.is_due(now, batch_size) {
            let events = agent.waiting.min(batch_size);
            agent.waiting -= events;
            agent.in_flight += 1;
            agent.sent_at = now;
            sent.push(Step::Arrives { agent: number, link: agent.link, pauses: agent.pauses, sent_at: now, events });
        }
        // With less than a batch left it is where it would be without an outage.
        if agent.waiting < batch_size && agent.in_flight == 0 && agent.drained_at.is_none() {
            agent.drained_at = Some(now);
            self.to_drain -= 1;
        }
        // One such look ahead is enough.
        if agent.in_flight == 0 && agent.next_look <= now {
            let again = now + agent.until_due(batch_size);
            agent.next_look = again;
            self.cause(again, Step::Look { agent: number });
        }
        sent.into_iter().for_each(|step| self.cause(now + WAY, step));
    }

    fn arrive(&mut self, now: Duration, agent: usize, link: u64, pauses: u64, sent_at: Duration, events: u64) {
        if now < self.plan.outage {
            let after = Duration::ZERO;
            return self.cause(now + WAY, Step::Refused { agent, link, pauses, events, after });
        }
        let work = if events == 0 { Work::Connect } else { Work::Batch { events } };
        let second = self.second(now);
        match work {
            Work::Connect => second.connects += 1,
            Work::Batch { .. } => second.batches += 1,
        }
        self.outcome.offered += u64::from(events > 0);
        match self.controller.take(now, Job { agent, work, link, asked_at: sent_at }, &mut self.dice) {
            Ok(done_at) => self.cause(done_at, Step::Done),
            Err(after) => {
                self.second(now).refused += 1;
                self.outcome.refused += 1;
                self.cause(now + WAY, Step::Refused { agent, link, pauses, events, after });
            }
        }
    }

    fn done(&mut self, now: Duration) {
        let Some(Job { agent, work, link, asked_at: sent_at }) = self.controller.done() else { return };
        let micros = u64::try_from(cost(work).as_micros()).unwrap_or(u64::MAX);
        self.outcome.work += micros;
        self.second(now).busy_micros += micros;
        let (events, patience) = match work {
            Work::Connect => (0, CONNECT_MAX),
            Work::Batch { events } => (events, CALL_MAX),
        };
        if now + WAY > sent_at + patience {
            // Its caller has given up, and does not know that it was done.
            self.outcome.in_vain += micros;
            let pauses = self.agents.get(agent).map_or(0, |agent| agent.pauses);
            let after = Duration::ZERO;
            return self.cause(now.max(sent_at + patience), Step::Refused { agent, link, pauses, events, after });
        }
        self.cause(now + WAY, Step::Answered { agent, link, sent_at, events });
    }

    fn answered(&mut self, now: Duration, number: usize, link: u64, sent_at: Duration, events: u64) {
        let Some(agent) = self.agents.get_mut(number).filter(|agent| agent.link == link) else { return };
        agent.in_flight -= 1;
        match events {
            0 => {
                agent.connected = true;
                agent.accumulate(now);
                agent.backlog = agent.backlog.max(agent.waiting);
            }
            _ => {
                agent.succeeded();
                agent.window.delivered(now - sent_at, true, agent.in_flight);
            }
        }
        self.look(now, number);
    }

    fn refused(&mut self, now: Duration, number: usize, link: u64, pauses: u64, events: u64, after: Duration) {
        let policy = self.policy;
        let Some(agent) = self.agents.get_mut(number).filter(|agent| agent.link == link) else { return };
        agent.waiting += events;
        agent.in_flight -= 1;
        agent.window.refused(agent.in_flight);
        if after.is_zero() {
            // No answer at all: the connection is given up with what was on it.
            agent.waiting += agent.in_flight as u64 * self.plan.batch_size;
            agent.disconnect();
        }
        if pauses == agent.pauses {
            let until = agent.pause(now, after, policy, &mut self.dice);
            self.cause(until, Step::Look { agent: number });
        }
    }

    fn cause(&mut self, at: Duration, step: Step) {
        self.caused += 1;
        self.agenda.push(Reverse((at, self.caused, step)));
    }

    fn second(&mut self, now: Duration) -> &mut Second {
        let index = now.saturating_sub(self.plan.outage).as_secs() as usize;
        if self.outcome.course.len() <= index {
            self.outcome.course.resize(index + 1, Second::default());
        }
        &mut self.outcome.course[index]
    }

    fn conclude(mut self) -> Outcome {
        let outage = self.plan.outage;
        let since = |at: Duration| at.saturating_sub(outage);
        let batch = |events: u64| cost(Work::Batch { events }).mul_f64((events > 0).into());
        let work = |agent: &Agent| {
            let (full, rest) = (agent.backlog / self.plan.batch_size, agent.backlog % self.plan.batch_size);
            cost(Work::Connect) + batch(self.plan.batch_size).mul_f64(full as f64) + batch(rest)
        };
        self.outcome.best = self.agents.iter().map(work).sum();
        let last = self.agents.iter().map(|agent| agent.drained_at).collect::<Option<Vec<_>>>();
        self.outcome.drained = last.and_then(|times| times.into_iter().max()).map(since);
        // Of agents with as much to say: those with more take longer by right.
        let ordinary = self.agents.iter().filter(|agent| agent.rate < 1.0);
        self.outcome.times = ordinary.filter_map(|agent| agent.drained_at.map(|at| since(at).as_secs_f64())).collect();
        self.outcome.times.sort_by(f64::total_cmp);
        self.outcome
    }
}
