//! Subscriptions: which events go to whom, written by event and not by receiver. Another way to write what sinks are set to:
//! each is put into the settings of the sinks that it names before those are read, so that there is one way that events go,
//! and one place that judges them.
//!
//! Given the root of the configuration; gives which events the programs get that are named. Always holds: a sink's filter is
//! written at the sink or by subscriptions, never at both, for it would not be clear whether either suffices or both must hold.

use ring::digest::{SHA256, digest};

use super::sinks::is_name;
use crate::{
    consumers::programs,
    event::Filter,
    settings::{Lowered, Table, ValuePlace},
    sinks::TIMEOUT_BOUNDS,
    words::{self, exact_duration},
};

/// The most subscriptions, and receivers of each.
const SUBSCRIPTIONS_MAX: usize = 64;
const RECEIVERS_MAX: usize = 32;

/// What the part is about.
const ABOUT: &str = "which events go to whom; another way to write the filters of sinks";

/// What stands before the name of a program's consumer.
const CONSUMER: &str = "consumer:";

/// What stands before the digest in the name of a sink that is made of a URL.
const OF_URL: &str = "url-";

/// The word for pauses that grow.
const EXPONENTIAL: &str = "exponential";

/// Who gets events.
enum Receiver {
    /// The name of a sink.
    Sink(String),
    /// A sink that stands nowhere else: its name, and its URL.
    Url(String, String),
    /// The name of a program's consumer.
    Consumer(String),
}

/// What of the settings of a sink a subscription says.
struct Terms {
    /// Key of the subscription, key of the sink, its value and where it stands.
    keys: Vec<(&'static str, &'static str, Lowered, ValuePlace)>,
}

/// What one sink or program gets, of all subscriptions.
struct Wanted {
    name: String,
    is_program: bool,
    /// Each suffices.
    alternatives: Vec<String>,
    /// Where the first stands.
    place: ValuePlace,
}

/// Reads the part `subscriptions` of the root, and puts it into the part `sinks`, which is read after it. Gives of each program
/// that is named what its consumer gets.
pub(super) fn read(root: &mut Table) -> Vec<(String, Filter)> {
    let sinks = root.names("sinks");
    let mut all: Vec<Wanted> = Vec::new();
    for mut part in root.parts("subscriptions", ABOUT, SUBSCRIPTIONS_MAX) {
        let on = conditions(&mut part);
        let terms = Terms::read(&mut part);
        let receivers = receivers(&mut part, &sinks);
        if !receivers.is_empty() && receivers.iter().all(|receiver| matches!(receiver, Receiver::Consumer(_))) {
            terms.refuse_of_programs(&mut part);
        }
        let Some(place) = part.place("on") else { continue };
        for receiver in receivers {
            let (name, is_program) = match &receiver {
                Receiver::Consumer(name) => (name, true),
                Receiver::Sink(name) | Receiver::Url(name, _) => (name, false),
            };
            if let Receiver::Url(name, url) = &receiver {
                let given = [("type", "webhook"), ("url", url.as_str())];
                // Err: another one of the same digest, which nobody makes.
                given.iter().for_each(|(key, value)| _ = root.lower(&["sinks", name, key], &text(value), place));
            }
            if !is_program {
                terms.lower(root, &mut part, name);
            }
            let Some(on) = &on else { continue };
            match all.iter_mut().find(|its| its.name == *name && its.is_program == is_program) {
                Some(its) => its.alternatives.push(on.clone()),
                None => {
                    all.push(Wanted { name: name.clone(), is_program, alternatives: vec![on.clone()], place });
                    refuse_second_filter(root, &mut part, name, place);
                }
            }
        }
    }
    all.iter().filter_map(|wanted| wanted.lower(root)).collect()
}

/// One that is written at the sink, where it is one.
fn refuse_second_filter(root: &Table, part: &mut Table, name: &str, place: ValuePlace) {
    if let Some(line) = root.written_at(&["sinks", name, "filter"], place) {
        part.fault(
            "to",
            format!("`{name}` has a `filter` of its own ({line}); write there what it gets, or here and not there"),
        );
    }
}

