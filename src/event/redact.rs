//! Fields that the schema marks as secret, or with `[debug_redact = true]`: they are stored and uploaded, but never shown.

use std::{collections::HashSet, sync::LazyLock};

use prost_reflect::FieldDescriptor;

use super::meaning::{Options, Role};
use crate::schema::DESCRIPTORS;

/// What stands in the place of a redacted value. Read back, it leaves the field unset.
pub const MASK: &str = "[redacted]";

/// Full names of the fields of the compiled schema. Options are decoded anew at every look, so one look is taken for all.
static REDACTED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let fields = DESCRIPTORS.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
    fields.filter(is_marked).map(|field| field.full_name().to_owned()).collect()
});

/// Whether the value of this field must not be shown.
pub fn is_redacted(field: &FieldDescriptor) -> bool {
    match field.parent_pool() == &*DESCRIPTORS {
        true => REDACTED.contains(field.full_name()),
        false => is_marked(field),
    }
}

fn is_marked(field: &FieldDescriptor) -> bool {
    let is_secret = || Options::of(field.parent_pool()).is_some_and(|its| its.roles(field).contains(&Role::Secret));
    has_option(field) || is_secret()
}

fn has_option(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|option| option.as_bool() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_read_from_the_schema() {
        let response = DESCRIPTORS.get_message_by_name("rodent.RegisterResponse").expect("in the schema");
        let redacted: Vec<_> = response.fields().filter(is_redacted).map(|f| f.name().to_owned()).collect();
        assert_eq!(redacted, ["private_key"]);
    }
}
