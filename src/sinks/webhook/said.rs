//! What is to be said to a receiver, whatever its format: that something has happened, how things are, or that somebody tries it.
//!
//! Given events and notifications; taken by the formats. Always holds: it has one identifier however often it is sent, and no
//! value that the schema calls secret.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    event::{EventView, Level, TRACEPARENT, is_traceparent, json},
    sinks::NodeName,
    telling::Notification,
    words::{self, time_utc},
};

/// What an identifier in a header may be as long as, bytes.
const ID_BYTES_MAX: usize = 64;
/// Stands where something was cut.
pub(super) const CUT: char = '…';

/// What is to be said, whatever the format.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) id: String,
    pub(super) kind: String,
    /// Unix milliseconds.
    pub(super) time: i64,
    /// The thing.
    pub(super) subject: String,
    /// Which of its states.
    pub(super) state: String,
    pub(super) title: String,
    /// What happened, and what to do about it.
    pub(super) text: String,
    /// The latter alone.
    pub(super) advice: String,
    pub(super) level: Level,
    /// Nothing is wrong any more.
    pub(super) is_over: bool,
    pub(super) data: Value,
    /// To which trace it belongs.
    pub(super) trace: Option<String>,
}

impl Said {
    /// The event's own identifier, or that of the notice.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// That something has happened on this node.
    pub(super) fn event(event: &EventView, node: &str) -> Said {
        let (sentence, advice) = (event.sentence(), event.advice());
        let sentence = if sentence.is_empty() { event.kind().to_string() } else { sentence };
        let meaning = event.meaning();
        let state = meaning.map_or("", |meaning| match meaning.tells.as_str() {
            "" => meaning.ends.first().map_or("", String::as_str),
            tells => tells,
        });
        let level = event.level_or_default();
        Said {
            id: identifier(event.id()),
            kind: event.kind().to_string(),
            time: event.timestamp(),
            subject: event.subject_name(),
            state: state.to_owned(),
            title: event.kind().to_string(),
            text: if advice.is_empty() { sentence } else { format!("{sentence}\n{advice}") },
            advice,
            level,
            is_over: !state.is_empty() && !matches!(level, Level::Warn | Level::Error | Level::Critical),
            data: json::to_value(event, Some(node), None),
            trace: event.metadata(TRACEPARENT).filter(|trace| is_traceparent(trace)).map(str::to_owned),
        }
    }

    /// That somebody tries whether it arrives, at this time, Unix milliseconds.
    pub(super) fn test(node: &NodeName, time: i64) -> Said {
        let text = format!("This is a test of {}. Nothing is wrong; messages arrive here.", node.host);
        Said {
            id: Uuid::now_v7().to_string(),
            kind: "test".to_owned(),
            time,
            subject: String::new(),
            state: String::new(),
            title: "test".to_owned(),
            data: json!({"node": *node.id, "text": text, "test": true}),
            text,
            advice: String::new(),
            level: Level::Info,
            is_over: false,
            trace: None,
        }
    }

    /// How things are on this node.
    pub(super) fn notice(notice: &Notification, node: &str) -> Said {
        let level = Level::from(notice.level);
        Said {
            id: notice.id.clone(),
            kind: format!("state.{}", notice.what.name()),
            time: notice.since,
            subject: notice.subject.clone(),
            state: notice.state.clone(),
            title: notice.title(),
            text: notice.body(),
            advice: notice.advice.clone(),
            level,
            is_over: notice.what.is_over(),
            data: without_empty(json!({
                "node": node,
                "subject": notice.subject,
                "state": notice.state,
                "level": level.name(),
                "since": time_utc(notice.since),
                "kind": notice.kind,
                "text": notice.text,
                "advice": notice.advice,
            })),
            trace: None,
        }
    }
}

/// The event's own identifier, or its digest where that cannot stand in a header.
fn identifier(id: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_plain) {
        true => id.to_owned(),
        false => digest_of(id.as_bytes()),
    }
}

/// The digest of something, SHA-256, in hexadecimal.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    words::hexadecimal(digest(&SHA256, bytes).as_ref())
}

/// Without the values that are empty texts.
pub(super) fn without_empty(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| value.as_str() != Some(""));
    }
    value
}

/// At most so long; that something was cut is marked.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters_max.saturating_sub(1)).chain([CUT]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_that_cannot_stand_in_a_header_is_its_digest() {
        let long = "x".repeat(ID_BYTES_MAX + 1);
        for id in ["0192f0a1-7d5e-7c11", "a_B", &long[1..]] {
            assert_eq!(identifier(id), id);
        }
        for id in ["", "a b", "a\r\nx: y", "é", &long] {
            let digest = identifier(id);
            assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
            assert_eq!(digest, identifier(id), "each time it is sent");
        }
    }

    #[test]
    fn what_is_cut_is_as_long_as_it_may_be_with_the_mark() {
        assert_eq!((cut("äöü", 3), cut("äöüß", 3)), ("äöü".to_owned(), "äö…".to_owned()));
    }
}
