//! The free form: method, headers and body as the configuration has them, with what is said in their places.
//!
//! Given the texts by the settings; gives what a request is made of. Always holds: a field that nobody may see stands in no place;
//! a header stays one line, whatever an event says.

use std::borrow::Cow;

use hyper::{Method, header::HeaderName};
use serde_json::Value;

use super::{
    fields::Fields,
    said::{Said, cut},
    template::{Manner, Template},
};
use crate::{
    event::Filter,
    settings::Secret,
    sinks::NodeName,
    words::{self, time_utc},
};

/// Methods that carry something; one that carries nothing would tell nothing.
pub(super) const METHODS: [&str; 3] = ["POST", "PUT", "PATCH"];

/// What every event and every state has.
const OF_ALL: [&str; 12] =
    ["advice", "host", "id", "json", "kind", "level", "node", "state", "subject", "text", "time", "title"];

/// What only events have beside the fields of their payload.
const OF_EVENTS: [&str; 2] = ["category", "source"];

/// Before the name of a field of the payload where an event has something of that name too.
const PAYLOAD: &str = "payload.";

/// Before the key of a metadata value.
const METADATA: &str = "meta.";

/// Before the name of a secret.
const SECRET: &str = "secret.";

/// A longer value is cut in a header, characters: servers take some thousand bytes of all headers together.
const HEADER_CHARACTERS_MAX: usize = 1000;

/// How it is put.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FreeForm {
    pub(super) method: Method,
    pub(super) content_type: String,
    pub(super) body: Template,
    pub(super) headers: Vec<(HeaderName, Template)>,
    /// Which of them `{json}` has.
    pub(super) fields: Fields,
}

/// What places may ask for.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) is_of_states: bool,
    pub(super) secrets: &'a [String],
}

/// What is put into the places: what is said, by whom, and secrets by their names.
#[derive(Clone, Copy)]
pub(super) struct Saying<'a> {
    pub(super) said: &'a Said,
    pub(super) node: &'a NodeName,
    pub(super) secrets: &'a [(String, Secret)],
}

impl FreeForm {
    /// The headers with what is said.
    pub(super) fn headers(&self, saying: Saying) -> Vec<(String, String)> {
        let value = |template: &Template| cut(&self.rendered(template, saying), HEADER_CHARACTERS_MAX);
        self.headers.iter().map(|(name, template)| (name.as_str().to_owned(), value(template))).collect()
    }

    /// The body with what is said.
    pub(super) fn body(&self, saying: Saying) -> String {
        self.rendered(&self.body, saying)
    }

    fn rendered(&self, template: &Template, saying: Saying) -> String {
        template.render(&|name| match name {
            "json" => Some(Cow::Owned(self.fields.applied(&saying.said.data))),
            name => value(name, saying),
        })
    }
}

/// The value of a header with places.
///
/// # Errors
/// What is wrong with it.
pub(super) fn header(text: &str, names: Names) -> Result<Template, String> {
    if text.contains(char::is_control) {
        return Err("expected a value in one line".to_owned());
    }
    Template::parse(text, Manner::Header, &|name| check(name, names))
}

/// A body of this type with places.
///
/// # Errors
/// What is wrong with it.
pub(super) fn body(text: &str, content_type: &str, names: Names) -> Result<Template, String> {
    Template::parse(text, Manner::of(content_type), &|name| check(name, names))
}

/// What is wrong with a name in a place.
fn check(name: &str, Names { is_of_states, secrets }: Names) -> Result<(), String> {
    let of_events: &[&str] = if is_of_states { &[] } else { &OF_EVENTS };
    let own: Vec<_> = OF_ALL.iter().chain(of_events).copied().collect();
    if own.contains(&name) {
        return Ok(());
    }
    let near = |names: &[&str]| words::did_you_mean(words::nearest(name, names.iter().copied()));
    if let Some(secret) = name.strip_prefix(SECRET) {
        let all: Vec<_> = secrets.iter().map(|name| format!("{SECRET}{name}")).collect();
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        return match all.contains(&name) {
            true => Ok(()),
            false => Err(format!("`secrets` names no file for `{secret}`{}", near(&all))),
        };
    }
    if is_of_states {
        let all = own.join(", ");
        return Err(format!("with `tell: changes` there are {all}, and no fields of events{}", near(&own)));
    }
    match name.strip_prefix(METADATA) {
        Some("") => Err("expected the key of a metadata value behind `meta.`".to_owned()),
        Some(_) => Ok(()),
        None => Filter::check_field(name.strip_prefix(PAYLOAD).unwrap_or(name), &own),
    }
}

