//! `rodent hook`: what the programs in /usr/lib/rodent/hooks run when a daemon calls them. Not for people.
//!
//! Gives what the daemon says to the agent; leaves it in the agent's spool when the agent is away or does not answer in
//! time. Always holds: it ends within [`TAKE_MAX`] (where something is to be asked, with [`END_WAIT`] and [`ASK_MAX`]) and a write
//! to the disk, well before any daemon loses its patience; what
//! could be neither given nor left is named in the system's log, and the exit code is not 0. What the agent has in memory
//! only, for want of a disk, is named there, too.

use std::{
    cell::LazyCell,
    env,
    ffi::OsString,
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;
use uuid::Uuid;

use super::{Failure, failure::tell};
use crate::{
    agent::config::{Config, STATE_DIRECTORY},
    client::{Client, ClientError, Durability, QueryRequest, SOCKET},
    event::{EventView, Summary, TRACEPARENT_VARIABLE, note_trace},
    hooks::{self, Daemon, Torn, Words},
    schema::events::Event,
    spool::Spool,
    telemetry::ErrorChain,
};

/// How long the agent may take. Older ZEDs kill what runs for ten seconds and do nothing else meanwhile; smartd and mdadm
/// wait as long as it takes.
const TAKE_MAX: Duration = Duration::from_secs(3);

/// How long another call of the hook may take to tell that a transfer has come whole, which happens together with this.
const END_WAIT: Duration = Duration::from_secs(3);
/// How long the agent may look for the last that was told of a transfer.
const ASK_MAX: Duration = Duration::from_secs(2);
/// The longest that a transfer takes; nobody asks for what was told before.
const TRANSFER_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The last events of a transfer that are looked at.
const ASKED_EVENTS: u32 = 32;
/// What is told of one that is under way.
const UNDER_WAY: [&str; 2] = ["storage.transfer.started", "storage.transfer.progress"];

/// Where the system's log listens.
const LOG: &str = "/dev/log";
/// Facility daemon, severity error, as RFC 3164 packs them.
const LOG_PRIORITY: u8 = 3 << 3 | 3;

/// Take what a daemon tells
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// zed, smartd or mdadm
    #[arg(value_parser = daemon)]
    daemon: Daemon,
    /// The agent's configuration, for its socket and state directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the daemon gave as arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

pub(super) fn daemon(name: &str) -> Result<Daemon, String> {
    Daemon::ALL
        .into_iter()
        .find(|daemon| daemon.name() == name)
        .ok_or_else(|| format!("the daemons are {}", Daemon::ALL.map(Daemon::name).join(", ")))
}

pub(super) async fn run(arguments: Arguments, socket: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let daemon = arguments.daemon;
    let words = Words::new(env::vars_os(), arguments.words);
    // Most calls tell nothing and need no configuration.
    let places = LazyCell::new(|| Places::of(arguments.config.as_deref(), socket));
    let mut events = hooks::events(daemon, &words, Path::new("/"), || places.is_alone)
        .map_err(|why| complain(daemon, format!("the hook was called without what it needs: {why}")))
        .map_err(Failure::usage)?;
    let torn = hooks::torn(daemon, &words);
    if events.is_empty() && torn.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(torn) = torn
        && is_under_way(&torn, &places.socket).await
    {
        events = vec![torn.event];
    }
    if events.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    events.iter_mut().for_each(complete);
    let trace = env::var(TRACEPARENT_VARIABLE).unwrap_or_default();
    events.iter_mut().for_each(|event| _ = note_trace(&mut event.metadata, &trace));
    let refusal = match give(&events, &places.socket).await {
        Ok(None) => return Ok(ExitCode::SUCCESS),
        Ok(Some(why)) => {
            // Not left in the spool, too: that is on the same disk, and the agent delivers from memory.
            tell(&complain(daemon, format!("{} is kept in the agent's memory only: {why}", named(&events))));
            return Ok(ExitCode::SUCCESS);
        }
        Err(refusal) => refusal,
    };
    if let ClientError::Refused(why) = &refusal {
        return Err(Failure::data(complain(daemon, format!("the agent refuses {}: {why}", named(&events)))));
    }
    for event in &events {
        let left = places.spool.leave(&event.encode_to_vec());
        left.map_err(|error| {
            let (agent, spool) = (ErrorChain(&refusal), ErrorChain(&error));
            let what = named(std::slice::from_ref(event));
            Failure::unavailable(complain(daemon, format!("{what} is lost: {agent}; {spool}")))
        })?;
    }
    if let Some(guess) = &places.guess {
        tell(&complain(daemon, format!("{} is left for the agent, and {guess}", named(&events))));
    }
    Ok(ExitCode::SUCCESS)
}

/// The identifier is given here, so that an event that comes twice can be known; and the time, for it may wait.
pub(super) fn complete(event: &mut Event) {
    event.event_id = Uuid::now_v7().to_string();
    if event.timestamp == 0 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        event.timestamp = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    }
}

