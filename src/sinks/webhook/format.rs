//! How an event, or a notice of how things are, looks to whom it is sent: the formats that receivers know, each a body and its
//! headers. Pure.
//!
//! Limits of length are the receivers' own, from their documentation or source: PagerDuty Events v2, ntfy's server, Slack's and
//! Discord's incoming webhooks, Mattermost's posts. What is longer is cut, and the cut is marked.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    free::{FreeForm, Saying},
    said::{CUT, Said, cut, digest_of, without_empty},
};
use crate::{
    event::{Level, TRACEPARENT},
    settings::Secret,
    sinks::NodeName,
    words::time_utc,
};

/// A way to put what is to be said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Format {
    /// Standard Webhooks 1.0.0: `type`, `timestamp`, `data`.
    Standard,
    /// CloudEvents 1.0 in structured mode.
    CloudEvents,
    /// CloudEvents 1.0 in binary mode.
    CloudEventsBinary,
    /// CloudEvents 1.0 in batches.
    CloudEventsBatch,
    /// A plain object, signed as a whole in a header of the form `sha256=HEX`.
    Signed(Signed),
    /// A message of ntfy, to a topic's own URL.
    Ntfy,
    /// A message of Gotify.
    Gotify,
    /// What Slack's incoming webhooks take.
    Slack,
    /// What Discord's webhooks take.
    Discord,
    /// What Mattermost's incoming webhooks take.
    Mattermost,
    /// PagerDuty's Events API v2.
    PagerDuty,
    /// Alertmanager's API v2: all that is wrong, again and again.
    Alertmanager,
    /// As the configuration has it.
    Free(Arc<FreeForm>),
}

/// What of the signed form differs from receiver to receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// What the names of its headers begin with: `X-Rodent`.
    pub(super) prefix: String,
    /// The key that the kind stands under.
    pub(super) kind_key: &'static str,
}

/// What is said, ready to be sent but for what is of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// The same however often it is sent.
    pub(super) id: String,
    pub(super) content_type: Cow<'static, str>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

/// ntfy makes an attachment of more, bytes.
const NTFY_BYTES_MAX: usize = 4096;
/// ntfy refuses a longer title.
const NTFY_TITLE_CHARACTERS_MAX: usize = 250;
/// Slack cuts a longer text.
const SLACK_CHARACTERS_MAX: usize = 4000;
/// Discord refuses a longer one.
const DISCORD_CHARACTERS_MAX: usize = 2000;
/// Mattermost refuses a longer one.
const MATTERMOST_CHARACTERS_MAX: usize = 16_383;
/// PagerDuty refuses a longer summary.
const PAGERDUTY_SUMMARY_CHARACTERS_MAX: usize = 1024;
/// So long Alertmanager believes what it was told last; it is told again several times within it. Milliseconds.
const ALERT_LASTS: i64 = 4 * 60 * 1000;
/// What those are called of which more is set than the name.
pub(super) const SIGNED: &str = "signed";
pub(super) const PAGERDUTY: &str = "pagerduty";
pub(super) const ALERTMANAGER: &str = "alertmanager";
pub(super) const FREE: &str = "free";

/// The type of what most receivers take.
pub(super) const JSON: &str = "application/json";

impl Format {
    pub(super) const NAMES: [&'static str; 13] = [
        "standard",
        "cloudevents",
        "cloudevents-binary",
        "cloudevents-batch",
        SIGNED,
        "ntfy",
        "gotify",
        "slack",
        "discord",
        "mattermost",
        PAGERDUTY,
        ALERTMANAGER,
        FREE,
    ];

    /// `signed` counts only for the format of that name; the free form is made of more than a name.
    pub(super) fn named(name: &str, signed: Signed) -> Format {
        match name {
            "cloudevents" => Format::CloudEvents,
            "cloudevents-binary" => Format::CloudEventsBinary,
            "cloudevents-batch" => Format::CloudEventsBatch,
            SIGNED => Format::Signed(signed),
            "ntfy" => Format::Ntfy,
            "gotify" => Format::Gotify,
            "slack" => Format::Slack,
            "discord" => Format::Discord,
            "mattermost" => Format::Mattermost,
            PAGERDUTY => Format::PagerDuty,
            ALERTMANAGER => Format::Alertmanager,
            _ => Format::Standard,
        }
    }

    /// Whether it only knows how things are, and wants to hear it again and again.
    pub(super) fn is_of_states(&self) -> bool {
        *self == Format::Alertmanager
    }

    /// How it is sent.
    pub(super) fn method(&self) -> Method {
        match self {
            Format::Free(form) => form.method.clone(),
            _ => Method::POST,
        }
    }

