//! JSON text into a value. A key that stands twice is refused, for readers differ in which of the two they believe.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::JsonError;

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Value, JsonError> {
    let document: Document = serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => JsonError::new(e.to_string()),
        _ => JsonError::new(format!("this is not JSON: {e}")),
    })?;
    Ok(document.0)
}

struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Document)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Document(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("the key \"{key}\" stands twice")));
            }
            let Document(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_as_they_stand() {
        let text = r#"{"a":[1,-2,1.5,null,true,"x"],"b":{"c":{}}}"#;
        assert_eq!(parse(text).expect("JSON").to_string(), text);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let error = parse(r#"{"a": {"b": 1, "b": 2}}"#).expect_err("twice").to_string();
        assert!(error.starts_with("the key \"b\" stands twice"), "{error}");
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let error = parse("{\"a\": }").expect_err("no JSON").to_string();
        assert_eq!(error, "this is not JSON: expected value at line 1 column 7");
    }
}
