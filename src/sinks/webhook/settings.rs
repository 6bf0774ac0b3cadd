//! What is set of a webhook.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use hyper::header::{HeaderName, HeaderValue};

use super::{
    credentials::Places,
    format::{Format, Signed},
    target::Target,
};
use crate::{
    event::Filter,
    settings::Table,
    telling::{Quiet, Rules},
};

/// Shorter would take a busy receiver for one that is gone; no receiver should think for longer.
const TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(120);
/// Shorter would hammer at whoever is in trouble; longer, and nobody would notice that it is well again.
const BACKOFF_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// The most files of secrets: the one in use, and the next.
const SECRETS_MAX: usize = 2;

/// The most waits of a schedule, and headers of each sort.
const LIST_MAX: usize = 32;

/// Shorter is no reminder.
const REPEAT_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(600)..=Duration::from_secs(30 * 24 * 3600);

/// How long a receiver may fail before another takes its place.
const AFTER_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// How often Alertmanager is told what is wrong: several times within the time that it believes it.
const ALERT_INTERVAL: Duration = Duration::from_secs(60);

/// What a sink that does not tell of states has no use for.
const OF_STATES: [&str; 4] = ["quiet", "quiet_critical", "repeat", "digest_after"];

/// Where to, how, and which events.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) target: Target,
    pub(super) format: Format,
    pub(super) filter: Filter,
    pub(super) places: Places,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// How states are told of; none where events are.
    pub(super) rules: Option<Rules>,
    pub(super) is_insecure: bool,
    pub(super) timeout: Duration,
    pub(super) backoff_max: Duration,
    /// Instead of growing pauses.
    pub(super) schedule: Vec<Duration>,
    pub(super) fallback: Option<Fallback>,
    /// Of the sink that the fallback names.
    pub(super) stand_in: Option<Box<Settings>>,
}

/// Who takes what was not taken for long.
#[derive(Clone, Debug)]
pub(super) struct Fallback {
    /// The name of a sink.
    pub(super) to: String,
    pub(super) after: Duration,
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
        let name = table.one_of("format", "standard", &Format::NAMES, "how it is put");
        let prefix = table.parsed(
            "header_prefix",
            "what a header may be called",
            "of `signed`: how its headers begin [default: X-Rodent]",
            |text| {
                HeaderName::try_from(text)
                    .map(|_| text.to_owned())
                    .map_err(|_| "expected letters, digits and `-`".to_owned())
            },
        );
        let kind_key = table.one_of(
            "kind_key",
            "event",
            &["event", "event_type"],
            "of `signed`: the key that the kind stands under",
        );
        let format = Format::named(name, Signed { prefix: prefix.unwrap_or_else(|| "X-Rodent".to_owned()), kind_key });
        let rules = rules(table, &format);
        let conditions = table.strings("filter", &[], "which events: conditions as `rodent events` takes them");
        let filter = Filter::parse(&conditions);
        if let Err(error) = &filter {
            table.fault("filter", error.to_string());
        }
        if rules.is_some() && filter.as_ref().is_ok_and(Filter::asks_for_more_than_kinds_and_levels) {
            let why = "with `tell: changes` a filter asks for levels, kinds and categories only: a state is no event";
            table.fault("filter", why.to_owned());
        }
        let secret_files =
            table.strings("secret_file", &[], "files of keys that sign (`whsec_…`; of `signed` any word; of `pagerduty` the key that it takes): one, or two in a change");
        if secret_files.len() > SECRETS_MAX {
            table.fault("secret_file", format!("at most {SECRETS_MAX} keys are valid at once"));
        }
        if secret_files.iter().any(|path| !path.starts_with('/')) {
            table.fault("secret_file", "expected paths that begin with `/`".to_owned());
        }
        if secret_files.is_empty() && format == Format::PagerDuty {
            table.fault("secret_file", "missing; expected a file with the integration key of PagerDuty".to_owned());
        }
        let headers = pairs(table, "headers", "further headers, `NAME: VALUE`", |value| {
            HeaderValue::try_from(value).map_err(|_| "expected a value in one line".to_owned())
        });
        let header_files =
            pairs(table, "header_files", "headers that are secret, `NAME: FILE`", |path| match path.starts_with('/') {
                true => Ok(PathBuf::from(path)),
                false => Err("expected a path that begins with `/`".to_owned()),
            });
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
        let schedule = schedule(table);
        let fallback =
            fallback(&mut table.table("fallback", "another sink that takes what this one has not taken for long"));
        let has_plain_keys = matches!(format, Format::Signed(_) | Format::PagerDuty);
        Some(Settings {
            target: target?,
            format,
            filter: filter.ok()?,
            places: Places {
                keys: secret_files.into_iter().map(PathBuf::from).collect(),
                has_plain_keys,
                bearer: bearer_file,
                headers: header_files,
                authority: ca_file,
            },
            headers,
            rules,
            is_insecure,
            timeout,
            backoff_max,
            schedule,
            fallback,
            stand_in: None,
        })
    }
}

