//! Runs the parts of the agent and ends them in the order of [`Phase`]: the one place of the agent that starts tasks.
//!
//! Given [`Part`]s. An end is unexpected when a part panics, or returns before its phase of the stop has begun. What that
//! means the part says itself ([`Run`]): it starts again, or the agent ends and says which part it was, so that systemd
//! starts another. Always holds: no part ends unexpectedly without a line in the journal, and no agent goes on without a part
//! that does not start again.

use std::{
    any::Any,
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backoff::{Backoff, random},
    health::{Fault, Registry},
    telemetry::message,
};

/// First and longest wait before a part starts again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A part whose neighbour has panicked may return for want of it, before the neighbour's end is known, which is the one to tell.
const AFTERMATH: Duration = Duration::from_millis(200);

/// A part that ran this long before it ended counts as new.
const STEADY: Duration = Duration::from_secs(600);

/// The most restarts of a part in a row. Once more, and the agent ends: a new process may help where a new task does not.
const RESTARTS_MAX: u32 = 5;

/// When a part stops, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// What emits events, and what changes settings.
    Sources,
    /// What answers others.
    Doors,
    /// What is remembered: after everything that may still remember.
    Memory,
    /// What takes events out of the log.
    Delivery,
}

impl Phase {
    /// In the order of the stop.
    pub(super) const ALL: [Phase; 4] = [Phase::Sources, Phase::Doors, Phase::Memory, Phase::Delivery];
}

/// One part of the agent.
pub(super) struct Part {
    name: &'static str,
    stops: Phase,
    run: Run,
}