    /// Whether a format of this name says things field by field, so that some may be left out, renamed and added.
    pub(super) fn has_fields(name: &str) -> bool {
        name.starts_with("cloudevents") || ["standard", SIGNED, PAGERDUTY, FREE].contains(&name)
    }

    /// Whether several things are said in one letter.
    pub(super) fn is_of_several(&self) -> bool {
        matches!(self, Format::CloudEventsBatch | Format::Alertmanager)
    }

    /// What this node says, at this time (Unix milliseconds), in as few letters as the receiver takes. Of `secrets` there is in
    /// them what the free form asks for.
    pub(super) fn letters(
        &self,
        said: &[Said],
        node: &NodeName,
        secrets: &[(String, Secret)],
        now: i64,
    ) -> Vec<Letter> {
        if said.is_empty() || !self.is_of_several() {
            return said.iter().map(|said| self.letter(Saying { said, node, secrets })).collect();
        }
        let (content_type, values): (_, Vec<_>) = match self {
            Format::Alertmanager => (JSON, said.iter().map(|said| said.alert(node, now)).collect()),
            _ => ("application/cloudevents-batch+json", said.iter().map(|said| said.cloud_event(&node.id)).collect()),
        };
        let ids: Vec<_> = said.iter().map(|said| said.id.as_str()).collect();
        let id = digest_of(ids.join("\0").as_bytes());
        let body = Value::Array(values).to_string();
        vec![Letter { id, content_type: content_type.into(), headers: Vec::new(), body }]
    }

    fn letter(&self, saying: Saying) -> Letter {
        let (Saying { said, node, .. }, host) = (saying, &saying.node.host);
        let (mut headers, mut content_type) = (Vec::new(), Cow::Borrowed(JSON));
        let mut header = |name: &str, value: String| headers.push((name.to_owned(), value));
        let time = time_utc(said.time);
        if let Some(trace) = &said.trace {
            header(TRACEPARENT, trace.clone());
        }
        let body = match self {
            Format::CloudEvents => {
                content_type = "application/cloudevents+json".into();
                said.cloud_event(&node.id).to_string()
            }
            Format::CloudEventsBinary => {
                header("ce-specversion", "1.0".to_owned());
                header("ce-id", said.id.clone());
                header("ce-source", escaped(&source(&node.id)));
                header("ce-type", escaped(&said.kind));
                header("ce-time", time);
                if !said.subject.is_empty() {
                    header("ce-subject", escaped(&said.subject));
                }
                if let Some(trace) = &said.trace {
                    header("ce-traceparent", trace.clone());
                }
                said.data.to_string()
            }
            Format::Signed(Signed { prefix, kind_key }) => {
                header(&format!("{prefix}-Event"), escaped(&said.kind));
                header(&format!("{prefix}-Delivery"), said.id.clone());
                json!({*kind_key: said.kind, "timestamp": time, "data": said.data}).to_string()
            }
            Format::Ntfy => {
                content_type = "text/plain; charset=utf-8".into();
                header("title", encoded(&cut(&format!("{host}: {}", said.title), NTFY_TITLE_CHARACTERS_MAX)));
                header("priority", priority(said).to_string());
                header("tags", tag(said).to_owned());
                cut_bytes(&said.text, NTFY_BYTES_MAX)
            }
            Format::Gotify => {
                let title = format!("{host}: {}", said.title);
                json!({"title": title, "message": said.text, "priority": priority(said) * 2}).to_string()
            }
            Format::Slack => json!({"text": said.chat(host, SLACK_CHARACTERS_MAX)}).to_string(),
            Format::Discord => json!({"content": said.chat(host, DISCORD_CHARACTERS_MAX)}).to_string(),
            Format::Mattermost => json!({"text": said.chat(host, MATTERMOST_CHARACTERS_MAX)}).to_string(),
            Format::PagerDuty => json!({
                "event_action": if said.is_over { "resolve" } else { "trigger" },
                "dedup_key": said.incident(&node.id),
                "payload": {
                    "summary": cut(&format!("{host}: {}", said.text), PAGERDUTY_SUMMARY_CHARACTERS_MAX),
                    "source": **host,
                    "severity": severity(said.level),
                    "timestamp": time,
                    "component": said.subject,
                    "class": said.kind,
                    "custom_details": said.data,
                },
            })
            .to_string(),
            Format::Free(form) => {
                content_type = form.content_type.clone().into();
                headers = form.headers(saying);
                form.body(saying)
            }
            // The others are of several.
            _ => json!({"type": said.kind, "timestamp": time, "data": said.data}).to_string(),
        };
        Letter { id: said.id.clone(), content_type, headers, body }
    }
}

