//! The wire as Rust types: generated from `proto/` at build time, with the descriptors that names, filters, JSON and
//! text are derived from. Everyone may name this module; it names nobody.

#![allow(unreachable_pub, reason = "generated: the comments stand in the .proto files")]
#![allow(clippy::all, reason = "generated")]

use std::{io::Read as _, sync::LazyLock};

use flate2::read::GzDecoder;
use prost_reflect::DescriptorPool;

mod document;
pub mod rpc;

pub use document::document;

/// Package `rodent`: the service between node and controller.
pub mod wire {
    tonic::include_proto!("rodent");

    /// Package `rodent.events`: the events.
    pub mod events {
        tonic::include_proto!("rodent.events");
    }
}

pub use wire::events;

/// Package `rodent.meaning`: what the schema says about events.
pub mod meaning {
    tonic::include_proto!("rodent.meaning");
}

/// Package `rodent.local`: the agent's Unix socket.
pub mod local {
    tonic::include_proto!("rodent.local");

    /// Where it lies, unless the configuration says otherwise.
    pub const SOCKET: &str = "/run/rodent/rodent.sock";

    /// The message that tells how the agent is doing.
    pub const STATUS: &str = "rodent.local.StatusResponse";

    /// The message that tells how things are.
    pub const STATES: &str = "rodent.local.StateResponse";

    /// Before the name of a program's consumer, in the log and wherever all consumers are shown.
    pub const PROGRAM_PREFIX: &str = "program.";

    /// What a program calls its consumer, by the name of its cursor; of others that name.
    pub fn own_name(cursor: &str) -> &str {
        cursor.strip_prefix(PROGRAM_PREFIX).unwrap_or(cursor)
    }

    impl SubjectState {
        /// How bad it is now.
        pub fn level(&self) -> StateLevel {
            self.changes.first().map_or(StateLevel::Ok, StateChange::level)
        }
    }

    impl StateLevel {
        /// In a word.
        pub fn word(self) -> &'static str {
            match self {
                Self::Ok => "ok",
                Self::Warn => "warn",
                Self::Error => "error",
                Self::Critical => "critical",
            }
        }
    }

    impl consumer_status::State {
        /// Each.
        pub const ALL: [Self; 7] =
            [Self::Off, Self::Connecting, Self::Connected, Self::Waiting, Self::Held, Self::Unattached, Self::Paused];

        /// In a word, for people, metrics and the status of the uplink.
        pub fn word(self) -> &'static str {
            match self {
                Self::Off => "off",
                Self::Connecting => "connecting",
                Self::Connected => "connected",
                Self::Waiting => "waiting",
                Self::Held => "held",
                Self::Unattached => "unattached",
                Self::Paused => "paused",
            }
        }
    }
}

/// Package `grpc.reflection.v1`: how clients without .proto files learn what the socket has.
pub mod reflection {
    tonic::include_proto!("grpc.reflection.v1");
}

/// The descriptors of every message above.
pub static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(descriptors().as_slice()).expect("written by our own build"));

/// The same as an encoded set of files, in the order of the pool.
pub fn descriptors() -> Vec<u8> {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin.gz"));
    let mut descriptors = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut descriptors).expect("the build has packed them");
    descriptors
}

/// A message that can be the payload of an event. Implemented by the build for every payload of the schema.
pub trait Payload: prost::Message + Sized {
    const CATEGORY: events::EventCategory;
    /// Category and subject: the first two parts of the kind.
    const SUBJECT: &'static str;
    /// Full protobuf name of the message.
    const MESSAGE: &'static str;
    fn into_event_payload(self) -> events::event::EventPayload;
}

include!(concat!(env!("OUT_DIR"), "/payloads.rs"));
