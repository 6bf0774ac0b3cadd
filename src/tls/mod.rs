//! Certificates, keys and what they are written in, for both ends of a connection: the uplink proves itself with them, the
//! controller shows its own. A ground room.
//!
//! Always holds: keys are part of no message; what stands in a file that is none of ours panics nowhere.

mod certificate;
mod der;

pub use certificate::{Identity, IdentityError, certificates_of, validity};
pub use der::{Der, tag};