impl Said {
    fn cloud_event(&self, node: &str) -> Value {
        without_empty(json!({
            "specversion": "1.0",
            "id": self.id,
            "source": source(node),
            "type": self.kind,
            "time": time_utc(self.time),
            "subject": self.subject,
            "datacontenttype": JSON,
            "traceparent": self.trace.as_deref().unwrap_or_default(),
            "data": self.data,
        }))
    }

    fn alert(&self, node: &NodeName, now: i64) -> Value {
        let ends_at = if self.is_over { now } else { now.saturating_add(ALERT_LASTS) };
        json!({
            "labels": without_empty(json!({
                "alertname": if self.state.is_empty() { &self.kind } else { &self.state }, "instance": *node.id, "host": *node.host, "subject": self.subject, "severity": severity(self.level),
            })),
            "annotations": {"summary": self.title, "description": self.text},
            "startsAt": time_utc(self.time),
            "endsAt": time_utc(ends_at),
        })
    }

    fn chat(&self, host: &str, characters_max: usize) -> String {
        let title = if self.state.is_empty() { String::new() } else { format!("{}\n", self.title) };
        let title = if self.kind == self.title { String::new() } else { title };
        cut(&format!("{host}: {title}{}", self.text), characters_max)
    }

    /// The same for what begins and for what ends: of a thing's state on a node.
    fn incident(&self, node: &str) -> String {
        match self.state.is_empty() {
            true => self.id.clone(),
            false => digest_of(format!("{node}\0{}\0{}", self.subject, self.state).as_bytes()),
        }
    }
}

fn source(node: &str) -> String {
    format!("/rodent/{node}")
}

/// From 1 to 5, as ntfy has them.
fn priority(said: &Said) -> u8 {
    match said.level {
        _ if said.is_over => 3,
        Level::Critical => 5,
        Level::Error => 4,
        Level::Debug | Level::Trace => 1,
        _ => 3,
    }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::Error => "error",
        Level::Warn => "warning",
        _ => "info",
    }
}

fn tag(said: &Said) -> &'static str {
    match said.level {
        _ if said.is_over => "white_check_mark",
        Level::Critical | Level::Error => "rotating_light",
        Level::Warn => "warning",
        _ => "information_source",
    }
}

/// As it may stand in a header: as it is, or as RFC 2047 encodes what is beyond ASCII.
fn encoded(text: &str) -> String {
    match text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        true => text.to_owned(),
        false => format!("=?UTF-8?B?{}?=", STANDARD.encode(text)),
    }
}

