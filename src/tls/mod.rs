//! Certificates, keys and what they are written in, for both ends of a connection: the uplink proves itself with them, the
//! controller shows its own, and whoever connects trusts the same authorities. A ground room.
//!
//! Always holds: keys are part of no message; what stands in a file that is none of ours panics nowhere.

mod certificate;
mod client;
mod der;

pub use certificate::{Identity, IdentityError, certificates_of, validity};
pub use client::{client, system_authorities};
pub use der::{Der, tag};
