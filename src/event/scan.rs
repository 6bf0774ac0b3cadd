//! The head of an event, read from its bytes in one pass by tables that are made of the descriptors: nothing is decoded that
//! is not asked for, and nothing is allocated. For the ways that every event goes; people's reading goes through
//! [`EventView`](super::EventView).
//!
//! Always holds: what this reads is what the reflective reading reads. Whatever is unusual (a payload that stands twice, a
//! group, a field of another wire type, bytes that are no event) is left to that one: [`Tables::scan`] gives nothing then.
//!
//! Source: the protobuf encoding (base-128 varints, keys, length-delimited fields).

use std::{mem, str};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::order::Sorted as _;
use crate::visible::is_hidden;

/// Messages within messages that are followed; deeper ones are left to the reflective reading.
const DEPTH_MAX: u32 = 16;

/// The longest varint, bytes.
const VARINT_BYTES_MAX: usize = 10;

/// Wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

/// What every event is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned<'a> {
    pub(super) id: &'a str,
    pub(super) level: i32,
    pub(super) category: i32,
    pub(super) timestamp: i64,
    /// A metadata key that begins as the agent's own do.
    pub(super) reserved_key: Option<&'a str>,
    /// A metadata key with characters that nobody sees.
    pub(super) hidden_key: Option<&'a str>,
    /// Numbers of the wrapper's field and of the payload's in it, and the payload's bytes.
    pub(super) payload: Option<(u32, u32, &'a [u8])>,
}

/// By message, what its fields look like on the wire.
#[derive(Debug)]
pub(super) struct Tables {
    /// That of an event is the first.
    messages: Vec<Table>,
    /// Numbers of the fields of an event.
    id: u32,
    level: u32,
    category: u32,
    timestamp: u32,
    metadata: u32,
}

/// Place of the table of an event.
const EVENT: u16 = 0;

/// The fields of a message.
#[derive(Debug)]
struct Table {
    /// By number: those that take one byte on the wire, which most are.
    near: [Shape; NEAR],
    /// All others, in the order of their numbers.
    far: Vec<(u32, Shape)>,
}

/// Fields of smaller numbers have keys of one byte.
const NEAR: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// This schema has no such field.
    Unknown,
    Varint,
    Fixed64,
    Fixed32,
    Text,
    Bytes,
    /// Place of its table.
    Message(u16),
    /// Likewise: a category's wrapper, or a payload within one. Of these one stands in an event, and once.
    Member(u16),
    /// One that this does not read.
    Odd,
}