/// As CloudEvents has values of headers: per cent, what is beyond ASCII, blanks and double quotes as `%XX`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_graphic() && byte != b'"' && byte != b'%' {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn cut_bytes(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max - CUT.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{CUT}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(level: Level, is_over: bool) -> Said {
        Said {
            id: "e1".to_owned(),
            kind: "state.problem".to_owned(),
            subject: "tank".to_owned(),
            state: "pool health".to_owned(),
            title: "tank: pool health".to_owned(),
            level,
            is_over,
            ..Said::test(&NodeName::of_tests(), 0)
        }
    }

    fn letter(format: &Format, said: Said) -> Letter {
        format.letters(&[said], &NodeName::of_tests(), &[], 0).remove(0)
    }

    fn json_of(format: &Format, said: Said) -> Value {
        serde_json::from_str(&letter(format, said).body).expect("JSON")
    }

    fn header(letter: &Letter, name: &str) -> String {
        let found = letter.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("{name} in {letter:?}"))
    }

    #[test]
    fn what_is_longer_than_a_receiver_takes_is_cut_and_marked() {
        let long = || Said { text: "é".repeat(20_000), title: "t".repeat(20_000), ..said(Level::Error, false) };
        let of_ntfy = letter(&Format::Ntfy, long());
        assert!((4090..=4096).contains(&of_ntfy.body.len()) && of_ntfy.body.ends_with(CUT), "{}", of_ntfy.body.len());
        let title = header(&of_ntfy, "title");
        let title = title.strip_prefix("=?UTF-8?B?").and_then(|title| title.strip_suffix("?=")).expect("as RFC 2047");
        let title = String::from_utf8(STANDARD.decode(title).expect("base64")).expect("text");
        assert!(title.chars().count() == 250 && title.starts_with("attic: t") && title.ends_with(CUT), "{title}");
        for (format, path, most) in [
            (Format::Slack, "/text", 4000),
            (Format::Discord, "/content", 2000),
            (Format::Mattermost, "/text", 16_383),
            (Format::PagerDuty, "/payload/summary", 1024),
        ] {
            let body = json_of(&format, long());
            let text = body.pointer(path).and_then(Value::as_str).expect("a text");
            assert!(text.chars().count() == most && text.ends_with(CUT), "{path}: {}", text.chars().count());
        }
        let short = letter(&Format::Ntfy, said(Level::Error, false));
        assert!(!short.body.contains(CUT) && header(&short, "title") == "attic: tank: pool health", "{short:?}");
    }

    #[test]
    fn a_receiver_is_as_loud_as_it_is_bad_and_quiet_when_it_is_over() {
        for (level, is_over, priority, tag, severity) in [
            (Level::Critical, false, 5, "rotating_light", "critical"),
            (Level::Error, false, 4, "rotating_light", "error"),
            (Level::Warn, false, 3, "warning", "warning"),
            (Level::Info, false, 3, "information_source", "info"),
            (Level::Debug, false, 1, "information_source", "info"),
            (Level::Critical, true, 3, "white_check_mark", "critical"),
        ] {
            let of_ntfy = letter(&Format::Ntfy, said(level, is_over));
            assert_eq!(
                (header(&of_ntfy, "priority"), header(&of_ntfy, "tags")),
                (priority.to_string(), tag.to_owned())
            );
            assert_eq!(json_of(&Format::Gotify, said(level, is_over))["priority"], 2 * priority);
            let alarm = json_of(&Format::PagerDuty, said(level, is_over));
            assert_eq!(alarm["payload"]["severity"], severity);
            assert_eq!(alarm["event_action"], if is_over { "resolve" } else { "trigger" });
        }
    }

    #[test]
    fn a_header_is_ascii_whatever_stands_in_it() {
        let said = Said { kind: "a b".to_owned(), subject: "p\"%é\r\n".to_owned(), ..said(Level::Info, false) };
        let letter = letter(&Format::CloudEventsBinary, said);
        assert_eq!(
            (header(&letter, "ce-type"), header(&letter, "ce-subject")),
            ("a%20b".into(), "p%22%25%C3%A9%0D%0A".into())
        );
    }

    #[test]
    fn the_end_of_an_incident_has_the_key_of_its_beginning() {
        let key = |said: Said, node: &str| {
            let node = NodeName { id: node.into(), ..NodeName::of_tests() };
            let letter = Format::PagerDuty.letters(&[said], &node, &[], 0).remove(0);
            let body: Value = serde_json::from_str(&letter.body).expect("JSON");
            body["dedup_key"].as_str().expect("a key").to_owned()
        };
        let begun = key(said(Level::Error, false), "nas");
        let ended = Said { id: "e2".to_owned(), ..said(Level::Info, true) };
        assert_eq!(key(ended.clone(), "nas"), begun);
        for other in [
            key(ended.clone(), "other"),
            key(Said { subject: "pond".to_owned(), ..ended.clone() }, "nas"),
            key(Said { state: "scrub".to_owned(), ..ended.clone() }, "nas"),
        ] {
            assert_ne!(other, begun);
        }
        assert_eq!(key(Said { state: String::new(), ..ended }, "nas"), "e2", "what has no state is by itself");
    }

    #[test]
    fn several_are_one_letter_that_is_called_alike_when_it_is_sent_again() {
        let all = [said(Level::Error, false), Said { subject: "pond".to_owned(), ..said(Level::Error, true) }];
        for format in [Format::CloudEventsBatch, Format::Alertmanager] {
            let [first] = &format.letters(&all, &NodeName::of_tests(), &[], 1000)[..] else { panic!("one letter") };
            let body: Value = serde_json::from_str(&first.body).expect("JSON");
            assert_eq!(body.as_array().map(Vec::len), Some(2));
            assert_eq!(format.letters(&all, &NodeName::of_tests(), &[], 2000)[0].id, first.id);
            assert_ne!(format.letters(&all[..1], &NodeName::of_tests(), &[], 1000)[0].id, first.id);
            assert_eq!(format.letters(&[], &NodeName::of_tests(), &[], 0), []);
        }
        let alerts: Value =
            serde_json::from_str(&Format::Alertmanager.letters(&all, &NodeName::of_tests(), &[], 60_000)[0].body)
                .expect("JSON");
        assert_eq!(alerts[0]["endsAt"], "1970-01-01T00:05:00Z", "believed for four minutes");
        assert_eq!(alerts[1]["endsAt"], "1970-01-01T00:01:00Z", "over now");
        assert_eq!(
            alerts[0]["labels"],
            json!({"alertname": "pool health", "instance": "nas", "host": "attic", "subject": "tank", "severity": "error"})
        );
    }
}
