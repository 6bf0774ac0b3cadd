//! What is set of a webhook.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{format::Format, target::Target};
use crate::{event::Filter, settings::Table};

/// Shorter would take a busy receiver for one that is gone; no receiver should think for longer.
const TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(120);
/// Shorter would hammer at whoever is in trouble; longer, and nobody would notice that it is well again.
const BACKOFF_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// The most files of secrets: the one in use, and the next.
const SECRETS_MAX: usize = 2;

/// Where to, how, and which events.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) target: Target,
    pub(super) format: Format,
    pub(super) filter: Filter,
    pub(super) secret_files: Vec<PathBuf>,
    pub(super) bearer_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) is_insecure: bool,
    pub(super) timeout: Duration,
    pub(super) backoff_max: Duration,
}

impl Settings {
    /// None where something of it is refused.
    pub(super) fn read(table: &mut Table) -> Option<Settings> {
        let expects = "a URL, such as https://example.com/hook";
        let about = "where events are posted to; shown without its path, which may be a password";
        let target = table.displayed("url", expects, about, Target::parse);
        if target.is_none() {
            table.fault("url", format!("missing; expected {expects}"));
        }
        let format = table.one_of("format", "standard", &Format::NAMES, "how an event is put");
        let conditions = table.strings("filter", &[], "which events: conditions as `rodent events` takes them");
        let filter = Filter::parse(&conditions);
        if let Err(error) = &filter {
            table.fault("filter", error.to_string());
        }
        let secret_files =
            table.strings("secret_file", &[], "files of keys that sign (`whsec_…`): one, or two in a change");
        if secret_files.len() > SECRETS_MAX {
            table.fault("secret_file", format!("at most {SECRETS_MAX} keys are valid at once"));
        }
        if secret_files.iter().any(|path| !path.starts_with('/')) {
            table.fault("secret_file", "expected paths that begin with `/`".to_owned());
        }
        let bearer_file = table.optional_path("bearer_file", "a file with what is sent as bearer token");
        let ca_file =
            table.optional_path("ca_file", "PEM of the receiver's authority, where the system does not know it");
        let is_insecure = table.boolean("insecure", false, "whether plain http may leave private networks");
        let timeout = table.duration("timeout", Duration::from_secs(30), TIMEOUT_BOUNDS, "how long an answer may take");
        let backoff_max = table.duration(
            "backoff_max",
            Duration::from_secs(600),
            BACKOFF_BOUNDS,
            "the longest pause between two attempts",
        );
        Some(Settings {
            target: target?,
            format: Format::named(format),
            filter: filter.ok()?,
            secret_files: secret_files.into_iter().map(PathBuf::from).collect(),
            bearer_file,
            ca_file,
            is_insecure,
            timeout,
            backoff_max,
        })
    }
}