/// Gives the events to the agent. While it cannot write to its disk: gives why they are in its memory only.
async fn give(events: &[Event], socket: &Path) -> Result<Option<String>, ClientError> {
    let taken = async { Client::connect(socket).await?.emit(events, Durability::Committed).await };
    match tokio::time::timeout(TAKE_MAX, taken).await {
        Ok(taken) => taken.map(|answer| Some(answer.only_in_memory).filter(|why| !why.is_empty())),
        Err(_) => Err(ClientError::Unavailable(format!("the agent did not answer within {} s", TAKE_MAX.as_secs()))),
    }
}

/// Whether the last that had happened to a transfer is that it has begun. An agent that does not say so in time knows of none.
async fn is_under_way(torn: &Torn, socket: &Path) -> bool {
    if torn.may_end_now {
        tokio::time::sleep(END_WAIT).await;
    }
    let last = tokio::time::timeout(ASK_MAX, was_under_way(torn, socket)).await;
    matches!(last, Ok(Ok(true)))
}

/// How the transfer stood then, by the times of what happened: calls of the hook overtake each other, and the next transfer may
/// have begun since.
async fn was_under_way(torn: &Torn, socket: &Path) -> Result<bool, ClientError> {
    let until = torn.event.timestamp;
    let since = until.saturating_sub(i64::try_from(TRANSFER_MAX.as_millis()).unwrap_or_default()).max(0);
    let filter = vec!["storage.transfer".to_owned(), format!("destination={}", torn.destination)];
    let query = QueryRequest { filter, limit: ASKED_EVENTS, since, until, ..QueryRequest::default() };
    let mut pages = Client::connect(socket).await?.query(query).await?;
    let mut last: Option<(i64, bool)> = None;
    while let Some(page) = pages.next().await? {
        for event in page.events.iter().filter_map(|stored| EventView::decode(&stored.event).ok()) {
            let has_ended = !UNDER_WAY.contains(&event.kind().as_str());
            last = last.max(Some((event.timestamp(), has_ended)));
        }
    }
    Ok(last.is_some_and(|(_, has_ended)| !has_ended))
}

/// Where the agent is.
pub(super) struct Places {
    socket: PathBuf,
    pub(super) spool: Spool,
    /// The storage collector is switched off.
    is_alone: bool,
    /// Why the places are those by default, where another configuration may name others.
    pub(super) guess: Option<String>,
}

impl Places {
    /// As configured; where the configuration cannot be read, as by default.
    pub(super) fn of(file: Option<&Path>, socket: Option<PathBuf>) -> Places {
        let config = Config::load(file, Path::new("/")).map(|loaded| loaded.config);
        let is_off = |config: &Config| config.collectors.iter().any(|it| it.spec.name == "storage" && !it.enabled);
        let is_alone = config.as_ref().is_ok_and(is_off);
        let guess = config.as_ref().err().map(|_| {
            format!(
                "the configuration cannot be read (`rodent config check`): it lies in {STATE_DIRECTORY}/spool, where an agent with \
                 another `state_directory` does not find it"
            )
        });
        let (configured, state_directory) = config.map_or_else(
            |_| (PathBuf::from(SOCKET), PathBuf::from(STATE_DIRECTORY)),
            |config| (config.socket, config.state_directory),
        );
        Places { socket: socket.unwrap_or(configured), spool: Spool::of(&state_directory), is_alone, guess }
    }
}

/// `storage.pool.created tank, …`
fn named(events: &[Event]) -> String {
    let name = |event: &Event| {
        let view = EventView::from(event);
        format!("{} {}", view.kind(), Summary::of(&view).subject).trim_end().to_owned()
    };
    events.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Tells the system's log, for what a hook prints goes nowhere with some daemons. Gives the message back.
fn complain(daemon: Daemon, message: String) -> String {
    let line = format!("<{LOG_PRIORITY}>rodent-hook[{}]: {daemon}: {message}", process::id());
    let sent = UnixDatagram::unbound().and_then(|log| {
        log.set_nonblocking(true)?;
        log.send_to(line.as_bytes(), LOG)
    });
    // A machine whose log does not listen has no other place; standard error is told in any case.
    let _: io::Result<usize> = sent;
    format!("{daemon}: {message}")
}