/// How a part runs, and what its unexpected end means.
enum Run {
    /// It starts again, after a wait that grows; after [`RESTARTS_MAX`] in a row the agent ends.
    Again(Box<dyn FnMut(CancellationToken) -> BoxFuture<'static, ()> + Send>),
    /// The agent ends.
    Once(BoxFuture<'static, ()>),
    /// It may return when it likes. When it panics, the agent ends.
    Job(BoxFuture<'static, ()>),
}

impl Part {
    /// One that can be made anew at any time. It is given what tells it to stop.
    pub(super) fn again<T: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        stops: Phase,
        mut make: impl FnMut(CancellationToken) -> T + Send + 'static,
    ) -> Part {
        Part { name, stops, run: Run::Again(Box::new(move |stop| make(stop).boxed())) }
    }

    /// One that holds what only it has.
    pub(super) fn once(name: &'static str, stops: Phase, task: impl Future<Output = ()> + Send + 'static) -> Part {
        Part { name, stops, run: Run::Once(task.boxed()) }
    }

    /// One that has an end of its own.
    pub(super) fn job(name: &'static str, stops: Phase, task: impl Future<Output = ()> + Send + 'static) -> Part {
        Part { name, stops, run: Run::Job(task.boxed()) }
    }
}

/// The agent's parts. Cheap to copy.
#[derive(Clone)]
pub(super) struct Supervisor {
    shared: Arc<Shared>,
}

struct Shared {
    phases: [(CancellationToken, TaskTracker); Phase::ALL.len()],
    /// Which part has ended for good, and how.
    failure: watch::Sender<Option<String>>,
    restarts: Mutex<BTreeMap<&'static str, u64>>,
    registry: Registry,
    /// For tests: whom to have panic, and what was started.
    #[cfg(test)]
    killed: tokio::sync::broadcast::Sender<&'static str>,
    #[cfg(test)]
    started: Mutex<Vec<&'static str>>,
}

impl Supervisor {
    /// What has started again stands in `registry` until it has run for long.
    pub(super) fn new(registry: Registry) -> Supervisor {
        let shared = Shared {
            phases: Default::default(),
            failure: watch::Sender::new(None),
            restarts: Mutex::default(),
            registry,
            #[cfg(test)]
            killed: tokio::sync::broadcast::Sender::new(32),
            #[cfg(test)]
            started: Mutex::default(),
        };
        Supervisor { shared: Arc::new(shared) }
    }

    /// What is cancelled when this phase of the stop begins.
    pub(super) fn stopping(&self, phase: Phase) -> CancellationToken {
        self.phase(phase).0.clone()
    }

    /// Starts a part. The task ends with it.
    pub(super) fn start(&self, part: Part) -> JoinHandle<()> {
        #[cfg(test)]
        self.shared.started.lock().expect("whole").push(part.name);
        let supervisor = self.clone();
        self.spawn(part.stops, async move { supervisor.keep(part).await })
    }

    /// Waits until a part has ended for good, and says which, and how. Cancel safe.
    pub(super) async fn failed(&self) -> String {
        let mut failure = self.shared.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        failed.ok().and_then(|failed| failed.clone()).unwrap_or_default()
    }

    /// How often each part that may start again has done so.
    pub(super) fn restarts(&self) -> Vec<(&'static str, u64)> {
        self.lock().iter().map(|(name, restarts)| (*name, *restarts)).collect()
    }

    /// Begins a phase of the stop and waits for its parts, until `deadline`; gives whether all have ended.
    pub(super) async fn stop(&self, phase: Phase, deadline: Instant) -> bool {
        let (stop, tasks) = self.phase(phase);
        stop.cancel();
        tasks.close();
        tokio::time::timeout_at(deadline, tasks.wait()).await.is_ok()
    }

    async fn keep(&self, Part { name, stops, run }: Part) {
        let stop = self.stopping(stops);
        match run {
            Run::Again(make) => self.keep_again(name, &stop, make).await,
            Run::Once(task) => {
                if let Some(how) = self.unexpected(name, &stop, false, task).await {
                    self.fail(name, how);
                }
            }
            Run::Job(task) => {
                if let Some(how) = self.unexpected(name, &stop, true, task).await {
                    self.fail(name, how);
                }
            }
        }
    }

    async fn keep_again(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        mut make: impl FnMut(CancellationToken) -> BoxFuture<'static, ()>,
    ) {
        let mut backoff = Backoff::new(RESTART.0, RESTART.1);
        self.lock().insert(name, 0);
        let conditions = self.shared.registry.part(name);
        loop {
            let running = self.unexpected(name, stop, false, make(stop.clone()));
            tokio::pin!(running);
            let ended = tokio::select! {
                ended = &mut running => ended,
                () = tokio::time::sleep(STEADY) => {
                    backoff.reset();
                    conditions.clear(message::PART_ENDED);
                    running.await
                }
            };
            let Some(how) = ended else { return };
            if backoff.failures() >= RESTARTS_MAX {
                return self.fail(name, format!("{how}, after {RESTARTS_MAX} restarts in a row"));
            }
            let wait = backoff.next(random());
            tracing::error!(
                message_id = %message::PART_ENDED,
                part = name,
                how,
                again_in = ?wait,
                "a part of the agent has ended, and starts again"
            );
            let text = format!("the part `{name}` of the agent has ended and starts again: {how}");
            conditions.set(message::PART_ENDED, Fault::error(text).told());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            *self.lock().entry(name).or_default() += 1;
        }
    }

    /// Runs a task; gives how it ended, if that was unexpected.
    async fn unexpected(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        may_return: bool,
        task: BoxFuture<'static, ()>,
    ) -> Option<String> {
        #[cfg(test)]
        let task = self.killable(name, task);
        match contained(task).await {
            Ok(()) if may_return || stop.is_cancelled() => None,
            Ok(()) => {
                tokio::time::sleep(AFTERMATH).await;
                Some("it has returned".to_owned())
            }
            // Nothing is lost any more but what it had yet to do at the end.
            Err(how) if stop.is_cancelled() => {
                tracing::error!(part = name, how, "a part of the agent has panicked while it was stopping");
                None
            }
            Err(how) => Some(how),
        }
    }

    fn fail(&self, part: &'static str, how: String) {
        tracing::error!(
            message_id = %message::PART_ENDED,
            part,
            how,
            "a part of the agent has ended; the agent ends, to be started again"
        );
        self.shared.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| format!("the part `{part}` of the agent has ended: {how}"));
            is_first
        });
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the agent starts tasks")]
    fn spawn(&self, phase: Phase, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        tokio::spawn(self.phase(phase).1.track_future(task))
    }

