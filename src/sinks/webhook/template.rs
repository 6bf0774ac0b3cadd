//! A text with places, as the free form has it: `{pool_name}` is what is said of the pool, `{dataset_name|pool_name}` the first of these
//! that is, `{{pool_name}}` stands for itself. Pure.
//!
//! Given a text by the settings, and what stands in the places by the form. Always holds: what is put in moves nothing of the text
//! around it, for it is escaped as that text's type demands. Braces that hold no name stand for themselves, as those of JSON do.

use std::{borrow::Cow, fmt};

use serde_json::Value;

/// The most places of a text: each may hold a whole event.
const PLACES_MAX: usize = 64;

/// The longest text, bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Stands for the name where one is missing.
const BETWEEN: char = '|';

/// What a text is, and so what may stand in its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Inside quotes a text, outside a value.
    Json,
    /// `a=1&b=2`.
    Form,
    /// HTML, XML.
    Markup,
    /// Anything goes, as it is.
    Plain,
    /// One line.
    Header,
}

impl Manner {
    /// That of a body of this type.
    pub(super) fn of(content_type: &str) -> Manner {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is = |name: &str| essence.ends_with(&format!("/{name}")) || essence.ends_with(&format!("+{name}"));
        match essence.as_str() {
            _ if is("json") => Manner::Json,
            _ if is("xml") || is("html") => Manner::Markup,
            "application/x-www-form-urlencoded" => Manner::Form,
            _ => Manner::Plain,
        }
    }
}

/// A text, taken apart. Shows itself as its length: people put into a body what is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
    manner: Manner,
    /// As it was written, bytes.
    length: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place {
        names: Vec<String>,
        /// In JSON, whether it stands inside quotes.
        is_quoted: bool,
    },
}

impl Template {
    /// `check` says what is wrong with a name.
    ///
    /// # Errors
    /// What is wrong with the text, and in which line.
    pub(super) fn parse(
        text: &str,
        manner: Manner,
        check: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<Template, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("{} bytes; at most {TEXT_BYTES_MAX} are taken", text.len()));
        }
        let mut template = Template { parts: Vec::new(), manner, length: text.len() };
        let (mut rest, mut is_quoted, mut places) = (text, false, 0);
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            is_quoted = template.push(before, is_quoted);
            rest = match place(from) {
                Found::Literal { text, length } => {
                    is_quoted = template.push(text, is_quoted);
                    from.get(length..).unwrap_or_default()
                }
                Found::Place { names, length } => {
                    let line = text.len() - from.len();
                    let line = text.get(..line).unwrap_or_default().matches('\n').count() + 1;
                    let wrong = |why: String| match line {
                        1 => format!("{{{names}}}: {why}"),
                        line => format!("{{{names}}} in line {line} of it: {why}"),
                    };
                    places += 1;
                    if places > PLACES_MAX {
                        return Err(wrong(format!("at most {PLACES_MAX} places are taken")));
                    }
                    let names: Vec<_> = names.split(BETWEEN).map(str::to_owned).collect();
                    names.iter().try_for_each(|name| check(name)).map_err(wrong)?;
                    template.parts.push(Part::Place { names, is_quoted });
                    from.get(length..).unwrap_or_default()
                }
            };
        }
        template.push(rest, is_quoted);
        if manner == Manner::Json {
            template.check_json()?;
        }
        Ok(template)
    }

    /// With what `value` gives for a name in its place; nothing, in JSON `null`, where no name has a value.
    pub(super) fn render<'v>(&self, value: &dyn Fn(&str) -> Option<Cow<'v, Value>>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place { names, is_quoted } => {
                    let found = names.iter().find_map(|name| value(name)).unwrap_or(Cow::Owned(Value::Null));
                    self.put(&found, *is_quoted, &mut out);
                }
            }
        }
        out
    }

    fn put(&self, value: &Value, is_quoted: bool, out: &mut String) {
        match self.manner {
            Manner::Json if !is_quoted => out.push_str(&value.to_string()),
            Manner::Json => {
                let quoted = Value::from(words(value)).to_string();
                out.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
            }
            Manner::Plain => out.push_str(&words(value)),
            Manner::Header => out.extend(words(value).chars().map(|c| if c.is_control() { ' ' } else { c })),
            Manner::Form => words(value).bytes().for_each(|byte| match byte {
                b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
                byte => out.push_str(&format!("%{byte:02X}")),
            }),
            Manner::Markup => words(value).chars().for_each(|c| match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                c => out.push(c),
            }),
        }
    }

    /// Gives whether what follows stands inside quotes.
    fn push(&mut self, text: &str, is_quoted: bool) -> bool {
        if let Some(Part::Text(before)) = self.parts.last_mut() {
            before.push_str(text);
        } else if !text.is_empty() {
            self.parts.push(Part::Text(text.to_owned()));
        }
        let (mut is_quoted, mut is_escaped) = (is_quoted, false);
        for byte in text.bytes() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                _ => {}
            }
        }
        is_quoted
    }

    /// Whether it is JSON, whatever comes into its places.
    fn check_json(&self) -> Result<(), String> {
        let outline: String = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Place { is_quoted: true, .. } => "",
                Part::Place { is_quoted: false, .. } => "null",
            })
            .collect();
        serde_json::from_str::<serde::de::IgnoredAny>(&outline).map(drop).map_err(|error| {
            let text = error.to_string();
            let why = text.split(" at line ").next().unwrap_or_default();
            format!("no JSON, as its `content_type` says: {why}, in line {} of it", error.line())
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.length)
    }
}