impl Wanted {
    /// Puts it into the settings of the sink, or gives it where it is a program's.
    fn lower(&self, root: &mut Table) -> Option<(String, Filter)> {
        let text = self.alternatives.join(" or ");
        match self.is_program {
            true => Filter::parse(&[text]).ok().map(|filter| (self.name.clone(), filter)),
            false => {
                // Err: said of the subscription already.
                let _ = root.lower(&["sinks", &self.name, "filter"], &Lowered::Texts(vec![text]), self.place);
                None
            }
        }
    }
}

/// Which events, as a filter in one text.
fn conditions(part: &mut Table) -> Option<String> {
    let texts =
        part.texts("on", "which events: kinds, or conditions as `rodent events` takes them; one of a list suffices");
    if texts.iter().all(|text| text.trim().is_empty()) {
        let expected = "missing; expected kinds of events, such as \"storage.pool.*\", or `*` for all";
        part.fault("on", expected.to_owned());
        return None;
    }
    for text in &texts {
        if let Err(error) = Filter::parse(&[text]) {
            part.fault("on", error.to_string());
            return None;
        }
    }
    Some(texts.join(" or "))
}

/// Who gets them, each once.
fn receivers(part: &mut Table, sinks: &[String]) -> Vec<Receiver> {
    let about = "who gets them: sinks by name, URLs, and `consumer:NAME` of programs";
    let show = |text: &str| if is_url(text) { name_of_url(text) } else { text.to_owned() };
    let mut names = part.texts_shown("to", about, show);
    if names.is_empty() {
        part.fault("to", "missing; expected names of sinks, such as [phone]".to_owned());
    }
    if names.len() > RECEIVERS_MAX {
        part.fault("to", format!("at most {RECEIVERS_MAX} receivers are taken"));
    }
    names.truncate(RECEIVERS_MAX);
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let mut receivers = Vec::new();
    for name in names {
        match receiver(&name, sinks) {
            Ok(receiver) => receivers.push(receiver),
            Err(message) => part.fault("to", message),
        }
    }
    receivers
}

fn receiver(name: &str, sinks: &[String]) -> Result<Receiver, String> {
    if is_url(name) {
        return Ok(Receiver::Url(name_of_url(name), name.to_owned()));
    }
    if let Some(consumer) = name.strip_prefix(CONSUMER) {
        return match programs::cursor_name(consumer).is_ok() {
            true => Ok(Receiver::Consumer(consumer.to_owned())),
            false => {
                Err(format!("`{CONSUMER}` is followed by what a program calls its consumer, such as {CONSUMER}backup"))
            }
        };
    }
    if sinks.iter().any(|its| its == name) && is_name(name).is_ok() {
        return Ok(Receiver::Sink(name.to_owned()));
    }
    let near = words::did_you_mean(words::nearest(name, sinks.iter().map(String::as_str)));
    let name = crate::visible::visible(name);
    Err(format!("no sink is called `{name}`{near}"))
}

fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// The same as long as the URL is, and nothing of it: its path may be a password.
fn name_of_url(url: &str) -> String {
    let whole = digest(&SHA256, url.as_bytes());
    let digits = whole.as_ref().get(..4).unwrap_or_default();
    format!("{OF_URL}{}", crate::words::hexadecimal(digits))
}

fn text(text: &str) -> Lowered {
    Lowered::Text(text.to_owned())
}

impl Terms {
    fn read(part: &mut Table) -> Terms {
        let mut keys = Vec::new();
        let timeout = part.optional_duration("timeout", TIMEOUT_BOUNDS, "how long an answer may take, as at the sink");
        if let Some((timeout, place)) = timeout.zip(part.place("timeout")) {
            keys.push(("timeout", "timeout", Lowered::Text(exact_duration(timeout)), place));
        }
        let mut retry = part.table("retry", "how often, and when, what was not taken is tried again");
        let about = "after how many refusals an event is put aside: `refusals_max` of the sink; 0: as the sink says";
        let attempts = retry.integer("attempts", 0, 0..=100, about);
        if let Some(place) = retry.place("attempts").filter(|_| attempts > 0) {
            keys.push(("retry", "refusals_max", Lowered::Text(attempts.to_string()), place));
        }
        let about = "`exponential`, one pause, or the pauses one by one: `schedule` of the sink";
        let backoff = retry.texts("backoff", about);
        if let Some(place) = retry.place("backoff").filter(|_| !backoff.is_empty() && backoff != [EXPONENTIAL]) {
            match backoff.iter().all(|pause| humantime::parse_duration(pause).is_ok()) {
                true => keys.push(("retry", "schedule", Lowered::Texts(backoff), place)),
                false => {
                    let expected = "expected `exponential`, a time such as 5s, or times such as [1m, 5m, 15m]";
                    retry.fault("backoff", expected.to_owned());
                }
            }
        }
        Terms { keys }
    }

