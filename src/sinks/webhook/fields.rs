//! Which fields of what is said go to a receiver: some left out, some under other names, some added. Pure, but for the settings.
//!
//! Always holds: names are those that `rodent events -o jsonl` prints, those of the payload without its prefix too; no field takes
//! the place of another.

use std::borrow::Cow;

use serde_json::Value;

use super::said::Said;
use crate::{event::Filter, settings::Table, words};

/// The most names of each list.
const NAMES_MAX: usize = 32;

/// The longest new name, and the longest added text, bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What every event has.
const OF_EVENTS: [&str; 11] =
    ["category", "id", "kind", "level", "metadata", "node", "origin", "payload", "source", "text", "time"];

/// What a state has.
const OF_STATES: [&str; 8] = ["advice", "kind", "level", "node", "since", "state", "subject", "text"];

/// Parts of an event that have names of their own, and how conditions call them.
const PARTS: [(&str, &str); 4] =
    [("payload.", "payload"), ("meta.", "metadata"), ("metadata.", "metadata"), ("origin.", "origin")];

/// What becomes of the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    left_out: Vec<Place>,
    renamed: Vec<(Place, String)>,
    added: Vec<(String, Value)>,
}

/// A field: of the event itself, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    part: Option<&'static str>,
    name: String,
}

impl Fields {
    /// The keys `drop`, `rename` and `add`. Where `carrier` names a format, that has no fields.
    pub(super) fn read(table: &mut Table, carrier: Option<&str>, is_of_states: bool) -> Fields {
        let dropped = table.strings("drop", &[], "fields that are left out: `origin`, `metadata`, `pool_name`");
        let renamed = table.values("rename", "fields that go under another name: `{pool_name: pool}`");
        let added = table.values("add", "further fields of all that is sent: `{site: berlin, rack: 7}`");
        let mut fields = Fields::default();
        for (key, count) in [("drop", dropped.len()), ("rename", renamed.len()), ("add", added.len())] {
            match carrier {
                Some(format) if count > 0 => table.fault(key, format!("{format} has no fields: it is a text")),
                _ if count > NAMES_MAX => table.fault(key, format!("at most {NAMES_MAX} are taken")),
                _ => {}
            }
        }
        for name in dropped {
            match Place::parse(&name, is_of_states) {
                Ok(place) => fields.left_out.push(place),
                Err(why) => table.fault("drop", why),
            }
        }
        for (name, new) in renamed {
            let place = Place::parse(&name, is_of_states);
            match place.and_then(|place| place.renamed(super::template::words(&new), is_of_states)) {
                Ok(renamed) => fields.renamed.push(renamed),
                Err(why) => table.fault("rename", why),
            }
        }
        for (name, value) in added {
            let is_there = names(is_of_states).contains(&name.as_str()) && !fields.frees(&name);
            match is_there {
                true => table
                    .fault("add", format!("`{name}` is there already; `drop` or `rename` it, or choose another name")),
                false if name.is_empty() || name.len() + super::template::words(&value).len() > TEXT_BYTES_MAX => {
                    table.fault("add", format!("expected a name and a value, at most {TEXT_BYTES_MAX} bytes together"));
                }
                false => fields.added.push((name, value)),
            }
        }
        fields
    }

    /// What is said, with these fields.
    pub(super) fn of<'s>(&self, said: &'s [Said]) -> Cow<'s, [Said]> {
        match self.change_nothing() {
            true => Cow::Borrowed(said),
            false => said.iter().map(|said| Said { data: self.applied(&said.data), ..said.clone() }).collect(),
        }
    }

    /// Data, with these fields.
    pub(super) fn applied(&self, data: &Value) -> Value {
        let mut data = data.clone();
        for place in &self.left_out {
            place.take(&mut data);
        }
        for (place, new) in &self.renamed {
            if let Some(value) = place.take(&mut data)
                && let Some(object) = place.object(&mut data)
            {
                object.insert(new.clone(), value);
            }
        }
        if let Some(object) = data.as_object_mut() {
            object.extend(self.added.iter().cloned());
        }
        data
    }

    fn change_nothing(&self) -> bool {
        self.left_out.is_empty() && self.renamed.is_empty() && self.added.is_empty()
    }

    /// Whether the name of a field of the event itself is free.
    fn frees(&self, name: &str) -> bool {
        let is = |place: &Place| place.part.is_none() && place.name == name;
        self.left_out.iter().any(is) || self.renamed.iter().any(|(place, _)| is(place))
    }
}

