//! `rodent-controller token`.

use std::{
    path::PathBuf,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;

use super::Failure;
use crate::{
    controller::token::{NodeIdentity, SigningKey, SigningSecret},
    terminal::{Screen, quiet_end},
    words::parse_duration,
};

/// Print a token for a node
///
/// The agent sends it with every call; it names the node and cannot be used for
/// another. Give it to the agent as its `token_file`, readable by nobody else.
#[derive(Args)]
#[command(after_help = "Examples:
  umask 077
  rodent-controller token --token-secret secret --node nas-1 > token

  openssl genpkey -algorithm ed25519 -out issuer.key
  openssl pkey -in issuer.key -pubout -out issuer.pub
  rodent-controller token --private-key issuer.key --node nas-1 > token
  rodent-controller serve --token-key issuer.pub")]
pub(super) struct Arguments {
    /// File with the secret that `serve` was given as --token-secret
    #[arg(long, value_name = "FILE", required_unless_present = "private_key")]
    token_secret: Option<PathBuf>,
    /// Ed25519 private key (PEM), of which `serve` was given the public one as
    /// --token-key
    #[arg(long, value_name = "FILE", conflicts_with = "token_secret")]
    private_key: Option<PathBuf>,
    /// Name of the node, without blanks
    #[arg(long, value_name = "NODE")]
    node: String,
    /// Whose the node is
    #[arg(long, value_name = "NAME", default_value = "")]
    organisation: String,
    /// The node sits in a private network
    #[arg(long)]
    private: bool,
    /// For how long: `30d`, `12h`, or `forever`
    #[arg(long, value_name = "TIME", default_value = "365d")]
    valid_for: Validity,
}

/// How long a token is valid; `None` as long as the key.
#[derive(Clone, Copy)]
struct Validity(Option<Duration>);

impl FromStr for Validity {
    type Err = String;

    fn from_str(text: &str) -> Result<Validity, String> {
        if text == "forever" {
            return Ok(Validity(None));
        }
        let duration = parse_duration(text)?;
        Ok(Validity(Some(duration)))
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { token_secret, private_key, node, organisation, private, valid_for } = arguments;
    let key = match (&token_secret, &private_key) {
        (_, Some(path)) => SigningKey::read(path)?,
        (Some(path), None) => SigningKey::from(&SigningSecret::read(path)?),
        (None, None) => return Err(Failure::usage("give --token-secret or --private-key")),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires_at =
        valid_for.0.map(|duration| i64::try_from(now.saturating_add(duration).as_secs()).unwrap_or(i64::MAX));
    let identity = NodeIdentity { node, organisation, private };
    let token = key.issue(&identity, expires_at).map_err(Failure::usage)?;
    let mut screen = Screen::stdout();
    Ok(quiet_end(screen.line(&token).and_then(|()| screen.flush()))?)
}
