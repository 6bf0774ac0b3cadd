//! What reads the log on behalf of others. Each sink is a cursor over the same log: a slow one delays only itself, and
//! nothing it does reaches back.

mod batch;
mod compression;
mod delivery;
pub mod uplink;

pub use batch::{Batch, Packing};
pub use compression::{Compression, Message, Packer};
pub use delivery::{Delivery, Threshold};
