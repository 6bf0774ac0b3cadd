//! What is set of a webhook.

use std::{ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};

use super::{
    credentials::Places,
    expectation::Expectation,
    fields::Fields,
    format::{ALERTMANAGER, FREE, Format, JSON, PAGERDUTY, SIGNED, Signed},
    free::{self, FreeForm, Names},
    proxy::Proxy,
    target::Target,
};
use crate::{
    event::Filter,
    settings::Table,
    telling::{Quiet, Rules, Weekly},
};

/// Shorter would take a busy receiver for one that is gone; no receiver should think for longer.
pub const TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(120);
/// Shorter would hammer at whoever is in trouble; longer, and nobody would notice that it is well again.
const BACKOFF_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// The most files of secrets: the one in use, and the next.
const SECRETS_MAX: usize = 2;

/// The most waits of a schedule, and headers of each sort.
const LIST_MAX: usize = 32;

/// The longest name of a secret.
const NAME_CHARACTERS_MAX: usize = 32;

/// More attempts at one event hold up for hours what is behind it.
const REFUSALS_BOUNDS: RangeInclusive<u64> = 0..=100;

/// Shorter is no reminder.
const REPEAT_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(600)..=Duration::from_secs(30 * 24 * 3600);

/// How long a receiver may fail before another takes its place.
const AFTER_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// How often Alertmanager is told what is wrong: several times within the time that it believes it.
const ALERT_INTERVAL: Duration = Duration::from_secs(60);

/// What a sink that does not tell of states has no use for.
const OF_STATES: [&str; 5] = ["quiet", "quiet_critical", "repeat", "digest_after", "weekly"];

/// What a format that is not free has no use for.
const OF_FREE: [&str; 4] = ["method", "content_type", "body", "secrets"];

/// Headers that a request has already, and says what is so with.
const OWN_HEADERS: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Headers that are secret, and stand in no configuration.
const SECRET_HEADERS: [&str; 2] = ["authorization", "proxy-authorization"];

/// Where to, how, and which events.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) target: Target,
    pub(super) format: Format,
    pub(super) filter: Filter,
    pub(super) places: Places,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) fields: Fields,
    pub(super) is_compressed: bool,
    pub(super) expectation: Expectation,
    pub(super) proxy: Option<Proxy>,
    /// How states are told of; none where events are.
    pub(super) rules: Option<Rules>,
    pub(super) is_insecure: bool,
    pub(super) timeout: Duration,
    pub(super) backoff_max: Duration,
    /// Instead of growing pauses.
    pub(super) schedule: Vec<Duration>,
    /// After how many refusals an event is put aside; none where its own refusal suffices, and a fault of the receiver never does.
    pub(super) refusals_max: Option<u32>,
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
        let signed = signed(table);
        let rules = rules(table, name);
        let fields = Fields::read(table, Some(name).filter(|name| !Format::has_fields(name)), rules.is_some());
        let conditions = table.strings("filter", &[], "which events: conditions as `rodent events` takes them");
        let filter = Filter::parse(&conditions);
        if let Err(error) = &filter {
            table.fault("filter", error.to_string());
        }
        if rules.is_some() && filter.as_ref().is_ok_and(Filter::asks_for_more_than_kinds_and_levels) {
            let why = "with `tell: changes` a filter asks for levels, kinds and categories only: a state is no event";
            table.fault("filter", why.to_owned());
        }
        let mut places = places(table, name);
        places.words = secrets(table);
        let secrets: Vec<_> = places.words.iter().map(|(name, _)| name.clone()).collect();
        let names = Names { is_of_states: rules.is_some(), secrets: &secrets };
        let is_free = name == FREE;
        let form = free_form(table, is_free, &fields, names);
        if is_free && !table.has("body") {
            let example = r#"'{"text": "{node}: {text}"}'"#;
            table.fault("body", format!("missing; expected the body, such as {example}"));
        }
        for key in OF_FREE {
            if !is_free && table.has(key) {
                table.fault(key, "is of use with `format: free` only".to_owned());
            }
        }
        let (format, headers, fields) = match name {
            // The form has the fields, which it puts where it is asked for all of them.
            FREE => (form.map(|form| Format::Free(Arc::new(form))), Vec::new(), Fields::default()),
            name => (Some(Format::named(name, signed)), fixed_headers(table), fields),
        };
        let is_insecure = table.boolean("insecure", false, "whether plain http may leave private networks");
        let proxy = proxy(table, target.as_ref(), is_insecure);
        let expectation = Expectation::read(table);
        let compression = table.one_of("compress", "off", &["off", "gzip"], "whether bodies are sent compressed");
        let timeout = table.duration("timeout", Duration::from_secs(30), TIMEOUT_BOUNDS, "how long an answer may take");
        let backoff_max = table.duration(
            "backoff_max",
            Duration::from_secs(600),
            BACKOFF_BOUNDS,
            "the longest pause between two attempts",
        );
        let schedule = schedule(table);
        let refusals_max = table.integer(
            "refusals_max",
            0,
            REFUSALS_BOUNDS,
            "after how many refusals of one event, 500 among them, it is put aside; 0: at the first 4xx, and never for 5xx",
        );
        let fallback =
            fallback(&mut table.table("fallback", "another sink that takes what this one has not taken for long"));
        Some(Settings {
            target: target?,
            format: format?,
            filter: filter.ok()?,
            places,
            headers,
            fields,
            is_compressed: compression == "gzip",
            expectation,
            proxy,
            rules,
            is_insecure,
            timeout,
            backoff_max,
            schedule,
            refusals_max: u32::try_from(refusals_max).ok().filter(|most| *most > 0),
            fallback,
            stand_in: None,
        })
    }
}

