//! The look at the system: read, compare, emit, remember.

use std::{convert::Infallible, io, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::{
    Settings, account_changes,
    accounts::{self, Accounts, DIRECTORY, FILES, Unready},
    host_state::{HostState, clock_offset, clock_step, heartbeat},
    lifecycle::{Run, Start},
};
use crate::{
    collectors::{CollectError, Context, finding::Finding},
    host::{
        Host,
        clock::Clock,
        directory_watch::{Change, DirectoryWatch},
    },
    telemetry::ErrorChain,
};

/// How often name and clock are looked at.
const HOST_INTERVAL: Duration = Duration::from_secs(10);
/// How often the accounts are looked at although nothing was seen to change: they may lie behind links.
const ACCOUNTS_INTERVAL: Duration = Duration::from_secs(60);
/// Programs rewrite several files in a row: they are read when this long nothing has changed.
const ACCOUNTS_QUIET: Duration = Duration::from_millis(100);
/// But no later than this.
const ACCOUNTS_SETTLE_MAX: Duration = Duration::from_secs(1);
/// When to look again at files that are being rewritten.
const UNREADY_RETRY: Duration = Duration::from_secs(1);
/// What is missing without the right to read `/etc/shadow`, which the unit does not give (docs/systemd.md).
const UNSEEN: &str = "locked accounts and changed passwords are not seen";

pub(super) struct Watch {
    settings: Settings,
    context: Context,
    known: Known,
    start: Option<Start>,
    clock_offset: i64,
    /// When to look again at files that were not whole.
    retry: Option<Instant>,
    said_unready: bool,
    said_unseen: bool,
}

/// What survives a restart of the agent; none where nothing has been seen yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    run: Option<Run>,
    host: Option<HostState>,
    accounts: Option<Accounts>,
}

impl Watch {
    pub(super) fn new(settings: Settings, context: Context) -> Watch {
        let clock_offset = clock_offset(&Clock::of(&context.host));
        Watch {
            settings,
            context,
            known: Known::default(),
            start: None,
            clock_offset,
            retry: None,
            said_unready: false,
            said_unseen: false,
        }
    }

    /// Looks until the agent is told to stop, and tells that.
    pub(super) async fn run(mut self) -> Result<(), CollectError> {
        let shutdown = self.context.shutdown.clone();
        // Dropped wherever it stands: what was emitted and not yet remembered is found again at the next start.
        tokio::select! {
            () = shutdown.cancelled() => {}
            ended = self.watch() => return ended.map(|never| match never {}),
        }
        self.stop().await
    }

    async fn watch(&mut self) -> Result<Infallible, CollectError> {
        // Before the first look, so that nothing falls between.
        let mut directory = self.watch_directory();
        self.begin().await?;
        let mut host = ticks(HOST_INTERVAL);
        let mut accounts = ticks(ACCOUNTS_INTERVAL);
        let mut heartbeat = self.settings.heartbeat.map(ticks);
        loop {
            let retry = self.retry;
            tokio::select! {
                change = changed(&mut directory) => {
                    if change?.touches(FILES) {
                        settle(&mut directory).await?;
                        self.look_at_accounts().await?;
                    }
                }
                () = at(retry) => self.look_at_accounts().await?,
                _ = accounts.tick() => self.look_at_accounts().await?,
                _ = host.tick() => self.look_at_host().await?,
                () = next(&mut heartbeat) => self.beat().await?,
            }
        }
    }

    fn watch_directory(&self) -> Option<DirectoryWatch> {
        DirectoryWatch::open(&self.context.host.path(DIRECTORY))
            .inspect_err(
                |error| tracing::warn!(%error, "{DIRECTORY} cannot be watched; accounts are read once a minute"),
            )
            .ok()
    }

    /// The start itself, and first sight or what changed since the agent last ran.
    async fn begin(&mut self) -> Result<(), CollectError> {
        self.known = self.context.memory.recall().unwrap_or_default();
        let start = self.look("look at the machine", |host| Ok(Start::look(host))).await?;
        let findings = start.findings(self.known.run.as_ref());
        let known = Known { run: Some(start.run.clone()), ..self.known.clone() };
        self.report(findings, known).await?;
        self.start = Some(start);
        self.look_at_host().await?;
        self.look_at_accounts().await
    }