/// What begins with a brace.
enum Found<'t> {
    Literal { text: &'t str, length: usize },
    Place { names: &'t str, length: usize },
}

fn place(from: &str) -> Found<'_> {
    let names = |text: &str| {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | BETWEEN);
        let end = text.find(|c| !is_of_name(c)).filter(|end| *end > 0)?;
        text.get(end..)?.starts_with('}').then_some(end)
    };
    let own = from.get(1..).unwrap_or_default();
    if let Some(inner) = own.strip_prefix('{')
        && let Some(end) = names(inner)
        && inner.get(end..).is_some_and(|rest| rest.starts_with("}}"))
    {
        return Found::Literal { text: from.get(1..end + 3).unwrap_or_default(), length: end + 4 };
    }
    match names(own) {
        Some(end) => Found::Place { names: own.get(..end).unwrap_or_default(), length: end + 2 },
        None => Found::Literal { text: "{", length: 1 },
    }
}

/// A value as text: of a list its elements with commas.
pub(super) fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(text: &str, manner: Manner) -> String {
        let said = json!({"name": "a \"b\"\n<c>&", "size": 7, "devices": ["sda", "sdb"], "more": {"x": 1}});
        let template = Template::parse(text, manner, &|_| Ok(())).unwrap_or_else(|why| panic!("{text}: {why}"));
        template.render(&|name| said.get(name).map(Cow::Borrowed))
    }

    #[test]
    fn what_stands_in_a_place_is_escaped_as_the_text_around_it_demands() {
        for (text, manner, expected) in [
            (r#"{"a":"{name}"}"#, Manner::Json, r#"{"a":"a \"b\"\n<c>&"}"#),
            (
                r#"{"a":{name}, "n": {size}, "m": {more}}"#,
                Manner::Json,
                r#"{"a":"a \"b\"\n<c>&", "n": 7, "m": {"x":1}}"#,
            ),
            (r#"{"a":"\"{size}\"","b":{none},"c":"{none}"}"#, Manner::Json, r#"{"a":"\"7\"","b":null,"c":""}"#),
            ("a={name}&b={devices}", Manner::Form, "a=a%20%22b%22%0A%3Cc%3E%26&b=sda%2C%20sdb"),
            ("<p>{name}</p>", Manner::Markup, "<p>a &quot;b&quot;\n&lt;c&gt;&amp;</p>"),
            ("{none|size}: {name}", Manner::Plain, "7: a \"b\"\n<c>&"),
            ("x {name}", Manner::Header, "x a \"b\" <c>&"),
            ("{{name}} { } {} {a b} {size} {", Manner::Plain, "{name} { } {} {a b} 7 {"),
        ] {
            assert_eq!(rendered(text, manner), expected, "{text}");
        }
    }

    #[test]
    fn a_type_of_content_says_how_values_are_escaped() {
        for (content_type, manner) in [
            ("application/json", Manner::Json),
            ("application/problem+JSON; charset=utf-8", Manner::Json),
            ("text/html", Manner::Markup),
            ("application/x-www-form-urlencoded", Manner::Form),
            ("text/plain", Manner::Plain),
        ] {
            assert_eq!(Manner::of(content_type), manner, "{content_type}");
        }
    }

    #[test]
    fn a_wrong_name_and_a_body_that_is_no_json_are_told_with_their_line() {
        let check = |name: &str| match name {
            "name" => Ok(()),
            _ => Err("there is no such".to_owned()),
        };
        for (text, why) in [
            ("{\n \"a\": \"{nmae}\"\n}", "{nmae} in line 2 of it: there is no such"),
            ("\"{name|nmae}\"", "{name|nmae}: there is no such"),
            ("{\n \"a\": \"{name}\",\n}", "no JSON, as its `content_type` says: key must be a string, in line 3 of it"),
            ("Pool {name}", "no JSON, as its `content_type` says: expected value, in line 1 of it"),
        ] {
            assert_eq!(Template::parse(text, Manner::Json, &check).expect_err(text), why);
        }
        let many = "{name}".repeat(PLACES_MAX + 1);
        assert!(Template::parse(&many, Manner::Plain, &check).expect_err("too many").contains("at most 64"));
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert!(Template::parse(&long, Manner::Plain, &check).expect_err("too long").contains("at most 16384"));
    }
}
