//! The story of an outage: events before, during and after it, and what has to be true in the end.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    footprint::Footprint,
    process::{Process, wait},
    site::{PATIENCE, Site},
};

/// Events of each part of the story: several batches of each lane.
const EVENTS: u64 = 300;

/// How long an outage goes on after the agent has noticed it: some attempts.
const OUTAGE: Duration = Duration::from_secs(4);

/// Threads that do blocking work come and go. Less than one for each attempt of an outage.
const THREADS_SPARE: usize = 3;

/// A leak that shows in a minute is larger; what freed memory the allocator keeps is not.
const MEMORY_SPARE: u64 = 12 << 20;

/// What the agent promises, and time for a machine that is busy.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What the agent says when the controller cannot be reached any more, and when it can.
const LOST: &str = "the controller cannot be reached";
const FOUND: &str = "events reach the controller";

/// What it says once of the stream on which the controller may ask it things, if at all.
const STREAM_ENDED: &str = "the control stream ended";

/// An agent that has delivered, and is about to see an outage.
pub(crate) struct Story<'a> {
    site: &'a Site,
    agent: Process,
    footprint: Footprint,
    lines: usize,
    emitted: u64,
}

impl<'a> Story<'a> {
    /// Events that arrive.
    pub(crate) fn begin(site: &'a Site, agent: Process) -> Story<'a> {
        let footprint = Footprint::of(agent.child.id());
        let mut story = Story { site, agent, footprint, lines: 0, emitted: 0 };
        story.emit();
        story.wait_until_delivered();
        story.footprint = Footprint::of(story.agent.child.id());
        story.lines = story.log().lines().count();
        story
    }

    pub(crate) fn emit(&mut self) {
        self.site.emit(self.emitted..self.emitted + EVENTS);
        self.emitted += EVENTS;
    }

    /// The outage has begun: events come all the same, the agent notices, and it goes on for a while.
    pub(crate) fn suffer(&mut self) {
        let failed_before = self.failed_attempts();
        self.emit();
        wait("the agent notices", PATIENCE, || (self.site.status()["uplink"]["state"] == "waiting").then_some(()));
        let begun = Instant::now();
        while begun.elapsed() < OUTAGE {
            self.emit();
            thread::sleep(OUTAGE / 4);
        }
        // One that ends after a single attempt is none; how long two take is the machine's business.
        wait("several attempts fail", PATIENCE, || (self.failed_attempts() > failed_before + 1).then_some(()));
    }

    fn failed_attempts(&self) -> u64 {
        self.site.status()["uplink"]["failed_attempts"].as_u64().expect("a number")
    }

    /// The outage is over.
    pub(crate) fn end(mut self) {
        self.emit();
        self.wait_until_delivered();
        assert_eq!(self.site.status()["uplink"]["state"], "connected");
        let stored = self.site.stored_numbers();
        let first_wrong = (0..).zip(&stored).find(|(expected, found)| expected != *found);
        assert_eq!((stored.len() as u64, first_wrong), (self.emitted, None), "each event once");
        for node in self.site.stored(&["nodes"]) {
            for stream in node["streams"].as_array().expect("a list") {
                let ranges = stream["received"].as_array().expect("a list");
                assert_eq!(ranges.len(), 1, "nothing is missing: {stream}");
            }
        }
        self.check_log();
        self.check_footprint();
        assert!(self.agent.terminate(STOP_MAX), "the agent stops within {STOP_MAX:?}");
    }

    fn wait_until_delivered(&self) {
        wait("every event is delivered", PATIENCE, || (self.site.lag() == 0).then_some(()));
    }

    /// One line for each change of state, and none for an attempt.
    fn check_log(&self) {
        let log = self.log();
        // Of a machine whose clock nobody keeps in step the agent tells that after a while.
        let new: Vec<_> = log.lines().skip(self.lines).filter(|line| !line.contains("the clock")).collect();
        let told = |what: &str| new.iter().filter(|line| line.contains(what)).count();
        assert_eq!((told(LOST), told(FOUND)), (1, 1), "{new:#?}");
        assert!(told(STREAM_ENDED) <= 1 && new.len() == 2 + told(STREAM_ENDED), "{new:#?}");
    }

    fn check_footprint(&self) {
        let (before, process) = (self.footprint, self.agent.child.id());
        wait("the agent holds what it held before", PATIENCE, || {
            let now = Footprint::of(process);
            let fits = now.descriptors <= before.descriptors && now.threads <= before.threads + THREADS_SPARE;
            fits.then_some(())
        });
        let now = Footprint::of(process);
        assert!(now.memory <= before.memory + MEMORY_SPARE, "{before:?} became {now:?}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.site.path("agent.log")).expect("the agent's log")
    }
}