/// A field as it lies there.
enum Value<'a> {
    Varint(u64),
    /// Text in UTF-8.
    Text(&'a [u8]),
    /// Place of its table, and its bytes, which nobody has checked.
    Message(u16, &'a [u8]),
    Member(u16, &'a [u8]),
    /// One that nobody asks for.
    Other,
}

/// Nothing, for what is not usual.
type Usual<T> = Option<T>;

impl Tables {
    /// Of `rodent.events.Event`, whose fields these are: identifier, level, category, time, metadata.
    pub(super) fn of(event: &MessageDescriptor, fields: [&FieldDescriptor; 5]) -> Tables {
        let [id, level, category, timestamp, metadata] = fields.map(FieldDescriptor::number);
        let mut tables = Tables { messages: Vec::new(), id, level, category, timestamp, metadata };
        tables.add(event, &mut Vec::new());
        tables
    }

    fn add(&mut self, message: &MessageDescriptor, known: &mut Vec<(String, usize)>) -> usize {
        if let Some((_, place)) = known.iter().find(|(name, _)| name == message.full_name()) {
            return *place;
        }
        let place = self.messages.len();
        known.push((message.full_name().to_owned(), place));
        self.messages.push(Table { near: [Shape::Unknown; NEAR], far: Vec::new() });
        let shapes: Vec<_> = message.fields().map(|field| (field.number(), self.shape(&field, known))).collect();
        if let Some(own) = self.messages.get_mut(place) {
            *own = Table::of(shapes);
        }
        place
    }

    fn shape(&mut self, field: &FieldDescriptor, known: &mut Vec<(String, usize)>) -> Shape {
        let is_member =
            field.containing_oneof().is_some_and(|oneof| ["event_payload", "event_type"].contains(&oneof.name()));
        match field.kind() {
            Kind::String => Shape::Text,
            Kind::Bytes => Shape::Bytes,
            Kind::Message(message) if !field.is_group() => match u16::try_from(self.add(&message, known)) {
                Ok(place) if is_member => Shape::Member(place),
                Ok(place) => Shape::Message(place),
                Err(_) => Shape::Odd,
            },
            // Many numbers may lie in one field.
            _ if field.is_list() => Shape::Odd,
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Shape::Fixed64,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Shape::Fixed32,
            Kind::Message(_) => Shape::Odd,
            _ => Shape::Varint,
        }
    }

    /// The head of an encoded event; nothing where its reading is left to others.
    pub(super) fn scan<'a>(&self, bytes: &'a [u8], reserved: &str) -> Usual<Scanned<'a>> {
        let (mut scanned, mut has_wrapper) = (Scanned::default(), false);
        self.each(EVENT, bytes, |number, value| {
            match value {
                Value::Varint(value) if number == self.level => scanned.level = value as i32,
                Value::Varint(value) if number == self.category => scanned.category = value as i32,
                Value::Varint(value) if number == self.timestamp => scanned.timestamp = value as i64,
                Value::Text(id) if number == self.id => scanned.id = str::from_utf8(id).ok()?,
                Value::Message(place, entry) if number == self.metadata => {
                    let key = self.key(place, entry)?;
                    if key.starts_with(reserved) {
                        scanned.reserved_key.get_or_insert(key);
                    }
                    if !key.bytes().all(|byte| byte.is_ascii_graphic()) && key.chars().any(is_hidden) {
                        scanned.hidden_key.get_or_insert(key);
                    }
                }
                Value::Message(place, bytes) => self.check(place, bytes, 1)?,
                Value::Member(place, bytes) => {
                    (!mem::replace(&mut has_wrapper, true)).then_some(())?;
                    let payload = self.payload(place, bytes)?;
                    scanned.payload = payload.map(|(member, bytes)| (number, member, bytes));
                }
                Value::Text(_) | Value::Varint(_) | Value::Other => {}
            }
            Some(())
        })?;
        Some(scanned)
    }

    /// The payload in a category's wrapper, where it has one, by its number.
    fn payload<'a>(&self, place: u16, wrapper: &'a [u8]) -> Usual<Option<(u32, &'a [u8])>> {
        let mut found = None;
        self.each(place, wrapper, |number, value| match value {
            Value::Member(place, bytes) => {
                self.check(place, bytes, 2)?;
                found.replace((number, bytes)).is_none().then_some(())
            }
            Value::Message(place, bytes) => self.check(place, bytes, 2),
            _ => Some(()),
        })?;
        Some(found)
    }

    /// The key of an entry of a map by text.
    fn key<'a>(&self, place: u16, entry: &'a [u8]) -> Usual<&'a str> {
        let mut key = "";
        self.each(place, entry, |number, value| match value {
            Value::Text(text) if number == 1 => {
                key = str::from_utf8(text).ok()?;
                Some(())
            }
            Value::Message(place, bytes) | Value::Member(place, bytes) => self.check(place, bytes, 2),
            _ => Some(()),
        })?;
        Some(key)
    }

    /// Whether everything in a message is as its schema says.
    fn check(&self, place: u16, message: &[u8], depth: u32) -> Usual<()> {
        (depth <= DEPTH_MAX).then_some(())?;
        self.each(place, message, |_, value| match value {
            Value::Message(place, bytes) | Value::Member(place, bytes) => self.check(place, bytes, depth + 1),
            _ => Some(()),
        })
    }

    /// Gives every field of a message, which are as its schema says; what lies within messages is for `take` to check.
    #[inline(always)]
    fn each<'a>(&self, place: u16, mut rest: &'a [u8], mut take: impl FnMut(u32, Value<'a>) -> Usual<()>) -> Usual<()> {
        let table = self.messages.get(usize::from(place))?;
        while !rest.is_empty() {
            let (number, wire) = key(&mut rest)?;
            let value = match (wire, table.shape(number)) {
                (VARINT, shape @ (Shape::Varint | Shape::Unknown)) => match (varint(&mut rest)?, shape) {
                    (value, Shape::Varint) => Value::Varint(value),
                    _ => Value::Other,
                },
                (DELIMITED, shape) => match (delimited(&mut rest)?, shape) {
                    (bytes, Shape::Text) => {
                        (bytes.is_ascii() || str::from_utf8(bytes).is_ok()).then_some(Value::Text(bytes))?
                    }
                    (bytes, Shape::Message(place)) => Value::Message(place, bytes),
                    (bytes, Shape::Member(place)) => Value::Member(place, bytes),
                    (_, Shape::Bytes | Shape::Unknown) => Value::Other,
                    _ => return None,
                },
                (FIXED64, Shape::Fixed64 | Shape::Unknown) => taken(&mut rest, 8).map(|_| Value::Other)?,
                (FIXED32, Shape::Fixed32 | Shape::Unknown) => taken(&mut rest, 4).map(|_| Value::Other)?,
                _ => return None,
            };
            take(number, value)?;
        }
        Some(())
    }
}

