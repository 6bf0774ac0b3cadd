//! The head of an event, read from its bytes in one pass by tables that are made of the descriptors: nothing is decoded that
//! is not asked for, and nothing is allocated. For the ways that every event goes; people's reading goes through
//! [`EventView`](super::EventView).
//!
//! Always holds: what this reads is what the reflective reading reads. Whatever is unusual (a payload that stands twice, a
//! group, a field of another wire type, bytes that are no event) is left to that one: [`Tables::scan`] gives nothing then.
//!
//! Source: the protobuf encoding (base-128 varints, keys, length-delimited fields).

use std::str;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::order::Sorted as _;
use crate::visible::is_hidden;

/// Messages within messages that are followed; deeper ones are left to the reflective reading.
const DEPTH_MAX: u32 = 16;

/// The longest varint, bytes.
const VARINT_BYTES_MAX: usize = 10;

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
    messages: Vec<Table>,
    /// Numbers of the fields of an event.
    id: u32,
    level: u32,
    category: u32,
    timestamp: u32,
    metadata: u32,
}

/// The fields of a message, by number.
#[derive(Debug, Default)]
struct Table {
    rules: Vec<Rule>,
    /// Where the rules of the numbers below stand, without a search.
    places: [Option<u8>; PLACES],
}

/// Most fields have smaller numbers.
const PLACES: usize = 32;

/// One field.
#[derive(Debug)]
struct Rule {
    number: u32,
    shape: Shape,
    /// Whether it holds a category's wrapper, or a payload within one: of these one stands in an event, and once.
    is_member: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Varint,
    Fixed64,
    Fixed32,
    Text,
    Bytes,
    /// Place of its table.
    Message(usize),
    /// One that this does not read.
    Odd,
}

