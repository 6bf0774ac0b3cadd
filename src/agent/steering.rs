//! Puts other settings in force while the agent runs: those of the files, read again, and those that a controller sends.
//!
//! One task, one change after the other. Files are read and judged whole before anything is touched; then everything that
//! can change is changed ([`Parts`]), and what cannot stays as it is and is named. What a controller has sent holds until the
//! files are read the next time: whoever owns the machine has the last word, and after a reload what is in force is what the
//! files say.

mod difference;
mod parts;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use self::difference::{Difference, keys};
pub(super) use self::parts::{Parts, threshold};
use super::{
    config::{Config, EventUpdate, FileEvents, Loaded, Source},
    config_change::{Act, Tidings},
};
use crate::{
    health::{Conditions, Fault},
    local_api::{ReloadDesk, SinkAct, SinkOrder, SinkOrders},
    schema::local::{ConfigurationStatus, ReloadRequest, ReloadResponse},
    service_manager,
    settings::{Faults, Records},
    sinks::uplink::control::OrderRefusal,
    telemetry::message,
    terminal,
};

/// Changes that wait for their turn. One more is refused.
pub(super) const WAITING_MAX: usize = 8;

/// Keys that leave events out, over a floor ([`crate::pipeline::Gate::over_floor_of`]).
const NARROWING: [&str; 2] = ["events.levels", "events.categories"];

/// A change that is asked for.
pub(super) enum Change {
    /// Read the files again.
    Reload {
        /// Only tell what would change.
        dry_run: bool,
        answer: oneshot::Sender<Result<ReloadResponse, Status>>,
    },
    /// Pause a sink, resume it, or have it begin again further back.
    Sink { order: SinkOrder, answer: oneshot::Sender<Result<u64, Status>> },
    /// Take settings of events from a controller, until the files are read the next time.
    Update {
        /// JSON: an object of keys of `events`.
        settings: Vec<u8>,
        controller: String,
        answer: oneshot::Sender<Result<Vec<u8>, OrderRefusal>>,
    },
}

impl Change {
    /// Whether it is to be made. An update is not for whom nobody waits any more: its controller has been told that it came
    /// too late, or a reload has put another in its place.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Change::Reload { .. } | Change::Sink { .. } => true,
            Change::Update { answer, .. } => !answer.is_closed(),
        }
    }
}

/// What is in force, for `rodent status`. Cheap to copy.
#[derive(Clone)]
pub(super) struct InForceView {
    status: Arc<Mutex<ConfigurationStatus>>,
    conditions: Conditions,
}

impl InForceView {
    /// Just started.
    pub(super) fn new(applied_at: i64, conditions: Conditions) -> InForceView {
        let status = ConfigurationStatus { applied_at, ..ConfigurationStatus::default() };
        InForceView { status: Arc::new(Mutex::new(status)), conditions }
    }

    pub(super) fn status(&self) -> ConfigurationStatus {
        self.lock().clone()
    }

    /// It is otherwise from now on; says what of that needs attention. The journal has a line for each change.
    fn change(&self, change: impl FnOnce(&mut ConfigurationStatus)) {
        let mut status = self.lock();
        change(&mut status);
        let refused = (status.refused_at > 0).then(|| {
            let (at, why) = (terminal::time_utc(status.refused_at), &status.refusal);
            let text = format!("the changed configuration was refused at {at} and is not in force: {why}");
            Fault::warning(text).since(status.refused_at).told()
        });
        self.conditions.put(message::CONFIGURATION_REFUSED, refused);
        let waits = (!status.needs_restart.is_empty()).then(|| {
            let keys = status.needs_restart.join(", ");
            Fault::warning(format!("the configuration has changed, and only a restart puts in force: {keys}"))
        });
        self.conditions.put(message::RESTART_NEEDED, waits);
        let remote = (!status.set_by_controller.is_empty()).then(|| of_controller(&status.set_by_controller));
        self.conditions.put(message::SETTINGS_OF_CONTROLLER, remote);
    }

