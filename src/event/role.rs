//! The parts that fields play, as the schema marks them: what names the thing, and what is stored and uploaded but never shown.

use std::{collections::HashSet, sync::LazyLock};

use prost_reflect::{FieldDescriptor, Value};

use crate::schema::DESCRIPTORS;
pub use crate::schema::meaning::Role;

/// What stands in the place of a redacted value. Read back, it leaves the field unset.
pub const MASK: &str = "[redacted]";

/// Full names of fields of the compiled schema. Options are decoded anew at every look, so one look is taken for all.
type Marked = LazyLock<HashSet<String>>;

static NAMING: Marked = LazyLock::new(|| marked(is_marked_naming));
static REDACTED: Marked = LazyLock::new(|| marked(is_marked_redacted));

fn marked(mark: fn(&FieldDescriptor) -> bool) -> HashSet<String> {
    let fields = DESCRIPTORS.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
    fields.filter(mark).map(|field| field.full_name().to_owned()).collect()
}

/// The parts that a field plays; none where the schema has no words for them.
pub(super) fn roles(field: &FieldDescriptor) -> Vec<Role> {
    let Some(role) = field.parent_pool().get_extension_by_name("rodent.meaning.role") else { return Vec::new() };
    let options = field.options();
    let roles = options.get_extension(&role);
    let numbers = roles.as_list().into_iter().flatten().filter_map(Value::as_enum_number);
    numbers.filter_map(|number| Role::try_from(number).ok()).collect()
}

/// Whether what this field holds names something, or is a number that is known by its digits.
pub(super) fn is_naming(field: &FieldDescriptor) -> bool {
    is(field, &NAMING, is_marked_naming)
}

/// Whether the value of this field must not be shown: the schema marks it as secret, or with `[debug_redact = true]`.
pub fn is_redacted(field: &FieldDescriptor) -> bool {
    is(field, &REDACTED, is_marked_redacted)
}

fn is(field: &FieldDescriptor, marked: &Marked, mark: fn(&FieldDescriptor) -> bool) -> bool {
    match field.parent_pool() == &*DESCRIPTORS {
        true => marked.contains(field.full_name()),
        false => mark(field),
    }
}

fn is_marked_naming(field: &FieldDescriptor) -> bool {
    roles(field).iter().any(|role| matches!(role, Role::PlainNumber | Role::Subject | Role::StandIn))
}

fn is_marked_redacted(field: &FieldDescriptor) -> bool {
    let option = |options: prost_reflect::DynamicMessage| {
        options.get_field_by_name("debug_redact").is_some_and(|option| option.as_bool() == Some(true))
    };
    option(field.options()) || roles(field).contains(&Role::Secret)
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