/// A field as it lies there.
enum Value<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
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
        self.messages.push(Table::default());
        let mut rules: Vec<_> = message.fields().map(|field| self.rule(&field, known)).collect();
        rules.order_by_key(|rule| rule.number);
        if let Some(own) = self.messages.get_mut(place) {
            *own = Table::of(rules);
        }
        place
    }

    fn rule(&mut self, field: &FieldDescriptor, known: &mut Vec<(String, usize)>) -> Rule {
        let shape = match field.kind() {
            Kind::String => Shape::Text,
            Kind::Bytes => Shape::Bytes,
            Kind::Message(message) if !field.is_group() => Shape::Message(self.add(&message, known)),
            // Many numbers may lie in one field.
            _ if field.is_list() => Shape::Odd,
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Shape::Fixed64,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Shape::Fixed32,
            Kind::Message(_) => Shape::Odd,
            _ => Shape::Varint,
        };
        let is_member =
            field.containing_oneof().is_some_and(|oneof| ["event_payload", "event_type"].contains(&oneof.name()));
        Rule { number: field.number(), shape, is_member }
    }

    /// The head of an encoded event; nothing where its reading is left to others.
    pub(super) fn scan<'a>(&self, bytes: &'a [u8], reserved: &str) -> Usual<Scanned<'a>> {
        let mut scanned = Scanned::default();
        let (mut wrapper, mut rest) = (None, bytes);
        while !rest.is_empty() {
            let (number, value) = field(&mut rest)?;
            match (self.check(0, number, &value, 0)?, value) {
                (_, Value::Varint(value)) if number == self.level => scanned.level = value as i32,
                (_, Value::Varint(value)) if number == self.category => scanned.category = value as i32,
                (_, Value::Varint(value)) if number == self.timestamp => scanned.timestamp = value as i64,
                (_, Value::Bytes(value)) if number == self.id => scanned.id = str::from_utf8(value).ok()?,
                (_, Value::Bytes(value)) if number == self.metadata => {
                    let key = key(value)?;
                    if key.starts_with(reserved) {
                        scanned.reserved_key.get_or_insert(key);
                    }
                    if !key.bytes().all(|byte| byte.is_ascii_graphic()) && key.chars().any(is_hidden) {
                        scanned.hidden_key.get_or_insert(key);
                    }
                }
                (Some(Rule { is_member: true, shape: Shape::Message(place), .. }), Value::Bytes(value)) => {
                    let before = wrapper.replace((number, *place, value));
                    before.is_none().then_some(())?;
                }
                _ => {}
            }
        }
        if let Some((wrapper, place, mut rest)) = wrapper {
            while !rest.is_empty() {
                let (number, value) = field(&mut rest)?;
                let is_member = self.find(place, number).is_some_and(|rule| rule.is_member);
                if let Value::Bytes(value) = value
                    && is_member
                    && scanned.payload.replace((wrapper, number, value)).is_some()
                {
                    return None;
                }
            }
        }
        Some(scanned)
    }

    fn find(&self, place: usize, number: u32) -> Option<&Rule> {
        self.messages.get(place)?.find(number)
    }

    /// The rule of a field whose value is as it says, with everything in it; no rule where the field is not known.
    fn check(&self, place: usize, number: u32, value: &Value<'_>, depth: u32) -> Usual<Option<&Rule>> {
        let Some(rule) = self.find(place, number) else { return Some(None) };
        match (rule.shape, value) {
            (Shape::Varint, Value::Varint(_)) | (Shape::Bytes, Value::Bytes(_)) => {}
            (Shape::Text, Value::Bytes(bytes)) => _ = str::from_utf8(bytes).ok()?,
            (Shape::Message(place), Value::Bytes(bytes)) if depth < DEPTH_MAX => {
                let mut rest = *bytes;
                while !rest.is_empty() {
                    let (number, value) = field_of_width(&mut rest)?;
                    self.check_of_width(place, number, value, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(Some(rule))
    }

    fn check_of_width(&self, place: usize, number: u32, (value, width): (Value<'_>, u32), depth: u32) -> Usual<()> {
        match (self.find(place, number).map(|rule| rule.shape), &value, width) {
            (Some(Shape::Fixed64), Value::Fixed, 8) | (Some(Shape::Fixed32), Value::Fixed, 4) => Some(()),
            _ => self.check(place, number, &value, depth).map(|_| ()),
        }
    }
}

impl Table {
    /// Of rules in the order of their numbers.
    fn of(rules: Vec<Rule>) -> Table {
        let mut places = [None; PLACES];
        for (at, rule) in rules.iter().enumerate() {
            if let Some(place) = places.get_mut(rule.number as usize) {
                *place = u8::try_from(at).ok();
            }
        }
        Table { rules, places }
    }

    #[inline]
    fn find(&self, number: u32) -> Option<&Rule> {
        let at = match self.places.get(number as usize) {
            Some(place) => usize::from((*place)?),
            None => self.rules.binary_search_by_key(&number, |rule| rule.number).ok()?,
        };
        self.rules.get(at)
    }
}

/// Numbers of the wrapper's field and of the payload's in it, and the payload's bytes: of the field of an event that this
/// program has encoded.
pub(super) fn payload(mut encoded: &[u8]) -> Usual<(u32, u32, &[u8])> {
    let (wrapper, Value::Bytes(mut rest)) = field(&mut encoded)? else { return None };
    let (member, Value::Bytes(payload)) = field(&mut rest)? else { return None };
    (encoded.is_empty() && rest.is_empty()).then_some((wrapper, member, payload))
}

/// The last value of each of these text fields in a message that was checked, in their order.
pub(super) fn texts<'a>(message: &'a [u8], numbers: &[u32]) -> Usual<Vec<Option<&'a str>>> {
    let (mut found, mut rest) = (vec![None; numbers.len()], message);
    while !rest.is_empty() {
        let (number, value) = field(&mut rest)?;
        if let (Some(place), Value::Bytes(bytes)) = (numbers.iter().position(|own| *own == number), value)
            && let Some(found) = found.get_mut(place)
        {
            *found = Some(str::from_utf8(bytes).ok()?);
        }
    }
    Some(found)
}

/// The last value of an enum's field in a message that was checked; 0 where it does not stand there.
pub(super) fn enumerator(message: &[u8], wanted: u32) -> Usual<i32> {
    let (mut found, mut rest) = (0, message);
    while !rest.is_empty() {
        if let (number, Value::Varint(value)) = field(&mut rest)?
            && number == wanted
        {
            found = value as i32;
        }
    }
    Some(found)
}

/// The key of an entry of a map by text.
fn key(entry: &[u8]) -> Usual<&str> {
    let (mut key, mut rest) = ("", entry);
    while !rest.is_empty() {
        if let (1, Value::Bytes(bytes)) = field(&mut rest)? {
            key = str::from_utf8(bytes).ok()?;
        }
    }
    Some(key)
}

#[inline]
fn field<'a>(rest: &mut &'a [u8]) -> Usual<(u32, Value<'a>)> {
    field_of_width(rest).map(|(number, (value, _))| (number, value))
}

/// The next field, and how wide it is where it is a fixed number.
#[inline]
fn field_of_width<'a>(rest: &mut &'a [u8]) -> Usual<(u32, (Value<'a>, u32))> {
    let key = u32::try_from(varint(rest)?).ok()?;
    let (number, wire) = (key >> 3, key & 7);
    let value = match wire {
        0 => (Value::Varint(varint(rest)?), 0),
        1 => {
            take(rest, 8)?;
            (Value::Fixed, 8)
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            (Value::Bytes(take(rest, length)?), 0)
        }
        5 => {
            take(rest, 4)?;
            (Value::Fixed, 4)
        }
        _ => return None,
    };
    (number != 0).then_some((number, value))
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Usual<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[inline]
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