    fn phase(&self, phase: Phase) -> &(CancellationToken, TaskTracker) {
        let [sources, doors, memory, delivery] = &self.shared.phases;
        match phase {
            Phase::Sources => sources,
            Phase::Doors => doors,
            Phase::Memory => memory,
            Phase::Delivery => delivery,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.shared.restarts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a task to its end; gives what it said when it panicked.
pub(super) async fn contained<T>(task: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|panic| match said(panic.as_ref()) {
        "" => "it has panicked".to_owned(),
        said => format!("it has panicked: {said}"),
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

#[cfg(test)]
impl Supervisor {
    /// Has a part panic.
    pub(super) fn kill(&self, part: &'static str) {
        // Nobody listens when the last part is gone.
        drop(self.shared.killed.send(part));
    }

    /// Every part that was started, by name.
    pub(super) fn started(&self) -> std::collections::BTreeSet<&'static str> {
        self.shared.started.lock().expect("whole").iter().copied().collect()
    }

    fn killable(&self, name: &'static str, task: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        let mut killed = self.shared.killed.subscribe();
        let is_killed = async move { while killed.recv().await.is_ok_and(|killed| killed != name) {} };
        Box::pin(async move {
            tokio::select! {
                biased;
                () = is_killed => panic!("killed by a test"),
                () = task => {}
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    async fn failed(supervisor: &Supervisor) -> String {
        tokio::time::timeout(60 * MINUTE, supervisor.failed()).await.unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_starts_again_five_times_in_a_row_and_then_the_agent_ends_and_says_which() {
        let (supervisor, runs) = (Supervisor::new(Registry::new(|| 1)), watch::Sender::new(0));
        let counted = runs.clone();
        supervisor.start(Part::again("clock", Phase::Doors, move |_| {
            counted.send_modify(|runs| *runs += 1);
            async { panic!("no time") }
        }));
        let failed = failed(&supervisor).await;
        let said = "the part `clock` of the agent has ended: it has panicked: no time, after 5 restarts in a row";
        assert_eq!((failed.as_str(), *runs.borrow()), (said, 6));
        assert_eq!(supervisor.restarts(), [("clock", 5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_ran_for_long_before_it_ended_counts_as_new() {
        let (supervisor, runs) = (Supervisor::new(Registry::new(|| 1)), watch::Sender::new(0));
        let counted = runs.clone();
        supervisor.start(Part::again("clock", Phase::Doors, move |stop| {
            counted.send_modify(|runs| *runs += 1);
            async move { drop(tokio::time::timeout(2 * STEADY, stop.cancelled()).await) }
        }));
        let mut seen = runs.subscribe();
        seen.wait_for(|runs| *runs == 20).await.expect("it starts again and again");
        assert!(supervisor.failed().now_or_never().is_none());
        assert_eq!(supervisor.shared.registry.standing().len(), 1, "that it ended is told");
        tokio::time::sleep(STEADY + MINUTE).await;
        assert_eq!(supervisor.shared.registry.standing(), [], "until it has run for long");
        assert!(supervisor.stop(Phase::Doors, Instant::now() + MINUTE).await, "it ends when it is told to");
    }

    #[tokio::test(start_paused = true)]
    async fn a_return_before_the_stop_ends_the_agent_and_one_after_it_does_not_and_a_job_may_return() {
        let supervisor = Supervisor::new(Registry::new(|| 1));
        let stop = supervisor.stopping(Phase::Sources);
        supervisor.start(Part::once("spool", Phase::Sources, async move { stop.cancelled().await }));
        supervisor.start(Part::job("uplink", Phase::Delivery, async {}));
        assert!(supervisor.stop(Phase::Sources, Instant::now() + MINUTE).await);
        assert!(supervisor.failed().now_or_never().is_none());
        supervisor.start(Part::once("memory", Phase::Memory, async {}));
        assert_eq!(failed(&supervisor).await, "the part `memory` of the agent has ended: it has returned");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_stop_is_waited_for_until_the_deadline() {
        let supervisor = Supervisor::new(Registry::new(|| 1));
        supervisor.start(Part::once("socket", Phase::Doors, std::future::pending()));
        let told = Instant::now();
        assert!(!supervisor.stop(Phase::Doors, told + MINUTE).await);
        assert_eq!(told.elapsed(), MINUTE);
        assert!(supervisor.stop(Phase::Memory, told).await, "phases do not wait for each other");
    }
}