/// How states are told of; none where events are.
fn rules(table: &mut Table, format: &Format) -> Option<Rules> {
    let tells = table.one_of("tell", "events", &["events", "changes"], "each event, or what is wrong and well again");
    let quiet = table.parsed("quiet", Quiet::EXPECTS, "when nothing is told, in the machine's own time", Quiet::parse);
    let is_critical_quiet =
        table.boolean("quiet_critical", false, "whether quiet hours hold for what is critical, too");
    let repeat =
        table.duration_or_off("repeat", None, REPEAT_BOUNDS, "after how long what is still wrong is told again");
    let digest_after = table.integer("digest_after", 10, 1..=1000, "more messages in a minute become one");
    if tells == "events" {
        for key in OF_STATES {
            if table.has(key) {
                table.fault(key, "is of use with `tell: changes` only".to_owned());
            }
        }
        if format.is_of_states() {
            table.fault("format", "Alertmanager keeps states and no events: set `tell: changes`".to_owned());
        }
        return None;
    }
    if format.is_of_states() {
        return Some(Rules { repeat: Some(ALERT_INTERVAL), is_mirror: true, ..Rules::default() });
    }
    let digest_after = usize::try_from(digest_after).unwrap_or(usize::MAX);
    Some(Rules { quiet, is_critical_quiet, repeat, digest_after, is_mirror: false })
}

fn fallback(table: &mut Table) -> Option<Fallback> {
    let to = table
        .optional_string("to", "the name of the other sink; it is sent this one's events, whatever its own filter");
    let after =
        table.duration("after", Duration::from_secs(600), AFTER_BOUNDS, "how long this one takes nothing before");
    to.map(|to| Fallback { to, after })
}

fn schedule(table: &mut Table) -> Vec<Duration> {
    let texts = table.strings("schedule", &[], "the pauses between attempts one by one, instead of growing ones");
    let parse = |text: &String| humantime::parse_duration(text).ok().filter(|pause| BACKOFF_BOUNDS.contains(pause));
    let pauses: Vec<_> = texts.iter().map_while(parse).collect();
    if pauses.len() < texts.len() || pauses.len() > LIST_MAX {
        let expected = format!("expected at most {LIST_MAX} durations from 1s to 24h, such as [1m, 5m, 15m, 1h, 4h]");
        table.fault("schedule", expected);
    }
    pauses
}

/// Lines of the form `NAME: VALUE`.
fn pairs<T>(
    table: &mut Table,
    key: &'static str,
    about: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<(HeaderName, T)> {
    let mut pairs = Vec::new();
    let lines = table.strings(key, &[], about);
    if lines.len() > LIST_MAX {
        table.fault(key, format!("at most {LIST_MAX} are taken"));
    }
    for line in lines {
        let pair = line.split_once(':').ok_or_else(|| "expected `NAME: VALUE`".to_owned()).and_then(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).map_err(|_| "the name is none of a header".to_owned())?;
            Ok((name, parse(value.trim())?))
        });
        match pair {
            Ok(pair) => pairs.push(pair),
            Err(error) => table.fault(key, error),
        }
    }
    pairs
}
