//! Files as every room reads and replaces them. A ground room: tokens, keys, certificates, manifests and what collectors
//! remember come and go through it.
//!
//! Always holds: what is read is bounded; what is replaced is the old content or the new one, whole, whenever the power
//! fails; a file that is followed keeps its last good value; root acts by path only where nobody else decides what the path
//! means. All of it blocks.

mod followed;
mod owner;
mod read;
mod replace;

pub use followed::{Followed, Look};
pub use owner::{OwnerError, become_owner, refuse_others, refuse_others_within};
pub use read::{is_open_to_all, open, read_bounded, read_secret};
pub use replace::{remove, replace, replace_by, replace_for, sync_directory};
