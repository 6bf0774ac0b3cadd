//! What somebody who looks for a fault may ask beside a running agent, or without one: the clock, the room on the disk,
//! the unit, the way to the controller. The agent's own view is `rodent status`.
//!
//! Given to `rodent doctor`. Always holds: nothing is changed, nothing is registered, every question has a bound.

use crate::order::Gather as _;
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{IDENTITY, config::ControllerSettings};
use crate::{
    host::{
        Host,
        clock::Clock,
        command::{CommandError, Program},
        space::{Asked, SpaceProbe},
    },
    sinks::uplink,
    telemetry::{ErrorChain, message},
};
pub use crate::{
    host::{clock::Synchronisation, space::Space},
    sinks::uplink::{
        EXPIRY_MIN, TokenTimes,
        probe::{Answered, ControllerLook, ProbeVerdict, Secured},
    },
};

/// How long a program of systemd may take.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(5);
/// The most that such a program may say, bytes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Is there where systemd runs the machine.
const SYSTEMD: &str = "/run/systemd/system";

/// What is asked of the unit.
const UNIT_PROPERTIES: &str = "--property=LoadState,UnitFileState,ActiveState,SubState,NRestarts,Result,\
                               ExecMainStatus,WatchdogUSec,NeedDaemonReload,ProtectSystem,ReadWritePaths";

/// The way to the controller, as the uplink would take it.
pub async fn controller(settings: &ControllerSettings, state_directory: &Path) -> ControllerLook {
    let ControllerSettings { address, token, tls, patience, .. } = settings.clone();
    let settings = uplink::UplinkSettings { address, token, tls, node_id: String::new() };
    uplink::probe::look(&settings, &patience, state_directory.join(IDENTITY)).await
}

/// When the configured token is valid; why it cannot be read, in one line. Blocking.
///
/// # Errors
/// When there is no token.
pub fn token(settings: &ControllerSettings) -> Result<TokenTimes, String> {
    TokenTimes::read(&settings.token).map_err(|error| ErrorChain(&error).to_string())
}

/// Whether something keeps this machine's clock in step.
pub fn clock() -> Synchronisation {
    Clock::of(&Host::at("/")).synchronisation()
}

/// This machine's clock.
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// How full the file system at `path` is.
///
/// # Errors
/// When it does not answer, or refuses; in one line.
pub async fn space(path: &Path) -> Result<Space, String> {
    let asked = [Asked { path: path.to_owned(), is_remote: false }];
    let answer = SpaceProbe::default().look(&asked).await.pop();
    answer.map_or_else(
        || Err("it was not asked".to_owned()),
        |looked| looked.map_err(|error| ErrorChain(&error).to_string()),
    )
}

/// Properties of a unit, as `systemctl show` has them; `None` where systemd does not run.
///
/// # Errors
/// When systemd gives no answer; in one line.
pub async fn unit(name: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    let Some(mut systemctl) = of_systemd(&["/usr/bin/systemctl", "/bin/systemctl"]) else { return Ok(None) };
    let shown = systemctl.run(&["show", name, UNIT_PROPERTIES]).await;
    let shown = shown.map_err(|error| ErrorChain(&error).to_string())?;
    let properties = shown.lines().filter_map(|line| line.split_once('='));
    Ok(Some(properties.map(|(key, value)| (key.to_owned(), value.to_owned())).gather()))
}

/// Whether the journal can explain every message that has an identifier; `None` where systemd does not run.
///
/// # Errors
/// When it gives no answer; in one line.
pub async fn explains_messages() -> Result<Option<bool>, String> {
    let Some(mut journalctl) = of_systemd(&["/usr/bin/journalctl", "/bin/journalctl"]) else { return Ok(None) };
    let mut arguments = vec!["--no-pager", "--dump-catalog"];
    arguments.extend(message::ALL.iter().map(|message| message.id));
    match journalctl.run(&arguments).await {
        Ok(_) => Ok(Some(true)),
        // One that it does not know makes it fail.
        Err(CommandError::Failed { .. }) => Ok(Some(false)),
        Err(error) => Err(ErrorChain(&error).to_string()),
    }
}

/// A program of systemd, where systemd runs the machine.
fn of_systemd(paths: &[&str]) -> Option<Program> {
    let host = Host::at("/");
    host.path(SYSTEMD).is_dir().then(|| Program::find(&host, paths, COMMAND_TIME_MAX, OUTPUT_BYTES_MAX)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_machine_answers_and_what_is_not_there_is_told() {
        let space = space(Path::new("/")).await.expect("a root");
        assert!(space.total_bytes > 0, "{space:?}");
        let refused = super::space(Path::new("/nowhere/at/all")).await.expect_err("nothing there");
        assert!(refused.starts_with("ask /nowhere/at/all: "), "{refused}");
    }
}