/// Of the signed form.
fn signed(table: &mut Table) -> Signed {
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
    let kind_key =
        table.one_of("kind_key", "event", &["event", "event_type"], "of `signed`: the key that the kind stands under");
    Signed { prefix: prefix.unwrap_or_else(|| "X-Rodent".to_owned()), kind_key }
}

/// The free form; none where something of it is missing or refused.
fn free_form(table: &mut Table, is_free: bool, fields: &Fields, names: Names) -> Option<FreeForm> {
    let method = table.one_of("method", "POST", &free::METHODS, "of `free`: the method");
    let expects = "a type such as text/plain; charset=utf-8";
    let about = "of `free`: the type of the body, by which what is put into it is escaped [default: application/json]";
    let content_type = table.parsed("content_type", expects, about, |text| {
        let is_type = HeaderValue::from_str(text).is_ok() && text.contains('/');
        if is_type { Ok(text.to_owned()) } else { Err(format!("expected {expects}")) }
    });
    let content_type = content_type.unwrap_or_else(|| JSON.to_owned());
    let about = "of `free`: the body, with `{field}` for what an event says; of it only the length is shown";
    let body =
        table.displayed("body", "a text with `{field}` in it", about, |text| free::body(text, &content_type, names));
    // In those of other formats a brace is a brace.
    let headers = if is_free { headers(table, |value| free::header(value, names)) } else { Vec::new() };
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    Some(FreeForm { method, content_type, body: body?, headers, fields: fields.clone() })
}

fn fixed_headers(table: &mut Table) -> Vec<(HeaderName, HeaderValue)> {
    headers(table, |value| HeaderValue::try_from(value).map_err(|_| "expected a value in one line".to_owned()))
}

/// Files of what stands in the places of the free form that ask for a secret.
fn secrets(table: &mut Table) -> Vec<(String, PathBuf)> {
    let about = "of `free`: files of one word each, put where `{secret.NAME}` stands: `{token: /etc/rodent/token}`";
    let named = table.values("secrets", about);
    let mut secrets = Vec::new();
    for (name, path) in &named {
        let path = path.as_str().filter(|path| path.starts_with('/'));
        match path.filter(|_| crate::words::is_name(name, NAME_CHARACTERS_MAX)) {
            Some(path) => secrets.push((name.clone(), PathBuf::from(path))),
            None => table.fault(
                "secrets",
                format!("`{name}`: expected a name of a to z, 0 to 9, `-` and `_`, and a path that begins with `/`"),
            ),
        }
    }
    if named.len() > LIST_MAX {
        table.fault("secrets", format!("at most {LIST_MAX} are taken"));
    }
    secrets
}

fn headers<T>(table: &mut Table, parse: impl Fn(&str) -> Result<T, String>) -> Vec<(HeaderName, T)> {
    let headers = pairs(table, "headers", "further headers, `NAME: VALUE`; of `free` with `{field}`, too", parse);
    for (name, _) in &headers {
        if SECRET_HEADERS.contains(&name.as_str()) {
            let instead = "`bearer_file`, `basic_file` or `header_files`";
            table.fault("headers", format!("{name} is secret, and a secret stands in a file: use {instead}"));
        }
    }
    headers
}