/// What is said under a name; none where nothing is.
fn value<'s>(name: &str, Saying { said, node, secrets }: Saying<'s>) -> Option<Cow<'s, Value>> {
    let text = |text: &str| Some(Cow::Owned(Value::from(text))).filter(|_| !text.is_empty());
    let sentence = || said.data.get("text").and_then(Value::as_str).unwrap_or(&said.text);
    if let Some(secret) = name.strip_prefix(SECRET) {
        let found = secrets.iter().find(|(own, _)| own == secret);
        return found.and_then(|(_, secret)| text(secret.reveal()));
    }
    match name {
        "advice" => text(&said.advice),
        "host" => text(&node.host),
        "id" => text(&said.id),
        "kind" => text(&said.kind),
        "level" => text(said.level.name()),
        "node" => text(&node.id),
        "state" => text(&said.state),
        "subject" => text(&said.subject),
        "text" => text(sentence()),
        "time" => text(&time_utc(said.time)),
        "title" => text(&said.title),
        "category" | "source" => said.data.get(name).map(Cow::Borrowed),
        _ => match name.strip_prefix(METADATA) {
            Some(key) => said.data.get("metadata")?.get(key).map(Cow::Borrowed),
            None => field(said.data.get("payload")?, name.strip_prefix(PAYLOAD).unwrap_or(name)).map(Cow::Borrowed),
        },
    }
}

/// What stands at a path: of a field, of a message's field, under a key of a map.
fn field<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    let (name, rest) = path.split_once('.')?;
    field(value.get(name)?, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::EventView,
        schema::{Payload as _, events},
    };

    fn said() -> Said {
        use prost::Message as _;
        let payload = events::StoragePoolPayload { pool_name: "ta\"nk".into(), operation: 1, ..Default::default() };
        let metadata = [("ticket".to_owned(), "A\r\n7".to_owned())].into();
        let event = events::Event {
            event_id: "e1".into(),
            event_payload: Some(payload.into_event_payload()),
            metadata,
            ..Default::default()
        };
        Said::event(&EventView::decode(&event.encode_to_vec()).expect("an event"), "nas")
    }

    #[test]
    fn an_event_says_in_each_place_what_its_name_asks_for() {
        let text = r#"{"t":"{node}: {text}","k":"{kind}","p":"{pool_name}","q":"{payload.pool_name}","m":"{meta.ticket}",
            "n":{health},"first":"{health|pool_name}","e":{json},"s":"{secret.token}"}"#;
        let names = ["token".to_owned()];
        let names = Names { is_of_states: false, secrets: &names };
        let of_header = header("Re {meta.ticket}", names).expect("a header");
        let form = FreeForm {
            method: Method::PUT,
            content_type: "application/json".to_owned(),
            body: body(text, "application/json", names).expect("a body"),
            headers: vec![(HeaderName::from_static("title"), of_header)],
            fields: Fields::default(),
        };
        let (said, secrets) = (said(), [("token".to_owned(), Secret::new("t0ken"))]);
        let saying = Saying { said: &said, node: &NodeName::of_tests(), secrets: &secrets };
        let value: Value = serde_json::from_str(&form.body(saying)).expect("JSON");
        assert_eq!(value["t"], format!("nas: {}", said.data["text"].as_str().expect("a sentence")));
        assert_eq!((&value["k"], &value["p"]), (&"storage.pool.created".into(), &"ta\"nk".into()));
        assert_eq!((&value["q"], &value["first"], &value["n"]), (&"ta\"nk".into(), &"ta\"nk".into(), &Value::Null));
        assert_eq!((&value["m"], &value["e"]["id"]), (&"A\r\n7".into(), &"e1".into()));
        let title = ("title".to_owned(), "Re A  7".to_owned());
        assert_eq!(value["s"], "t0ken");
        assert_eq!(form.headers(saying), [title], "one line, whatever it says");
        let long = Said { data: serde_json::json!({"metadata": {"ticket": "x".repeat(5000)}}), ..said.clone() };
        let cut = form.headers(Saying { said: &long, ..saying }).remove(0).1;
        assert_eq!(cut.chars().count(), HEADER_CHARACTERS_MAX);
    }

    #[test]
    fn a_name_that_no_event_has_is_refused_with_the_one_that_was_meant() {
        for (name, is_of_states, why) in [
            ("pol_name", false, "did you mean \"pool_name\"?"),
            ("nod", false, "did you mean \"node\"?"),
            ("payload.pol_name", false, "did you mean \"pool_name\"?"),
            ("meta.", false, "expected the key of a metadata value"),
            ("pool_name", true, "no fields of events"),
            ("subjct", true, "did you mean \"subject\"?"),
            ("secret.tokn", true, "`secrets` names no file for `tokn`; did you mean \"secret.token\"?"),
        ] {
            let error = check(name, Names { is_of_states, secrets: &["token".to_owned()] }).expect_err(name);
            assert!(error.contains(why), "{error}");
        }
        assert!(header("a\r\nb", Names { is_of_states: false, secrets: &[] }).is_err());
    }
}
