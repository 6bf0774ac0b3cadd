//! `rodent sinks add`, `set`, `remove`, `enable` and `disable`: writes a sink down, as root, and has the agent read it.

use std::{
    io::{self, BufRead as _},
    path::Path,
    process::ExitCode,
};

use clap::Subcommand;
use nix::unistd::geteuid;
use serde_json::Value;

use super::{
    super::{Failure, failure::tell, say},
    Name,
};
use crate::{
    agent::config::{WrittenSink, WrittenSinkError, is_key},
    client::{Client, ClientError, ReloadRequest, ReloadResponse},
};

/// The longest value that is read from standard input, bytes.
const VALUE_BYTES_MAX: u64 = 16 * 1024;

const ADD_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks add phone format=ntfy url=- tell=changes
  sudo rodent sinks add hook url=https://example.com/ 'filter=[\"storage\"]'

As root. Writes /etc/rodent/rodent.d/sinks-NAME.yml whole, if the configuration is valid with it, and has the agent read it. \
Values are text or JSON. `url=-` reads the value from standard input, for what nobody else is to see: of many a webhook the URL \
is the password. The keys stand in /usr/share/doc/rodent/docs/configuration.md, receivers to begin with in receivers.md beside it.

Exit codes: 0 done, 64 no key=value, 65 there is one, or it is configured by hand, 77 not root, 78 refused.";

const SET_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks set phone quiet=22:00-07:00
  sudo rodent sinks set phone quiet=      without it

As root, for what `rodent sinks add` has written; what was configured by hand is left alone. Values are as `add` takes them. What \
the agent's environment sets (RODENT_SINKS__PHONE__QUIET) beats the file, and is named; what the agent refuses is taken back.

Exit codes: 0 done, 64 no key=value, 65 no such sink, or it is configured by hand, 77 not root, 78 refused.";

const SWITCH_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks disable phone
  sudo rodent sinks enable phone
  sudo rodent sinks remove phone

As root, for what `rodent sinks add` has written. Nothing is kept for one that is disabled or removed; `rodent sinks pause` keeps \
everything.

Exit codes: 0 done, 65 no such sink, or it is configured by hand, 77 not root, 78 refused.";

/// What is to be done with a sink.
#[derive(Debug, Subcommand)]
pub(super) enum Edit {
    /// Write a sink down, and tell it from now on
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        #[command(flatten)]
        sink: Name,
        /// What it is: format=ntfy
        #[arg(value_name = "KEY=VALUE", required = true)]
        pairs: Vec<String>,
    },
    /// Change keys of a sink that was added
    #[command(after_help = SET_EXAMPLES)]
    Set {
        #[command(flatten)]
        sink: Name,
        /// What is otherwise from now on: timeout=5s
        #[arg(value_name = "KEY=VALUE", required = true)]
        pairs: Vec<String>,
    },
    /// Have a sink be told again that was disabled
    #[command(after_help = SWITCH_EXAMPLES)]
    Enable(Name),
    /// Have a sink not be told, and leave it written down
    #[command(after_help = SWITCH_EXAMPLES)]
    Disable(Name),
    /// Forget a sink that was added
    #[command(after_help = SWITCH_EXAMPLES)]
    Remove(Name),
}

impl Edit {
    fn name(&self) -> &str {
        match self {
            Edit::Add { sink, .. } | Edit::Set { sink, .. } => &sink.name,
            Edit::Enable(sink) | Edit::Disable(sink) | Edit::Remove(sink) => &sink.name,
        }
    }
}

