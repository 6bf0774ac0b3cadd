//! Short names of enum values: `SYSTEM_CONFIG_OPERATION_RELOADED` is `reloaded`. The prefix is that of the zero value
//! (`SYSTEM_CONFIG_OPERATION_UNSPECIFIED`) and not of the enum's own name, with which it need not agree.

use prost_reflect::EnumDescriptor;

/// How the zero value of an enum ends when it means that nothing is said.
const UNSPECIFIED: &str = "UNSPECIFIED";

/// The short name of a number; `None` for a number that the schema does not know.
pub(super) fn short_name(enumeration: &EnumDescriptor, number: i32) -> Option<String> {
    let value = enumeration.get_value(number)?;
    Some(shorten(enumeration, value.name()))
}

/// The number of a value, named in short or in full, in any case.
pub(super) fn number(enumeration: &EnumDescriptor, name: &str) -> Option<i32> {
    enumeration
        .values()
        .find(|value| {
            value.name().eq_ignore_ascii_case(name) || shorten(enumeration, value.name()).eq_ignore_ascii_case(name)
        })
        .map(|value| value.number())
}

/// All short names in the order of the schema, the unspecified one left out.
pub(super) fn short_names(enumeration: &EnumDescriptor) -> Vec<String> {
    enumeration.values().filter(|v| v.number() != 0).map(|v| shorten(enumeration, v.name())).collect()
}

fn shorten(enumeration: &EnumDescriptor, name: &str) -> String {
    let zero = enumeration.default_value();
    let prefix = zero.name().strip_suffix(UNSPECIFIED).unwrap_or_default();
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::DESCRIPTORS;

    #[test]
    fn the_prefix_is_that_of_the_zero_value() {
        let name = "rodent.events.SystemConfigChangePayload.SystemConfigOperation";
        let enumeration = DESCRIPTORS.get_enum_by_name(name).expect("in the schema");
        assert_eq!(short_name(&enumeration, 2).as_deref(), Some("reloaded"));
        assert_eq!(short_name(&enumeration, 77), None);
        assert_eq!(number(&enumeration, "Reloaded"), Some(2));
        assert_eq!(number(&enumeration, "SYSTEM_CONFIG_OPERATION_RELOADED"), Some(2));
        assert_eq!(short_names(&enumeration), ["updated", "reloaded", "validated"]);
    }
}