    fn lock(&self) -> MutexGuard<'_, ConfigurationStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task.
pub(super) struct Steering {
    /// None for an agent that no file configures.
    source: Option<Source>,
    config: Config,
    /// Each key as it is in force.
    records: Records,
    /// What the files said when they were read last.
    file: FileEvents,
    parts: Parts,
    view: InForceView,
    tidings: Tidings,
    /// Unix milliseconds.
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Steering {
    /// Everything that was read at the start is in force.
    pub(super) fn new(
        (config, records): (Config, Records),
        source: Option<Source>,
        parts: Parts,
        view: InForceView,
        tidings: Tidings,
        now: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Steering {
        let file = FileEvents::of(records.clone());
        Steering { source, config, records, file, parts, view, tidings, now }
    }

    /// Changes what is asked for, and at each hangup, until `shutdown`.
    pub(super) async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut hangups: Option<Signal>,
        shutdown: CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(change) = changes.recv() => match change {
                    change if !change.is_wanted() => {}
                    // Whoever asked may have gone.
                    Change::Reload { dry_run, answer } => drop(answer.send(self.reload(dry_run).await)),
                    Change::Sink { order, answer } => drop(answer.send(self.order(&order).await)),
                    Change::Update { settings, controller, answer } => {
                        drop(answer.send(self.update(&settings, &controller).await));
                    }
                },
                // What it found is in the journal.
                () = hangup(&mut hangups) => drop(self.reload(false).await),
            }
        }
    }

    async fn reload(&mut self, dry_run: bool) -> Result<ReloadResponse, Status> {
        let Some(source) = self.source.clone() else {
            return Err(Status::invalid_argument(
                "this agent was started without a configuration: there is none to read",
            ));
        };
        if dry_run {
            return match read(&source).await? {
                Ok(loaded) => Ok(Difference::between(&self.records, &loaded.records, &source).answer(&loaded)),
                Err(faults) => Ok(refusal(&faults)),
            };
        }
        service_manager::reloading();
        let answer = match read(&source).await {
            Ok(Ok(loaded)) => Ok(self.take(loaded, &source).await),
            Ok(Err(faults)) => Ok(self.refuse(&faults)),
            Err(status) => Err(status),
        };
        // Before the answer: who has it may count on the service manager to know.
        service_manager::ready();
        answer
    }

    /// Has a sink obey, and tells of a pause and of its end as of any change that people make.
    async fn order(&mut self, order: &SinkOrder) -> Result<u64, Status> {
        let events = self.parts.delivering.obey(&self.config.sinks, order, (self.now)()).await?;
        let trigger = match order.act {
            SinkAct::Pause => "pause",
            SinkAct::Resume => "resume",
            SinkAct::Replay { .. } => return Ok(events),
        };
        self.tidings.tell(vec![format!("sinks.{}", order.sink)], Act::Hand { trigger }).await;
        Ok(events)
    }

    /// Puts in force what the files say.
    async fn take(&mut self, loaded: Loaded, source: &Source) -> ReloadResponse {
        let difference = Difference::between(&self.records, &loaded.records, source);
        let answer = difference.answer(&loaded);
        let Loaded { mut config, mut records, .. } = loaded;
        self.file = FileEvents::of(records.clone());
        config.state_directory.clone_from(&self.config.state_directory);
        config.socket.clone_from(&self.config.socket);
        for changed in &difference.needs_restart {
            if let Some(record) = self.records.get(&changed.key) {
                records.put(record.clone());
            }
        }
        self.parts.turn(&self.config, &config, &difference).await;
        (self.config, self.records) = (config, records);
        let (applied, needs_restart) = (keys(&difference.applied), keys(&difference.needs_restart));
        let applied_at = (self.now)();
        let now = ConfigurationStatus { applied_at, needs_restart: needs_restart.clone(), ..Default::default() };
        self.view.change(|status| *status = now);
        tell(&applied.join(", "), &needs_restart.join(", "));
        if !applied.is_empty() {
            self.tidings.tell(applied, Act::Reload { in_force: &self.records }).await;
        }
        answer
    }

    /// Leaves everything as it is.
    fn refuse(&self, faults: &Faults) -> ReloadResponse {
        let error = faults.to_string();
        tracing::error!(
            message_id = %message::CONFIGURATION_REFUSED,
            error,
            "the configuration is refused; what was in force goes on"
        );
        self.view.change(|status| {
            status.refused_at = (self.now)();
            status.refusal = error.lines().next().unwrap_or_default().to_owned();
        });
        refusal(faults)
    }

