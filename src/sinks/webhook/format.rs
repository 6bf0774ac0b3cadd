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
            Format::Slack => json!({"text": of_slack(&cut(&said.chat(host), SLACK_CHARACTERS_MAX))}).to_string(),
            Format::Discord => {
                let content = cut(&said.chat(host), DISCORD_CHARACTERS_MAX);
                // Nobody is mentioned, whatever stands in it.
                json!({"content": content, "allowed_mentions": {"parse": []}}).to_string()
            }
            Format::Mattermost => {
                let text = of_mattermost(&said.chat(host));
                json!({"text": cut(&text, MATTERMOST_CHARACTERS_MAX)}).to_string()
            }
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

    fn chat(&self, host: &str) -> String {
        let title = if self.state.is_empty() { String::new() } else { format!("{}\n", self.title) };
        let title = if self.kind == self.title { String::new() } else { title };
        format!("{host}: {title}{}", self.text)
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

/// As Slack has text that is nothing but text: `<!channel>` in it would call everybody.
fn of_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// With nothing behind an `@` that Mattermost takes for somebody's name: it knows no way to escape one.
fn of_mattermost(text: &str) -> String {
    text.replace('@', "@\u{200b}")
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
mod tests;