impl Table {
    fn of(shapes: Vec<(u32, Shape)>) -> Table {
        let mut table = Table { near: [Shape::Unknown; NEAR], far: Vec::new() };
        for (number, shape) in shapes {
            match table.near.get_mut(number as usize) {
                Some(place) => *place = shape,
                None => table.far.push((number, shape)),
            }
        }
        table.far.order_by_key(|(number, _)| *number);
        table
    }

    #[inline(always)]
    fn shape(&self, number: u32) -> Shape {
        if let Some(shape) = self.near.get(number as usize) {
            return *shape;
        }
        let found = self.far.binary_search_by_key(&number, |(number, _)| *number);
        found.ok().and_then(|at| self.far.get(at)).map_or(Shape::Unknown, |(_, shape)| *shape)
    }
}

/// The last value of each of these text fields in a message that was checked, in their order.
pub(super) fn texts<'a>(message: &'a [u8], numbers: &[u32]) -> Usual<Vec<Option<&'a str>>> {
    let (mut found, mut rest) = (vec![None; numbers.len()], message);
    while !rest.is_empty() {
        let (number, wire) = key(&mut rest)?;
        let place = numbers.iter().position(|own| *own == number);
        match (wire, place.and_then(|place| found.get_mut(place))) {
            (DELIMITED, Some(found)) => *found = Some(str::from_utf8(delimited(&mut rest)?).ok()?),
            _ => skip(&mut rest, wire)?,
        }
    }
    Some(found)
}

/// The last value of an enum's field in a message that was checked; 0 where it does not stand there.
pub(super) fn enumerator(message: &[u8], wanted: u32) -> Usual<i32> {
    let (mut found, mut rest) = (0, message);
    while !rest.is_empty() {
        match key(&mut rest)? {
            (number, VARINT) if number == wanted => found = varint(&mut rest)? as i32,
            (_, wire) => skip(&mut rest, wire)?,
        }
    }
    Some(found)
}

/// Number and wire type of the next field.
#[inline(always)]
fn key(rest: &mut &[u8]) -> Usual<(u32, u32)> {
    let key = u32::try_from(varint(rest)?).ok()?;
    (key >> 3 != 0).then_some((key >> 3, key & 7))
}

#[inline(always)]
fn skip(rest: &mut &[u8], wire: u32) -> Usual<()> {
    match wire {
        VARINT => varint(rest).map(|_| ()),
        FIXED64 => taken(rest, 8).map(|_| ()),
        DELIMITED => delimited(rest).map(|_| ()),
        FIXED32 => taken(rest, 4).map(|_| ()),
        _ => None,
    }
}

#[inline(always)]
fn delimited<'a>(rest: &mut &'a [u8]) -> Usual<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    taken(rest, length)
}

#[inline(always)]
fn taken<'a>(rest: &mut &'a [u8], length: usize) -> Usual<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[inline(always)]
fn varint(rest: &mut &[u8]) -> Usual<u64> {
    match rest.split_first()? {
        (byte, left) if *byte < 0x80 => {
            *rest = left;
            Some(u64::from(*byte))
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Usual<u64> {
    let (mut value, mut shift) = (0u64, 0);
    for (at, byte) in rest.iter().enumerate().take(VARINT_BYTES_MAX) {
        // The tenth byte holds the last bit of 64.
        if at == VARINT_BYTES_MAX - 1 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            *rest = rest.get(at + 1..)?;
            return Some(value);
        }
    }
    None
}