    /// Puts in force what a controller sends, on top of what the files said last.
    async fn update(&mut self, settings: &[u8], controller: &str) -> Result<Vec<u8>, OrderRefusal> {
        let EventUpdate { settings, records } = self.file.with(settings).map_err(|details| OrderRefusal {
            code: Code::InvalidArgument,
            message: "the settings are not valid; nothing has changed".to_owned(),
            details,
        })?;
        self.parts.turn_events_remotely(&settings, &self.file.settings());
        let is_other = |record: &&crate::settings::SettingRecord| {
            self.records.get(&record.key).is_none_or(|own| !own.is_as(record))
        };
        let changed: Vec<String> = records.iter().filter(is_other).map(|record| record.key.clone()).collect();
        let set = self.file.changed_by(&records);
        self.view.change(|status| status.set_by_controller = set);
        self.config.events = settings;
        records.iter().for_each(|record| self.records.put(record.clone()));
        if changed.is_empty() {
            return Ok(b"in force already".to_vec());
        }
        let text = changed.join(", ");
        tracing::warn!(
            message_id = %message::SETTINGS_OF_CONTROLLER,
            controller,
            keys = text,
            "the controller has changed settings, until the next start or reload"
        );
        self.tidings.tell(changed, Act::Update { controller }).await;
        Ok(format!("in force until the next start or reload: {text}").into_bytes())
    }
}

/// For the socket: hands a request to the task, and waits for its answer.
pub(super) fn desk(changes: mpsc::Sender<Change>) -> ReloadDesk {
    Arc::new(move |ReloadRequest { dry_run }| {
        let (answer, answered) = oneshot::channel();
        let queued = queue(&changes, Change::Reload { dry_run, answer });
        Box::pin(async move {
            queued?;
            answered.await.unwrap_or_else(|_| Err(stopping()))
        })
    })
}

/// For the socket: the same of what is asked of a sink.
pub(super) fn sink_orders(changes: mpsc::Sender<Change>) -> SinkOrders {
    Arc::new(move |order| {
        let (answer, answered) = oneshot::channel();
        let queued = queue(&changes, Change::Sink { order, answer });
        Box::pin(async move {
            queued?;
            answered.await.unwrap_or_else(|_| Err(stopping()))
        })
    })
}

fn queue(changes: &mpsc::Sender<Change>, change: Change) -> Result<(), Status> {
    changes.try_send(change).map_err(|error| match error {
        mpsc::error::TrySendError::Closed(_) => stopping(),
        mpsc::error::TrySendError::Full(_) => {
            Status::resource_exhausted(format!("{WAITING_MAX} changes of the configuration wait already; try again"))
        }
    })
}

fn stopping() -> Status {
    Status::unavailable("the agent is stopping; nothing has changed")
}

/// Keys that a controller has set: what is in force is not what this machine's files say, so that is worth a look.
fn of_controller(keys: &[String]) -> Fault {
    let names = keys.join(", ");
    let floor = match keys.iter().any(|key| NARROWING.contains(&key.as_str())) {
        true => "; errors and what is worse are kept all the same, and warnings of security and identity",
        false => "",
    };
    Fault::warning(format!("the controller has changed settings, until the next start or reload: {names}{floor}"))
        .told()
}

/// The files as they are now.
async fn read(source: &Source) -> Result<Result<Loaded, Faults>, Status> {
    let source = source.clone();
    let read = tokio::task::spawn_blocking(move || source.load()).await;
    read.map_err(|_| Status::internal("the configuration cannot be read: the thread that reads it has panicked"))
}

fn refusal(faults: &Faults) -> ReloadResponse {
    let faults = faults.to_string().lines().map(str::to_owned).collect();
    ReloadResponse { faults, ..ReloadResponse::default() }
}

/// One line in the journal.
fn tell(applied: &str, needs_restart: &str) {
    let message_id = message::CONFIGURATION_APPLIED;
    match (applied, needs_restart) {
        ("", "") => tracing::info!(%message_id, "the configuration was read again; nothing has changed"),
        (keys, "") => tracing::info!(%message_id, keys, "the configuration was read again and is in force"),
        (keys, needs_restart) => tracing::warn!(
            %message_id,
            keys,
            needs_restart,
            "the configuration was read again; some of it waits for a restart"
        ),
    }
}

/// Waits for the next SIGHUP, if they are caught. Cancel safe.
async fn hangup(hangups: &mut Option<Signal>) {
    if let Some(signal) = hangups
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}
