//! YAML in, a tree with positions out. The only module that names the YAML library, of which it uses the stream of
//! parser events: a stream keeps the text as written and goes on after a fault of ours.
//!
//! Bounded by [`NESTING_MAX`] and [`NODES_MAX`]. Deliberately refused: anchors, aliases, tags, directives and a second
//! document; a configuration that needs them is one that nobody can read.

use std::sync::Arc;

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span};

use super::tree::{Entry, Map, Node, Position, Value};

/// How deep tables and lists may nest; deeper is a fault. Ours nest four deep.
pub(super) const NESTING_MAX: usize = 16;
/// How many keys, values and lists one file may have; more is a fault.
pub(super) const NODES_MAX: usize = 20_000;

/// What was found in one file.
pub(super) struct Parsed {
    /// Its keys; what stands before the first syntax error.
    pub(super) map: Map,
    /// What is wrong: place, key (empty if none), what and what to do.
    pub(super) faults: Vec<(Position, String, String)>,
    /// Where it stops being YAML, and why, in the parser's words.
    pub(super) syntax: Option<(Position, String)>,
    /// Whether reading ended early, so that the keys are not all there.
    pub(super) broken: bool,
}

/// Reads one file's text.
pub(super) fn parse(source: u16, text: &str) -> Parsed {
    let mut builder = Builder { source, stack: Vec::new(), root: None, nodes: 0, faults: Vec::new() };
    for event in Parser::new_from_str_with_options(text, options()) {
        let bound = match event {
            Ok((event, span)) => builder.take(event, &span),
            Err(error) if *error.kind() == ErrorKind::RecursionLimitExceeded => {
                let at = builder.position(error.marker().line(), error.marker().col());
                Err((at, too_deep()))
            }
            Err(error) => {
                let syntax = builder.syntax(&error);
                return builder.finish(Some(syntax), true);
            }
        };
        if let Err((at, message)) = bound {
            builder.faults.push((at, String::new(), message));
            return builder.finish(None, true);
        }
    }
    builder.finish(None, false)
}

fn options() -> Options {
    let mut options = granit_parser::options! {
        flow_nesting_limit: NESTING_MAX + 1,
        block_nesting_limit: NESTING_MAX + 1,
        disallow_directives: true,
        emit_unresolved_aliases: true,
    };
    options.set_emit_comments(false);
    options
}

/// Ends the reading of a file.
type Stop = (Position, String);

/// A list or table that is not closed yet.
enum Open {
    List { at: Position, items: Vec<Node> },
    Map { at: Position, map: Map, key: Key },
}

/// What a table expects next.
enum Key {
    Awaited,
    Named(String, Position),
    /// A key that is none of ours was refused; its value is passed over.
    Refused,
}

struct Builder {
    source: u16,
    stack: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    faults: Vec<(Position, String, String)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Stop> {
        let at = self.position(span.start.line(), span.start.col());
        if event.is_node() {
            self.count(at)?;
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(at, anchor, tag.is_some());
                self.place(Node { at, value: scalar(&text, style) });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_extras(at, anchor, tag.is_some());
                self.stack.push(Open::List { at, items: Vec::new() });
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_extras(at, anchor, tag.is_some());
                self.stack.push(Open::Map { at, map: Map::default(), key: Key::Awaited });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.fault(at, "a value that begins with `*` must stand in quotes (aliases are not taken here)");
                self.pass_over(at);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentStart(..) if self.root.is_some() => {
                return Err((at, "a second document begins here; keep everything in one, without `---`".into()));
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, at: Position) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err((at, format!("more than {NODES_MAX} keys and values")));
        }
        if self.stack.len() >= NESTING_MAX {
            return Err((at, too_deep()));
        }
        Ok(())
    }

    fn close(&mut self) {
        match self.stack.pop() {
            Some(Open::List { at, items }) => self.place(Node { at, value: Value::List(items) }),
            Some(Open::Map { at, map, .. }) => self.place(Node { at, value: Value::Map(Arc::new(map)) }),
            None => {}
        }
    }

