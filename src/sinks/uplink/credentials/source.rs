//! A credential that stands in files: followed, and told of when its files cannot be used.

use std::{error::Error, io, path::Path};

use crate::{
    files::{self, Followed, Look},
    telemetry::message,
};

/// The longest file that is read, bytes: four times the bundle of all public authorities.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a file that must be an ordinary one of bounded size.
pub(in crate::sinks::uplink) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    files::read_bounded(path, FILE_BYTES_MAX)
}

/// The value and its edition; read anew with `read` when the files have changed or could not be used. `what` it is, for
/// the log.
///
/// # Errors
/// When they cannot be used and never could: in one line, why.
pub(super) fn look<T: Clone + PartialEq, E: Error + 'static>(
    what: &'static str,
    followed: &mut Followed<T>,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<(T, u64), String> {
    match followed.look(read) {
        Look::Same | Look::Renewed => {}
        Look::Mended => tracing::info!(what, "the changed file can be used"),
        Look::Refused(error) => tracing::warn!(
            message_id = %message::CREDENTIALS_REFUSED,
            what,
            error,
            "a changed file cannot be used; what it held before stays in use"
        ),
    }
    followed.value().map(|(value, edition)| (value.clone(), edition))
}
