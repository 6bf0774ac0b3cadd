//! What lies on the disk, and how. Knows paths and bytes; nothing here knows of readers, writers or consumers.

pub(super) mod slots;
pub(super) mod volume;
