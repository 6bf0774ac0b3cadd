//! Turns the .proto files into Rust: the messages and services (by protox, so that no protoc is needed), the
//! descriptors that everything generic is derived from, and one emitting method for each payload.

use std::{env, fmt::Write as _, fs, io::Write as _, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use prost_reflect::{DescriptorPool, MessageDescriptor};

const FILES: [&str; 5] = [
    "proto/base.proto",
    "proto/events/event_messages.proto",
    "proto/local.proto",
    "proto/meaning.proto",
    "proto/reflection.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).open_files(FILES)?;
    let encoded = compiler.encode_file_descriptor_set();
    // A sixth of the room in every program.
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&encoded)?;
    fs::write(out.join("descriptors.bin.gz"), packed.finish()?)?;

    let mut config = tonic_prost_build::Config::new();
    // Deterministic bytes: maps are written in the order of their keys.
    config.btree_map(["."]);
    config.bytes([".rodent.local", ".grpc.reflection"]);
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        // `connect` is a method of the contract; channels are made by hand.
        .build_transport(false)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;

    let pool = DescriptorPool::decode(encoded.as_slice())?;
    let event = pool.get_message_by_name("rodent.events.Event").ok_or("no message rodent.events.Event")?;
    let (mut payloads, mut methods) = (String::new(), String::from("impl Emitter {\n"));
    for (category, wrapper) in members(&event, "event_payload") {
        for (subject, payload) in members(&wrapper, "event_type") {
            let names = Names::new(&category, &wrapper, &subject, &payload);
            names.write_payload(&mut payloads)?;
            names.write_method(&mut methods)?;
        }
    }
    methods.push_str("}\n");
    fs::write(out.join("payloads.rs"), payloads)?;
    fs::write(out.join("emitter_methods.rs"), methods)?;
    Ok(())
}

/// Field name and message of each member of a oneof, by number.
fn members(message: &MessageDescriptor, oneof: &str) -> Vec<(String, MessageDescriptor)> {
    let Some(oneof) = message.oneofs().find(|o| o.name() == oneof) else { return Vec::new() };
    let mut fields: Vec<_> = oneof.fields().collect();
    fields.sort_by_key(|f| f.number());
    fields.iter().filter_map(|f| f.kind().as_message().map(|m| (f.name().to_owned(), m.clone()))).collect()
}

struct Names {
    category: String,
    subject: String,
    category_variant: String,
    subject_variant: String,
    wrapper: String,
    wrapper_module: String,
    payload: String,
    payload_full: String,
}

impl Names {
    fn new(category: &str, wrapper: &MessageDescriptor, subject: &str, payload: &MessageDescriptor) -> Self {
        Names {
            category: category.trim_end_matches("_event").to_owned(),
            subject: subject.trim_end_matches("_event").to_owned(),
            category_variant: camel(category),
            subject_variant: camel(subject),
            wrapper: rust_type(wrapper.name()),
            wrapper_module: snake(wrapper.name()),
            payload: rust_type(payload.name()),
            payload_full: payload.full_name().to_owned(),
        }
    }

    fn write_payload(&self, out: &mut String) -> std::fmt::Result {
        let Names {
            category,
            subject,
            category_variant,
            subject_variant,
            wrapper,
            wrapper_module,
            payload,
            payload_full,
        } = self;
        writeln!(
            out,
            "impl Payload for events::{payload} {{
    const CATEGORY: events::EventCategory = events::EventCategory::{};
    const SUBJECT: &'static str = \"{category}.{subject}\";
    const MESSAGE: &'static str = \"{payload_full}\";
    fn into_event_payload(self) -> events::event::EventPayload {{
        events::event::EventPayload::{category_variant}(events::{wrapper} {{
            event_type: Some(events::{wrapper_module}::EventType::{subject_variant}(self)),
        }})
    }}
}}",
            camel(category)
        )
    }

    fn write_method(&self, out: &mut String) -> std::fmt::Result {
        let Names { category, subject, payload, .. } = self;
        writeln!(
            out,
            "    /// Emits an event of `{category}.{subject}`.
    ///
    /// # Errors
    /// As [`Emitter::emit`].
    pub async fn {category}_{subject}(
        &self,
        level: Level,
        payload: crate::schema::events::{payload},
        metadata: Metadata,
    ) -> Result<Outcome, EmitError> {{
        self.emit(level, payload, metadata).await
    }}"
        )
    }
}

/// `storage_event` → `StorageEvent`.
fn camel(snake: &str) -> String {
    snake
        .split('_')
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

/// `StoragePoolPayload` → `storage_pool_payload`, `AccessACLPayload` → `access_acl_payload`.
fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, &c) in letters.iter().enumerate() {
        let starts_word = c.is_ascii_uppercase()
            && i > 0
            && (letters[i - 1].is_ascii_lowercase() || letters.get(i + 1).is_some_and(|n| n.is_ascii_lowercase()));
        if starts_word {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The name prost gives a message: `AccessACLPayload` → `AccessAclPayload`.
fn rust_type(name: &str) -> String {
    camel(&snake(name))
}
