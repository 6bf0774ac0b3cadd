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
    client::{Client, ClientError, ReloadRequest},
};

/// The longest value that is read from standard input, bytes.
const VALUE_BYTES_MAX: u64 = 16 * 1024;

const ADD_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks add phone format=ntfy url=- tell=changes
  sudo rodent sinks add hook url=https://example.com/ 'filter=[\"storage\"]'

As root. Writes /etc/rodent/rodent.d/sinks-NAME.yml whole, if the configuration is valid with it, and has the agent read it. \
Values are text or JSON. `url=-` reads the value from standard input, for what nobody else is to see: of many a webhook the URL \
is the password. The keys stand in docs/configuration.md.

Exit codes: 0 done, 64 no key=value, 65 there is one, or it is configured by hand, 77 not root, 78 refused.";

const SET_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks set phone quiet=22:00-07:00
  sudo rodent sinks set phone quiet=      without it

As root, for what `rodent sinks add` has written; what was configured by hand is left alone.

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
    write(&edit, root, &mut io::stdin().lock())?;
    let client = match Client::connect(socket).await {
        Err(ClientError::NotRunning(_)) => {
            say("done; no agent runs that could be told, it reads it when it starts")?;
            return Ok(ExitCode::SUCCESS);
        }
        connected => connected?,
    };
    let answer = client.reload(ReloadRequest { dry_run: false }).await?;
    if !answer.faults.is_empty() {
        answer.faults.iter().for_each(|fault| tell(fault));
        return Err(Failure::config(
            "it is written, and the agent refuses the configuration; what was in force goes on",
        ));
    }
    say(if answer.applied.is_empty() { "nothing has changed" } else { "done, and in force" })?;
    Ok(ExitCode::SUCCESS)
}

fn write(edit: &Edit, root: &Path, input: &mut dyn io::BufRead) -> Result<(), Failure> {
    let name = edit.name();
    let found = WrittenSink::find(root, name).map_err(failure)?;
    let mut sink = match (edit, found) {
        (Edit::Add { .. }, Some(_)) => return Err(failure(WrittenSinkError::There(name.to_owned()))),
        (Edit::Add { .. }, None) => WrittenSink::default(),
        (_, None) => return Err(failure(WrittenSinkError::Unknown(name.to_owned()))),
        (_, Some(sink)) => sink,
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
    WrittenSink::stand(root, name, stays).map_err(failure)
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
        write(&edit, root, &mut input.as_bytes()).map_err(|failure| failure.message().to_owned())?;
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
        assert!(refused.contains("timeout"), "{refused}");
        assert!(edit(root, set_to("timeout"), "").expect_err("no pair").contains("key=value"));
        assert_eq!(edit(root, Edit::Remove(phone()), "").expect("gone"), "");
        assert!(edit(root, Edit::Remove(phone()), "").expect_err("none").contains("no sink is called `phone`"));
    }
}
