//! Makes an event fit into [`EVENT_BYTES_MAX`]: the worst day of a large machine is told with less, and not left untold.
//!
//! Goes by the descriptors, and knows no payload. First the longest lists become shorter and say how many elements are
//! left out, in the field `more_…` beside them or in a last element; then the longest texts do, and end in `…`; then
//! whatever has a length. Always holds: an event that fits is not touched; kind, level, time and identifier never are,
//! and what the thing is called only when nothing else is left to cut.

use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage as _, Value};

use crate::event::{EVENT_BYTES_MAX, EventView, RESERVED_PREFIX, and_more, left_out};
use crate::order::Sorted as _;

/// Elements that a list keeps while there is something else to cut: as many as a sentence shows.
const ELEMENTS_KEPT: usize = 8;
/// Bytes that a text keeps while there is something else to cut.
const TEXT_BYTES_KEPT: usize = 200;
/// What says that a text goes on.
const GOES_ON: char = '…';
/// Metadata that whoever looks for an event asks by; and what is the agent's own.
const METADATA_KEPT: [&str; 2] = ["component", "action"];

/// Cuts an encoded event that is too large; whether it was is told beside.
pub(super) fn fit(bytes: Vec<u8>) -> (Vec<u8>, bool) {
    if bytes.len() <= EVENT_BYTES_MAX {
        return (bytes, false);
    }
    match EventView::decode(&bytes) {
        Ok(view) => (cut(view).encode_to_vec(), true),
        Err(_) => (bytes, false),
    }
}

/// How long what has a length may be.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Of a list or map, bytes; but it may keep so many elements.
    list_bytes: usize,
    elements: usize,
    /// Of a text.
    text_bytes: usize,
}

fn cut(view: EventView) -> DynamicMessage {
    let mut kept: Vec<String> = view.naming_fields().iter().map(|field| field.full_name().to_owned()).collect();
    let mut event = view.into_message();
    kept.extend(["event_id", "source"].map(|name| format!("{}.{name}", event.descriptor().full_name())));
    let none = Bounds { list_bytes: usize::MAX, elements: ELEMENTS_KEPT, text_bytes: usize::MAX };
    let short = Bounds { list_bytes: 0, text_bytes: TEXT_BYTES_KEPT, ..none };
    let lists = steps(0).map(|list_bytes| Bounds { list_bytes, ..none });
    let texts = steps(TEXT_BYTES_KEPT).map(|text_bytes| Bounds { text_bytes, ..short });
    let rest = steps(0).map(|bytes| Bounds { list_bytes: bytes, elements: 0, text_bytes: bytes.min(TEXT_BYTES_KEPT) });
    for bounds in lists.chain(texts).chain(rest) {
        if fits(&event) {
            return event;
        }
        shorten(&mut event, bounds, &kept);
    }
    if !fits(&event) {
        shorten(&mut event, Bounds { elements: 1, ..short }, &[]);
    }
    event
}

fn fits(event: &DynamicMessage) -> bool {
    event.encoded_len() <= EVENT_BYTES_MAX
}

/// From the whole of an event down, each a quarter less than the one before.
fn steps(last: usize) -> impl Iterator<Item = usize> {
    let next = move |bytes: &usize| (*bytes > last).then(|| (bytes * 3 / 4).max(last));
    std::iter::successors(Some(EVENT_BYTES_MAX), next)
}

/// Makes everything as short as `bounds` say, but for the fields that are `kept`.
fn shorten(message: &mut DynamicMessage, bounds: Bounds, kept: &[String]) {
    let mut left_out = Vec::new();
    for (field, value) in message.fields_mut() {
        match value {
            _ if kept.iter().any(|name| name == field.full_name()) => {}
            Value::List(list) => {
                let count = shorten_list(list, bounds);
                if count > 0 {
                    left_out.push((field.clone(), count));
                }
                list.iter_mut().for_each(|value| shorten_value(value, bounds, kept));
            }
            Value::Map(map) => {
                let is_kept = |key: &MapKey| !kept.is_empty() && is_kept_metadata(&field, key);
                let mut bytes = map.values().map(weight).sum::<usize>();
                let mut keys: Vec<_> = map.keys().filter(|key| !is_kept(key)).cloned().collect();
                keys.order_by(Ord::cmp);
                while bytes > bounds.list_bytes && keys.len() > bounds.elements {
                    let gone = keys.pop().and_then(|key| map.remove(&key));
                    bytes = bytes.saturating_sub(gone.as_ref().map(weight).unwrap_or_default());
                }
                let entries = map.iter_mut().filter(|(key, _)| !is_kept(key));
                entries.for_each(|(_, value)| shorten_value(value, bounds, kept));
            }
            value => shorten_value(value, bounds, kept),
        }
    }
    for (field, count) in left_out {
        tell_left_out(message, &field, count);
    }
}

fn is_kept_metadata(field: &FieldDescriptor, key: &MapKey) -> bool {
    let key = key.as_str().unwrap_or_default();
    field.name() == "metadata" && (METADATA_KEPT.contains(&key) || key.starts_with(RESERVED_PREFIX))
}

fn shorten_value(value: &mut Value, bounds: Bounds, kept: &[String]) {
    match value {
        Value::Message(message) => shorten(message, bounds, kept),
        Value::String(text) => shorten_text(text, bounds.text_bytes),
        Value::Bytes(bytes) if bytes.len() > bounds.text_bytes => bytes.clear(),
        _ => {}
    }
}

/// Cut between characters, the mark within the bound. One that is too short for the mark is left out.
fn shorten_text(text: &mut String, bytes_max: usize) {
    if text.len() <= bytes_max {
        return;
    }
    let end = bytes_max.saturating_sub(GOES_ON.len_utf8());
    let end = (0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    if end > 0 {
        text.push(GOES_ON);
    }
}

/// Takes elements off the end; gives how many.
fn shorten_list(list: &mut Vec<Value>, bounds: Bounds) -> u64 {
    // It has been cut before, by whoever emitted it or here.
    let mut gone =
        list.last().and_then(|last| left_out(last.as_str()?)).inspect(|_| drop(list.pop())).unwrap_or_default();
    let mut bytes = list.iter().map(weight).sum::<usize>();
    while bytes > bounds.list_bytes && list.len() > bounds.elements {
        bytes = bytes.saturating_sub(list.pop().as_ref().map(weight).unwrap_or_default());
        gone = gone.saturating_add(1);
    }
    gone
}

fn tell_left_out(message: &mut DynamicMessage, field: &FieldDescriptor, count: u64) {
    let counter = field.parent_message().get_field_by_name(&format!("more_{}", field.name()));
    let Some(counter) = counter else {
        if let Value::List(list) = message.get_field_mut(field)
            && field.kind() == prost_reflect::Kind::String
        {
            list.push(Value::String(and_more(count)));
        }
        return;
    };
    match message.get_field_mut(&counter) {
        Value::U32(more) => *more = more.saturating_add(u32::try_from(count).unwrap_or(u32::MAX)),
        Value::U64(more) => *more = more.saturating_add(count),
        Value::I32(more) => *more = more.saturating_add(i32::try_from(count).unwrap_or(i32::MAX)),
        Value::I64(more) => *more = more.saturating_add(i64::try_from(count).unwrap_or(i64::MAX)),
        _ => {}
    }
}

/// About how many bytes it takes.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Bytes(bytes) => bytes.len() + 2,
        Value::Message(message) => message.encoded_len() + 2,
        _ => 8,
    }
}

#[cfg(test)]
mod tests;