/// Where what it proves the node with stands.
fn places(table: &mut Table, format: &str) -> Places {
    let secret_files = table.strings("secret_file", &[], "files of keys that sign (`whsec_…`; of `signed` any word; of `pagerduty` the key that it takes): one, or two in a change");
    if secret_files.len() > SECRETS_MAX {
        table.fault("secret_file", format!("at most {SECRETS_MAX} keys are valid at once"));
    }
    if secret_files.iter().any(|path| !path.starts_with('/')) {
        table.fault("secret_file", "expected paths that begin with `/`".to_owned());
    }
    if secret_files.is_empty() && format == PAGERDUTY {
        table.fault("secret_file", "missing; expected a file with the integration key of PagerDuty".to_owned());
    }
    let headers =
        pairs(table, "header_files", "headers that are secret, `NAME: FILE`", |path| match path.starts_with('/') {
            true => Ok(PathBuf::from(path)),
            false => Err("expected a path that begins with `/`".to_owned()),
        });
    let bearer = table.secret_path_or("bearer_file", None, "a file with what is sent as bearer token");
    let basic = table.secret_path_or("basic_file", None, "a file with user and password, `USER:PASSWORD`");
    if bearer.is_some() && basic.is_some() {
        table.fault("basic_file", "the header that `bearer_file` sends is the same; keep one of them".to_owned());
    }
    let authority =
        table.optional_path("ca_file", "PEM of the receiver's authority, where the system does not know it");
    let certificate = table.optional_path("cert_file", "PEM of the certificate that proves this node; with `key_file`");
    let key = table.optional_path("key_file", "PEM of its key");
    for (own, is_there, other) in
        [("cert_file", key.is_some(), "key_file"), ("key_file", certificate.is_some(), "cert_file")]
    {
        if table.has(own) && !is_there {
            table.fault(own, format!("needs `{other}` beside it"));
        }
    }
    Places {
        keys: secret_files.into_iter().map(PathBuf::from).collect(),
        has_plain_keys: [SIGNED, PAGERDUTY].contains(&format),
        bearer,
        basic,
        headers,
        words: Vec::new(),
        authority,
        identity: certificate.zip(key).map(|(certificate, key)| [certificate, key]),
    }
}

/// The proxy on the way, where one is set.
pub(super) fn proxy(table: &mut Table, target: Option<&Target>, is_insecure: bool) -> Option<Proxy> {
    let expects = "a URL, such as http://proxy.lan:3128";
    let about = "a proxy on the way, `http://USER:PASSWORD@HOST:PORT`; shown without user and password";
    let proxy = table.displayed("http_proxy", expects, about, Proxy::parse);
    let is_open = target.is_some_and(|target| !target.is_encrypted && !target.is_written_near());
    if proxy.is_some() && is_open && !is_insecure {
        let why = "plain http by way of a proxy, which may lead beyond private networks, where anybody may read along; use \
                   https, or set `insecure: true`";
        table.fault("url", why.to_owned());
    }
    proxy
}

/// How states are told of; none where events are.
fn rules(table: &mut Table, format: &str) -> Option<Rules> {
    let is_mirror = format == ALERTMANAGER;
    let tells = table.one_of("tell", "events", &["events", "changes"], "each event, or what is wrong and well again");
    let quiet = table.parsed("quiet", Quiet::EXPECTS, "when nothing is told, in the machine's own time", Quiet::parse);
    let is_critical_quiet =
        table.boolean("quiet_critical", false, "whether quiet hours hold for what is critical, too");
    let repeat =
        table.duration_or_off("repeat", None, REPEAT_BOUNDS, "after how long what is still wrong is told again");
    let digest_after = table.integer("digest_after", 10, 1..=1000, "more messages in a minute become one");
    let about = "when it is said that all is well, or what is not, in the machine's own time";
    let weekly = table.parsed("weekly", Weekly::EXPECTS, about, Weekly::parse);
    if weekly.is_some() && matches!(format, ALERTMANAGER | PAGERDUTY) {
        table.fault("weekly", "is for people; what takes alarms makes one of it".to_owned());
    }
    if tells == "events" {
        for key in OF_STATES {
            if table.has(key) {
                table.fault(key, "is of use with `tell: changes` only".to_owned());
            }
        }
        if is_mirror {
            table.fault("format", "Alertmanager keeps states and no events: set `tell: changes`".to_owned());
        }
        return None;
    }
    if is_mirror {
        return Some(Rules { repeat: Some(ALERT_INTERVAL), is_mirror, ..Rules::default() });
    }
    let digest_after = usize::try_from(digest_after).unwrap_or(usize::MAX);
    Some(Rules { quiet, is_critical_quiet, repeat, digest_after, weekly, is_mirror: false })
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
            if OWN_HEADERS.contains(&name.as_str()) {
                let instead = if name == "content-type" { "; with `format: free` it is `content_type`" } else { "" };
                return Err(format!("every request has {name} already{instead}"));
            }
            Ok((name, parse(value.trim())?))
        });
        match pair {
            Ok(pair) => pairs.push(pair),
            Err(error) => table.fault(key, error),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Document;

    fn read(lines: &str) -> Settings {
        let document = Document::parse("f", &format!("url: https://example.com/\n{lines}"));
        Settings::read(&mut document.root()).expect("nothing is wrong with it")
    }

    #[test]
    fn who_keeps_alerts_is_told_of_them_within_the_time_that_they_believe_them() {
        let rules = read("format: alertmanager\ntell: changes").rules.expect("of states");
        assert_eq!((rules.repeat, rules.is_mirror), (Some(Duration::from_secs(60)), true));
        let rules = read("format: ntfy\ntell: changes").rules.expect("of states");
        assert_eq!((rules.repeat, rules.is_mirror), (None, false));
    }

    #[test]
    fn without_a_word_of_it_nothing_is_put_aside_but_what_is_refused() {
        assert_eq!(read("").refusals_max, None);
        assert_eq!(read("refusals_max: 0").refusals_max, None);
        assert_eq!(read("refusals_max: 5").refusals_max, Some(5));
    }
}
