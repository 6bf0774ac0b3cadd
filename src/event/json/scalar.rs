//! One JSON value into one value of the schema. Numbers come as numbers or, as protobuf's JSON writes 64 bits, as text.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};
use prost_reflect::{EnumDescriptor, Kind, MapKey, Value};
use serde_json::Value as Json;

use super::JsonError;
use crate::{event::enumeration, words};

/// Text that is quoted in an error is cut here, letters.
const QUOTED_CHARS_MAX: usize = 60;
/// Doubles hold every whole number up to here.
const DOUBLE_WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads a scalar; `at` names the field in errors.
///
/// # Errors
/// When the type is wrong or the number out of range; says what came and what is expected.
pub(super) fn read(kind: &Kind, json: &Json, at: &str) -> Result<Value, JsonError> {
    let expected = |what: &str| wrong(at, json, what);
    match kind {
        Kind::Bool => json.as_bool().map(Value::Bool).ok_or_else(|| expected("true or false")),
        Kind::String => json.as_str().map(|s| Value::String(s.to_owned())).ok_or_else(|| expected("text")),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            whole::<i32>(json).map(Value::I32).ok_or_else(|| expected(&range(i32::MIN, i32::MAX)))
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            whole::<i64>(json).map(Value::I64).ok_or_else(|| expected(&range(i64::MIN, i64::MAX)))
        }
        Kind::Uint32 | Kind::Fixed32 => whole::<u32>(json).map(Value::U32).ok_or_else(|| expected(&range(0, u32::MAX))),
        Kind::Uint64 | Kind::Fixed64 => whole::<u64>(json).map(Value::U64).ok_or_else(|| expected(&range(0, u64::MAX))),
        Kind::Float => {
            single_precision(json).map(Value::F32).ok_or_else(|| expected("a number in the range of a float"))
        }
        Kind::Double => double(json).map(Value::F64).ok_or_else(|| expected("a number")),
        Kind::Bytes => bytes(json).ok_or_else(|| expected("text in base64")),
        Kind::Enum(enumeration) => read_enum(enumeration, json, at),
        Kind::Message(_) => Err(expected("an object")),
    }
}

/// Reads the key of a map's entry, which JSON always writes as text.
///
/// # Errors
/// When it is no key of this kind.
pub(super) fn read_key(kind: &Kind, key: &str, at: &str) -> Result<MapKey, JsonError> {
    let json = match (kind, key) {
        (Kind::Bool, "true") => Json::Bool(true),
        (Kind::Bool, "false") => Json::Bool(false),
        _ => key.into(),
    };
    let value = read(kind, &json, &format!("{at}, key"))?;
    value.into_map_key().ok_or_else(|| wrong(at, &json, "a key"))
}

/// `payload.size_bytes: "lots" (text), where a whole number … is expected`.
pub(super) fn wrong(at: &str, json: &Json, expected: &str) -> JsonError {
    let kind = match json {
        Json::Null => "null",
        Json::Bool(_) => "a flag",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    };
    let text = json.to_string();
    let mut quoted: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    JsonError::new(format!("{at}: {quoted} is {kind}, where {expected} is expected"))
}

fn range(min: impl std::fmt::Display, max: impl std::fmt::Display) -> String {
    format!("a whole number from {min} to {max}")
}

fn whole<T: TryFrom<i128>>(json: &Json) -> Option<T> {
    let number: i128 = match json {
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => whole_double(number.as_f64()?)?,
        },
        Json::String(text) => text.parse().ok()?,
        _ => return None,
    };
    T::try_from(number).ok()
}

/// `1e3` and `2.0` are whole too.
#[expect(clippy::cast_possible_truncation, reason = "without a fraction and within what a double holds exactly")]
fn whole_double(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() <= DOUBLE_WHOLE_MAX).then_some(number as i128)
}

fn double(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    }
}

/// A number beyond the range of a float is refused and does not turn into infinity.
#[expect(clippy::cast_possible_truncation, reason = "checked on the next line")]
fn single_precision(json: &Json) -> Option<f32> {
    let number = double(json)?;
    let single = number as f32;
    (single.is_finite() || !number.is_finite()).then_some(single)
}

fn bytes(json: &Json) -> Option<Value> {
    let text = json.as_str()?;
    let bytes = BASE64_STANDARD.decode(text).or_else(|_| BASE64_URL_SAFE.decode(text)).ok()?;
    Some(Value::Bytes(bytes.into()))
}

/// By its short name or its name in full, in any case; by number, known or not.
fn read_enum(enumeration: &EnumDescriptor, json: &Json, at: &str) -> Result<Value, JsonError> {
    if let Some(number) = whole::<i32>(json) {
        return Ok(Value::EnumNumber(number));
    }
    let Some(name) = json.as_str() else { return Err(wrong(at, json, "a name or a number")) };
    enumeration::number(enumeration, name).map(Value::EnumNumber).ok_or_else(|| {
        let names = enumeration::short_names(enumeration);
        let nearest = words::did_you_mean(words::nearest(name, names.iter().map(String::as_str)));
        JsonError::new(format!("{at}: there is no \"{name}\" among {}{nearest}", names.join(", ")))
    })
}