    /// Puts them into the settings of a sink.
    fn lower(&self, root: &mut Table, part: &mut Table, name: &str) {
        for (own, key, value, place) in &self.keys {
            if let Err(line) = root.lower(&["sinks", name, key], value, *place) {
                part.fault(own, format!("`{name}` has another `{key}` already ({line}); keep one of them"));
            }
        }
    }

    fn refuse_of_programs(&self, part: &mut Table) {
        for (own, ..) in &self.keys {
            part.fault(own, "is nothing for a program, which takes events at its own pace".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::agent::config::{Config, Loaded};

    const SINKS: &str = "sinks:\n  phone: {type: webhook, url: 'http://ntfy.lan/nas', format: ntfy}\n  ops: {type: webhook, url: 'http://ops.lan/'}\n";

    fn loaded(subscriptions: &str) -> Loaded {
        Config::parse("f", &format!("{SINKS}{subscriptions}")).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn refused(subscriptions: &str) -> String {
        Config::parse("f", &format!("{SINKS}{subscriptions}")).expect_err("refused").to_string()
    }

    fn shown(loaded: &Loaded, key: &str) -> String {
        let record = loaded.records.get(key).unwrap_or_else(|| panic!("{key}"));
        format!("{} ({})", record.text(), record.origin)
    }

    #[test]
    fn a_subscription_is_the_filter_of_the_sinks_that_it_names_and_several_suffice_each() {
        let loaded = loaded(
            "subscriptions:\n  - on: storage.pool.*\n    to: [phone, ops]\n    timeout: 5s\n    \
             retry: {attempts: 4, backoff: [1m, 5m]}\n  - on: [\"*.created\", level>=error]\n    to: ops\n",
        );
        assert_eq!(shown(&loaded, "sinks.phone.filter"), "[storage.pool.*] (f:5)");
        assert_eq!(shown(&loaded, "sinks.ops.filter"), "[storage.pool.* or *.created or level>=error] (f:5)");
        assert_eq!(shown(&loaded, "sinks.phone.timeout"), "5s (f:7)");
        assert_eq!(shown(&loaded, "sinks.ops.refusals_max"), "4 (f:8)");
        assert_eq!(shown(&loaded, "sinks.ops.schedule"), "[1m, 5m] (f:8)");
        assert_eq!(shown(&loaded, "subscriptions[1].to"), "[ops] (f:10)");
        assert_eq!(loaded.config.sinks.len(), 2);
        assert!(loaded.config.sinks.iter().all(|sink| sink.build().is_some()));
    }

    #[test]
    fn a_receiver_that_is_named_twice_is_one_and_what_says_nothing_sets_nothing() {
        let loaded =
            loaded("subscriptions: [{on: storage, to: [phone, phone], retry: {attempts: 0, backoff: exponential}}]");
        assert_eq!(shown(&loaded, "sinks.phone.filter"), "[storage] (f:4)");
        assert_eq!(shown(&loaded, "sinks.phone.refusals_max"), "0 (default)");
        assert_eq!(shown(&loaded, "sinks.phone.schedule"), "[] (default)");
    }

    #[test]
    fn a_url_is_a_sink_of_its_own_that_is_called_alike_at_each_start_and_shows_no_path() {
        let url = "https://hooks.example.com/T0/secret";
        let loaded =
            loaded(&format!("subscriptions: [{{on: storage, to: [{url}, phone]}}, {{on: system, to: '{url}'}}]"));
        let name = super::name_of_url(url);
        let names: Vec<_> = loaded.config.sinks.iter().map(|sink| sink.name.as_str()).collect();
        assert_eq!(names, ["phone", "ops", &name]);
        assert_eq!(shown(&loaded, &format!("sinks.{name}.url")), "https://hooks.example.com (f:4)");
        assert_eq!(shown(&loaded, &format!("sinks.{name}.filter")), "[storage or system] (f:4)");
        assert!(loaded.records.iter().all(|record| !record.text().contains("secret")), "{:?}", loaded.records);
        let wrong = refused("subscriptions: [{on: storage, to: 'https://me:secret@example.com/'}]");
        assert!(wrong.contains("f:4:") && !wrong.contains("secret"), "{wrong}");
    }

    #[test]
    fn a_program_is_given_what_is_subscribed_for_its_consumer() {
        let loaded =
            loaded("subscriptions: [{on: storage, to: 'consumer:backup'}, {on: system, to: ['consumer:backup']}]");
        let filter = loaded.config.consumers.scopes.of_consumer("backup").expect("subscribed");
        assert!(filter.takes_kind("system.user.created") && !filter.takes_kind("network.interface.up"));
        assert!(loaded.config.consumers.scopes.of_consumer("other").is_none());
        let wrong = refused("subscriptions: [{on: storage, to: 'consumer:backup', timeout: 5s}]");
        assert!(wrong.contains("subscriptions[0].timeout: 5s: is nothing for a program"), "{wrong}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_what_would_be_right() {
        let many = format!("[{{on: storage, to: [{}]}}]", vec!["phone"; 33].join(", "));
        for (subscriptions, says) in [
            (
                "[{on: storage, to: [phnoe]}]",
                "f:4:35: subscriptions[0].to: a list: no sink is called `phnoe`; did you mean \"phone\"?",
            ),
            ("[{on: storage.pol.*, to: phone}]", "f:4:22: subscriptions[0].on: storage.pol.*: no kind is called"),
            ("[{on: storage.pol.*, to: phone}]", "storage.pool.*"),
            ("[{to: phone}]", "subscriptions[0].on: missing; expected kinds of events"),
            ("[{on: storage}]", "subscriptions[0].to: missing; expected names of sinks"),
            ("[{on: storage, too: phone}]", "subscriptions[0].too: unknown key; did you mean `to`?"),
            ("[{on: storage, to: phone, timeout: 5m}]", "subscriptions[0].timeout: 5m: out of bounds"),
            (
                "[{on: storage, to: phone, retry: {backoff: often}}]",
                "subscriptions[0].retry.backoff: often: expected `exponential`",
            ),
            ("[{on: storage, to: 'consumer:'}]", "`consumer:` is followed by what a program calls its consumer"),
            ("[phone]", "f:4:17: subscriptions[0]: phone: expected a list of parts"),
            (many.as_str(), "subscriptions[0].to: a list: at most 32 receivers are taken"),
            ("phone", "subscriptions: phone: expected a list of parts"),
            (
                "[{on: storage, to: phone, timeout: 5s}, {on: system, to: phone, timeout: 6s}]",
                "subscriptions[1].timeout: 6s: `phone` has another `timeout` already (line 4)",
            ),
        ] {
            let faults = refused(&format!("subscriptions: {subscriptions}"));
            assert!(faults.contains(says), "{subscriptions}\n{faults}\n{says}");
        }
        let both = Config::parse(
            "f",
            "sinks: {phone: {type: webhook, url: 'http://n.lan', filter: [storage]}}\nsubscriptions: [{on: system, to: phone}]",
        );
        let both = both.expect_err("refused").to_string();
        assert!(both.contains("f:2:") && both.contains("`phone` has a `filter` of its own (line 1)"), "{both}");
        assert_eq!(both.lines().count(), 1, "{both}");
    }

    #[test]
    fn a_sink_that_is_told_of_changes_takes_subscriptions_to_kinds_and_levels() {
        let sinks = "sinks: {phone: {type: webhook, url: 'http://n.lan', tell: changes}}";
        let with = |on: &str| Config::parse("f", &format!("{sinks}\nsubscriptions: [{{on: '{on}', to: phone}}]"));
        with("storage.pool.* level>=error").expect("taken");
        let refused = with("storage.pool.* pool_name=tank").expect_err("refused").to_string();
        assert!(refused.contains("f:2:") && refused.contains("a state is no event"), "{refused}");
    }
}