/// Does it to the machine below `root`.
pub(super) async fn run(edit: Edit, root: &Path, socket: &Path) -> Result<ExitCode, Failure> {
    if !geteuid().is_root() {
        return Err(Failure::permission("the files of the configuration are root's: run it with sudo"));
    }
    let client = match Client::connect(socket).await {
        Err(ClientError::NotRunning(_)) => None,
        connected => Some(connected?),
    };
    let variables = match &client {
        Some(client) => client.reload(ReloadRequest { dry_run: true }).await?.variables,
        None => Vec::new(),
    };
    let name = edit.name();
    let own = of_sink(&variables, name);
    let before = write(&edit, root, &mut io::stdin().lock(), &own)?;
    let Some(client) = client else {
        say("done; no agent runs that could be told, it reads it when it starts")?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut answer = ReloadResponse::default();
    for dry_run in [true, false] {
        answer = match client.reload(ReloadRequest { dry_run }).await {
            Ok(answer) => answer,
            Err(error) => {
                if dry_run {
                    // It has only been asked: what it would take at its next start is taken back.
                    WrittenSink::stand(root, name, before.as_ref()).map_err(failure)?;
                } else {
                    tell("the change is written down; whether the agent has taken it is not known: rodent reload");
                }
                return Err(error.into());
            }
        };
        if !answer.faults.is_empty() {
            answer.faults.iter().for_each(|fault| tell(fault));
            // With what it refuses the agent would not start the next time.
            WrittenSink::stand(root, name, before.as_ref()).map_err(failure)?;
            return Err(Failure::config("the agent refuses it, and all is as it was before"));
        }
    }
    say(if answer.applied.is_empty() { "nothing has changed" } else { "done, and in force" })?;
    if !own.is_empty() {
        tell(&format!("set by the agent's environment, which beats what is written: {}", own.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// Variables that set keys of this sink.
fn of_sink<'v>(variables: &'v [String], name: &str) -> Vec<&'v str> {
    let own = format!("RODENT_SINKS__{name}__").to_uppercase();
    variables.iter().map(String::as_str).filter(|variable| variable.to_uppercase().starts_with(&own)).collect()
}

/// Gives what stood there before. `unseen` are variables of the agent, which whoever checks it here does not have.
fn write(
    edit: &Edit,
    root: &Path,
    input: &mut dyn io::BufRead,
    unseen: &[&str],
) -> Result<Option<WrittenSink>, Failure> {
    let name = edit.name();
    let before = WrittenSink::find(root, name).map_err(failure)?;
    let mut sink = match (edit, &before) {
        (Edit::Add { .. }, Some(_)) => return Err(failure(WrittenSinkError::There(name.to_owned()))),
        (Edit::Add { .. }, None) => WrittenSink::default(),
        (_, None) => return Err(failure(WrittenSinkError::Unknown(name.to_owned()))),
        (_, Some(sink)) => sink.clone(),
    };
    match edit {
        Edit::Add { pairs, .. } => {
            sink.set("type", Some("webhook".into()));
            set(&mut sink, pairs, input)?;
        }
        Edit::Set { pairs, .. } => set(&mut sink, pairs, input)?,
        Edit::Enable(_) => sink.set("enabled", None),
        Edit::Disable(_) => sink.set("enabled", Some(false.into())),
        Edit::Remove(_) => {}
    }
    let stays = Some(&sink).filter(|_| !matches!(edit, Edit::Remove(_)));
    match WrittenSink::stand(root, name, stays) {
        Ok(()) => Ok(before),
        Err(error @ WrittenSinkError::Refused(_)) if !unseen.is_empty() => Err(Failure::config(format!(
            "{error}\nnot seen here, set by the agent's environment: {}; what the sink needs is to be given here, too",
            unseen.join(", ")
        ))),
        Err(error) => Err(failure(error)),
    }
}

/// `key=value`: JSON where it is such and no bare text, otherwise text. `key=` takes the key away, `key=-` reads a line.
fn set(sink: &mut WrittenSink, pairs: &[String], input: &mut dyn io::BufRead) -> Result<(), Failure> {
    for pair in pairs {
        let Some((key, text)) = pair.split_once('=').filter(|(key, _)| is_key(key)) else {
            return Err(Failure::usage(format!("`{pair}` is no key=value, such as format=ntfy")));
        };
        let mut line = String::new();
        let text = match text {
            "-" => {
                io::Read::take(&mut *input, VALUE_BYTES_MAX).read_line(&mut line)?;
                line.trim()
            }
            text => text,
        };
        let value = serde_json::from_str(text).ok().filter(|value| !matches!(value, Value::Null));
        sink.set(key, (!text.is_empty()).then(|| value.unwrap_or_else(|| text.into())));
    }
    Ok(())
}

fn failure(error: WrittenSinkError) -> Failure {
    let text = crate::telemetry::ErrorChain(&error).to_string();
    match error {
        WrittenSinkError::Refused(_) => Failure::config(error),
        WrittenSinkError::Io { .. } => Failure::other(text),
        WrittenSinkError::Owner(_) => Failure::permission(text),
        _ => Failure::data(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(root: &Path, edit: Edit, input: &str) -> Result<String, String> {
        let unseen = ["RODENT_SINKS__PHONE__FORMAT"];
        write(&edit, root, &mut input.as_bytes(), &unseen).map_err(|failure| failure.message().to_owned())?;
        let path = root.join("etc/rodent/rodent.d/sinks-phone.yml");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Ok(text.lines().skip(1).map(str::trim).collect::<Vec<_>>().join("|"))
    }

    fn phone() -> Name {
        Name { name: "phone".to_owned() }
    }

    fn add(pairs: &str) -> Edit {
        Edit::Add { sink: phone(), pairs: pairs.split(' ').map(str::to_owned).collect() }
    }

    fn set_to(pairs: &str) -> Edit {
        Edit::Set { sink: phone(), pairs: pairs.split(' ').map(str::to_owned).collect() }
    }

    #[test]
    fn words_become_a_file_and_each_change_leaves_the_other_keys() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let keys = r#"format=ntfy url=- tell=changes filter=["level>=warn"] insecure=true"#;
        let added = edit(root, add(keys), "http://ntfy.lan/secret\n").expect("written");
        let whole = r#"sinks:|phone:|type: "webhook"|format: "ntfy"|url: "http://ntfy.lan/secret"|tell: "changes"|filter: ["level>=warn"]|insecure: true"#;
        assert_eq!(added, whole);
        assert!(edit(root, add(keys), "http://x/").expect_err("there").contains("`rodent sinks set phone`"));
        let set = edit(root, set_to("insecure= timeout=5s"), "").expect("written");
        assert_eq!(set, whole.replace("insecure: true", r#"timeout: "5s""#));
        assert!(edit(root, Edit::Disable(phone()), "").expect("written").ends_with("|enabled: false"));
        assert_eq!(edit(root, Edit::Enable(phone()), "").expect("written"), set);
        let refused = edit(root, set_to("timout=5s"), "").expect_err("a wrong key");
        assert!(refused.contains("timeout") && refused.contains("RODENT_SINKS__PHONE__FORMAT"), "{refused}");
        assert!(edit(root, set_to("timeout=null"), "").expect_err("a text").contains("sinks.phone.timeout: null"));
        assert!(edit(root, set_to("timeout"), "").expect_err("no pair").contains("key=value"));
        assert_eq!(edit(root, Edit::Remove(phone()), "").expect("gone"), "");
        assert!(edit(root, Edit::Remove(phone()), "").expect_err("none").contains("no sink is called `phone`"));
    }

    #[test]
    fn what_the_agents_environment_sets_of_a_sink_is_told_by_its_own_name_only() {
        let all =
            ["RODENT_SINKS__PHONE__URL", "RODENT_SINKS__phone__quiet", "RODENT_SINKS__PHONES__URL", "RODENT_EVENTS__X"];
        assert_eq!(of_sink(&all.map(str::to_owned), "phone"), all[..2]);
    }
}
