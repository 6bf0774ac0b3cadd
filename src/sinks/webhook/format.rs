//! How an event looks to whom it is sent: the formats that receivers know, each a body and its headers. Pure.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::event::{EventView, Level, json};

/// A way to put an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Standard Webhooks 1.0.0: `type`, `timestamp`, `data`.
    Standard,
    /// CloudEvents 1.0 in structured mode.
    CloudEvents,
    /// A message of ntfy, to a topic's own URL.
    Ntfy,
    /// What Slack's incoming webhooks take, and Discord's (`…/slack`) and Mattermost's.
    Slack,
}

/// One event, ready to be sent but for what is of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// The same however often it is sent.
    pub(super) id: String,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

/// ntfy makes an attachment of more, bytes.
const NTFY_BYTES_MAX: usize = 4096;
/// ntfy refuses a longer title.
const NTFY_TITLE_CHARACTERS_MAX: usize = 250;
/// Slack cuts a longer text.
const SLACK_CHARACTERS_MAX: usize = 4000;
/// What an identifier in a header may be as long as, bytes.
const ID_BYTES_MAX: usize = 64;
/// Stands where something was cut.
const CUT: char = '…';

impl Format {
    pub(super) const NAMES: [&'static str; 4] = ["standard", "cloudevents", "ntfy", "slack"];

    pub(super) fn named(name: &str) -> Format {
        match name {
            "cloudevents" => Format::CloudEvents,
            "ntfy" => Format::Ntfy,
            "slack" => Format::Slack,
            _ => Format::Standard,
        }
    }

    /// The event of this node as it is sent.
    pub(super) fn letter(self, event: &EventView, node: &str) -> Letter {
        let id = identifier(event.id());
        let whole = || json::to_value(event, Some(node), None);
        let (content_type, headers, body) = match self {
            Format::Standard => {
                let whole = whole();
                let (kind, time) = (whole["kind"].clone(), whole["time"].clone());
                ("application/json", Vec::new(), json!({"type": kind, "timestamp": time, "data": whole}).to_string())
            }
            Format::CloudEvents => {
                let whole = whole();
                let body = json!({
                    "specversion": "1.0",
                    "id": id,
                    "source": format!("/rodent/{node}"),
                    "type": whole["kind"],
                    "time": whole["time"],
                    "subject": event.subject_name(),
                    "datacontenttype": "application/json",
                    "data": whole,
                });
                ("application/cloudevents+json", Vec::new(), without_empty(body).to_string())
            }
            Format::Ntfy => {
                let title = format!("{node}: {}", event.kind());
                let headers = vec![
                    ("title", one_line(&title, NTFY_TITLE_CHARACTERS_MAX)),
                    ("priority", priority(event.level_or_default()).to_string()),
                    ("tags", tag(event.level_or_default()).to_owned()),
                ];
                ("text/plain; charset=utf-8", headers, cut_bytes(&message(event), NTFY_BYTES_MAX))
            }
            Format::Slack => {
                let text = format!("{}: {}", node, message(event));
                ("application/json", Vec::new(), json!({"text": cut(&text, SLACK_CHARACTERS_MAX)}).to_string())
            }
        };
        Letter { id, content_type, headers, body }
    }
}

/// What happened, and what to do about it.
fn message(event: &EventView) -> String {
    let (sentence, advice) = (event.sentence(), event.advice());
    let sentence = if sentence.is_empty() { event.kind().to_string() } else { sentence };
    if advice.is_empty() { sentence } else { format!("{sentence}\n{advice}") }
}

/// The event's own identifier, or its digest where that cannot stand in a header.
fn identifier(id: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_plain) {
        true => id.to_owned(),
        false => digest(&SHA256, id.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn without_empty(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| value.as_str() != Some(""));
    }
    value
}

fn priority(level: Level) -> u8 {
    match level {
        Level::Critical => 5,
        Level::Error => 4,
        Level::Debug => 1,
        Level::Trace => 1,
        _ => 3,
    }
}

fn tag(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::Error => "rotating_light",
        Level::Warn => "warning",
        _ => "information_source",
    }
}

/// As it may stand in a header: in one line, without what is beyond ASCII, which no header carries safely.
fn one_line(text: &str, characters_max: usize) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.chars().take(characters_max).map(plain).collect()
}

fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters_max.saturating_sub(1)).chain([CUT]).collect(),
    }
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