    /// The last word, unless the start has not been told yet.
    async fn stop(mut self) -> Result<(), CollectError> {
        let Some(start) = self.start.take() else { return Ok(()) };
        let run = Run { stopped_cleanly: true, ..start.run.clone() };
        let known = Known { run: Some(run), ..self.known.clone() };
        // Only turned off: that is no farewell, but the next start must not take it for an unclean stop either.
        let farewell = self.context.agent_stops.is_cancelled().then(|| start.clean_stop());
        self.report(farewell.into_iter().collect(), known).await
    }

    async fn look_at_host(&mut self) -> Result<(), CollectError> {
        let mut state = self.look("look at the host", |host| Ok(HostState::look(host))).await?;
        let before = self.known.host.clone();
        if let Some(before) = &before {
            state.follow(before);
        }
        let mut findings = state.changes(before.as_ref());
        let offset = clock_offset(&Clock::of(&self.context.host));
        findings.extend(clock_step(self.clock_offset, offset));
        let known = Known { host: Some(state), ..self.known.clone() };
        self.report(findings, known).await?;
        self.clock_offset = offset;
        Ok(())
    }

    async fn look_at_accounts(&mut self) -> Result<(), CollectError> {
        let looked = match self.look("look at the accounts", |host| Ok(accounts::look(host))).await? {
            Ok(looked) => looked,
            Err(unready) => {
                self.note_unready(&unready);
                return Ok(());
            }
        };
        (self.retry, self.said_unready) = (None, false);
        self.note_unseen(looked.sees_passwords);
        let mut after = looked.accounts;
        let findings = match &self.known.accounts {
            Some(before) => {
                after.follow(before);
                account_changes::diff(before, &after)
            }
            None => vec![account_changes::inventory(&after)],
        };
        let known = Known { accounts: Some(after), ..self.known.clone() };
        self.report(findings, known).await
    }

    fn note_unready(&mut self, unready: &Unready) {
        self.retry = Some(Instant::now() + UNREADY_RETRY);
        if !self.said_unready {
            tracing::debug!(error = %ErrorChain(unready), "the accounts are looked at again in a moment");
            self.said_unready = true;
        }
    }

    fn note_unseen(&mut self, sees_passwords: bool) {
        self.context.sight.is_not_meant_to_see("passwords of accounts", if sees_passwords { "" } else { UNSEEN });
        if !sees_passwords && !self.said_unseen {
            tracing::info!(why = "/etc/shadow may not be read", "{UNSEEN}");
        }
        self.said_unseen = !sees_passwords;
    }

    async fn beat(&mut self) -> Result<(), CollectError> {
        let hostname = self.known.host.as_ref().map(|host| host.hostname.as_str()).unwrap_or_default();
        let finding = heartbeat(hostname, Clock::of(&self.context.host).since_boot());
        Ok(finding.emit(&self.context.emitter).await?)
    }

    async fn look<T: Send + 'static>(
        &self,
        action: &'static str,
        look: impl FnOnce(&Host) -> io::Result<T> + Send + 'static,
    ) -> Result<T, CollectError> {
        self.context.host.look(look).await.map_err(|error| CollectError::failed(action, error))
    }

    /// Emits what was found, and only then knows it.
    async fn report(&mut self, findings: Vec<Finding>, known: Known) -> Result<(), CollectError> {
        for finding in findings {
            finding.emit(&self.context.emitter).await?;
        }
        if known != self.known {
            self.known = known;
            self.context.memory.remember(&self.known);
        }
        Ok(())
    }
}

/// The first one after a whole period, for the first look is taken at the start.
fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

async fn next(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => _ = ticks.tick().await,
        None => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn changed(directory: &mut Option<DirectoryWatch>) -> Result<Change, CollectError> {
    match directory {
        Some(directory) => directory.changed().await.map_err(watch_failed),
        None => std::future::pending().await,
    }
}

async fn settle(directory: &mut Option<DirectoryWatch>) -> Result<(), CollectError> {
    match directory {
        Some(directory) => directory.settle(FILES, ACCOUNTS_QUIET, ACCOUNTS_SETTLE_MAX).await.map_err(watch_failed),
        None => Ok(()),
    }
}

fn watch_failed(error: io::Error) -> CollectError {
    CollectError::failed(format!("watch {DIRECTORY}"), error)
}
