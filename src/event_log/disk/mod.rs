//! What lies on the disk, and how. Knows paths and bytes; nothing here knows of consumers.

pub(super) mod ballast;
pub(super) mod damage;
pub(super) mod durable;
pub(super) mod files;
pub(super) mod frame;
pub(super) mod generation;
pub(super) mod lock;
pub(super) mod manifest;
pub(super) mod quarantine;
pub(super) mod repair;
pub(super) mod row;
pub(super) mod salvage;
pub(super) mod slots;
pub(super) mod store;
pub(super) mod summary;
pub(super) mod volume;