    /// Puts a finished node where it belongs: into the open list, or as the open table's next key or value.
    fn place(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { key, .. }) => match std::mem::replace(key, Key::Awaited) {
                Key::Awaited => self.name(node),
                Key::Named(name, key_at) => self.set(Entry { key: name, key_at, node }),
                Key::Refused => {}
            },
        }
    }

    /// A value that was refused already: its key counts as absent.
    fn pass_over(&mut self, at: Position) {
        match self.stack.last_mut() {
            Some(Open::Map { key: key @ (Key::Named(..) | Key::Refused), .. }) => *key = Key::Awaited,
            Some(Open::Map { key: key @ Key::Awaited, .. }) => *key = Key::Refused,
            Some(Open::List { .. }) => {}
            None => self.root = Some(Node { at, value: Value::Nothing }),
        }
    }

    /// A node that stands where a table wants a key.
    fn name(&mut self, node: Node) {
        let next = match node.value {
            Value::Scalar { text, .. } => Key::Named(text, node.at),
            Value::Nothing | Value::List(_) | Value::Map(_) => {
                self.fault(node.at, "a key must be a word; quote a value that begins with `{`, `[` or `*`");
                Key::Refused
            }
        };
        if let Some(Open::Map { key, .. }) = self.stack.last_mut() {
            *key = next;
        }
    }

    fn set(&mut self, entry: Entry) {
        let path = self.path_to(&entry.key);
        let Some(Open::Map { map, .. }) = self.stack.last_mut() else { return };
        match map.get(&entry.key) {
            Some(first) => {
                let message = format!("set twice; first in line {}", first.key_at.line);
                self.faults.push((entry.key_at, path, message));
            }
            None => map.entries.push(entry),
        }
    }

    fn refuse_extras(&mut self, at: Position, anchor: usize, tag: bool) {
        if anchor != 0 {
            self.fault(at, "a value that begins with `&` must stand in quotes (anchors are not taken here)");
        }
        if tag {
            self.fault(at, "a value that begins with `!` must stand in quotes (tags are not taken here)");
        }
    }

    fn fault(&mut self, at: Position, message: &str) {
        self.faults.push((at, String::new(), message.to_owned()));
    }

    /// The key in full: the names of the tables that are open, then this one.
    fn path_to(&self, key: &str) -> String {
        let mut path = String::new();
        for open in &self.stack {
            if let Open::Map { key: Key::Named(name, _), .. } = open {
                path.push_str(name);
                path.push('.');
            }
        }
        path + key
    }

    fn position(&self, line: usize, column: usize) -> Position {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Position { source: self.source, line: narrow(line).max(1), column: narrow(column).saturating_add(1) }
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        let at = self.position(error.marker().line(), error.marker().col());
        let message = match advice(error.kind()) {
            Some(advice) => format!("not valid YAML: {}; {advice}", error.info()),
            None => format!("not valid YAML: {}", error.info()),
        };
        (at, message)
    }

    fn finish(mut self, syntax: Option<Stop>, broken: bool) -> Parsed {
        let map = match self.root.take() {
            Some(Node { value: Value::Map(map), .. }) => Arc::unwrap_or_clone(map),
            Some(Node { value: Value::Nothing, .. }) | None => Map::default(),
            Some(_) if broken => Map::default(),
            Some(Node { at, .. }) => {
                self.fault(at, "expected keys with values, such as `events:` on a line of its own");
                Map::default()
            }
        };
        Parsed { map, faults: self.faults, syntax, broken }
    }
}

fn too_deep() -> String {
    format!(
        "nested more than {NESTING_MAX} deep, and no key is: there are brackets or blanks too many in this line or above it"
    )
}

/// What to do about the mistakes that people make most.
fn advice(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => "indent with blanks, not with tabs",
        ErrorKind::MappingValueNotAllowed => {
            "a blank must follow `key:`, and a value with `: ` in it must stand in quotes"
        }
        ErrorKind::ExpectedBlockMappingKey => {
            "keys that belong together must begin in the same column, and a value that begins with a bracket and goes on \
             behind it, such as [::1]:443, must stand in quotes"
        }
        ErrorKind::SimpleKeyExpected => "every line is `key: value`, with a colon and a blank behind the key",
        ErrorKind::UnexpectedCharacter { .. } | ErrorKind::MissingAnchorOrAliasName => {
            "a value that begins with a special character must stand in quotes"
        }
        _ => return None,
    })
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let quoted = style != ScalarStyle::Plain;
    if !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Nothing;
    }
    Value::Scalar { text: text.to_owned(), quoted }
}