impl Place {
    /// # Errors
    /// When nothing is called so; what was meant.
    fn parse(name: &str, is_of_states: bool) -> Result<Place, String> {
        let own = names(is_of_states);
        if own.contains(&name) {
            return Ok(Place { part: None, name: name.to_owned() });
        }
        if is_of_states {
            let near = words::did_you_mean(words::nearest(name, own.iter().copied()));
            return Err(format!("`{name}` is none of the fields of a state, {}{near}", own.join(", ")));
        }
        let part = PARTS.iter().find_map(|(prefix, part)| Some((*part, name.strip_prefix(prefix)?)));
        let (part, inner) = part.unwrap_or(("payload", name));
        if part == "payload" {
            if inner.contains('.') {
                return Err(format!("`{name}` is within a field: only whole fields can be named"));
            }
            Filter::check_field(inner, own)?;
        }
        match inner {
            "" => Err(format!("`{name}` names no field")),
            inner => Ok(Place { part: Some(part), name: inner.to_owned() }),
        }
    }

    /// # Errors
    /// When the new name is none, or that of another field.
    fn renamed(self, new: String, is_of_states: bool) -> Result<(Place, String), String> {
        let is_taken = match self.part {
            None => names(is_of_states).contains(&new.as_str()),
            Some("payload") => Filter::check_field(&new, &[]).is_ok(),
            Some(_) => false,
        };
        match new.len() {
            0 => Err(format!("`{}` needs a new name", self.name)),
            1..=TEXT_BYTES_MAX if !is_taken => Ok((self, new)),
            1..=TEXT_BYTES_MAX => Err(format!("`{new}` is the name of another field")),
            _ => Err(format!("a new name has at most {TEXT_BYTES_MAX} bytes")),
        }
    }

    fn object<'v>(&self, data: &'v mut Value) -> Option<&'v mut serde_json::Map<String, Value>> {
        match self.part {
            None => data.as_object_mut(),
            Some(part) => data.get_mut(part)?.as_object_mut(),
        }
    }

    fn take(&self, data: &mut Value) -> Option<Value> {
        self.object(data)?.remove(&self.name)
    }
}

fn names(is_of_states: bool) -> &'static [&'static str] {
    if is_of_states { &OF_STATES } else { &OF_EVENTS }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Document;

    fn read(text: &str, is_of_states: bool) -> Result<Fields, String> {
        let document = Document::parse("f", text);
        let fields = Fields::read(&mut document.root(), None, is_of_states);
        document.finish().map(|_| fields).map_err(|faults| faults.to_string())
    }

    #[test]
    fn fields_are_left_out_renamed_and_added_and_nothing_else_changes() {
        let fields = read(
            "drop: [origin, metadata.ticket, size_bytes, source]\nrename: {pool_name: pool, level: severity}\n\
             add: {site: berlin, rack: 7, 'is.real': true, source: nas}",
            false,
        );
        let data = json!({"id": "e1", "level": "warn", "source": "zfs", "payload": {"pool_name": "tank", "size_bytes": 7},
            "metadata": {"ticket": "1", "by": "me"}, "origin": {"uid": "0"}});
        let expected = json!({"id": "e1", "severity": "warn", "source": "nas", "payload": {"pool": "tank"},
            "metadata": {"by": "me"}, "site": "berlin", "rack": 7, "is.real": true});
        assert_eq!(fields.expect("right").applied(&data), expected);
        let state = read("drop: [advice]\nrename: {since: from}", true).expect("right");
        let told = state.applied(&json!({"subject": "tank", "advice": "zpool", "since": "now"}));
        assert_eq!(told, json!({"subject": "tank", "from": "now"}));
        let other = json!({"id": "e2"});
        assert_eq!(state.applied(&other), other, "what is not there needs no change");
    }

    #[test]
    fn a_name_that_is_none_or_is_taken_is_refused() {
        for (text, is_of_states, why) in [
            ("drop: [pol_name]", false, "did you mean \"pool_name\"?"),
            ("drop: [orign]", false, "did you mean \"origin\"?"),
            ("drop: [payload.pol_name]", false, "did you mean \"pool_name\"?"),
            ("drop: [pool_name]", true, "none of the fields of a state"),
            ("rename: {pool_name: size_bytes}", false, "`size_bytes` is the name of another field"),
            ("rename: {level: kind}", false, "`kind` is the name of another field"),
            ("rename: {level: ''}", false, "`level` needs a new name"),
            ("rename: {level: [a]}", false, "`level` has no value"),
            ("add: {kind: x}", false, "`kind` is there already"),
            ("add: {a: {b: c}}", false, "1:10: add: a table: `a` has no value"),
            ("add: [a]", false, "expected names with a value each"),
        ] {
            let told = read(text, is_of_states).expect_err(text);
            assert!(told.contains(why), "{told}");
        }
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let told = read(&format!("rename: {{level: {long}}}"), false).expect_err("too long");
        assert!(told.contains("a new name has at most 1024 bytes"), "{told}");
        let told = read(&format!("add: {{a: {long}}}"), false).expect_err("too long");
        assert!(told.contains("at most 1024 bytes together"), "{told}");
    }
}
