//! Who this machine is towards the controller, when the token does not say.

use std::{fs, io, path::Path};

use ring::hmac;
use uuid::Uuid;

use crate::files;

/// Makes our identifier another one than those that other programs derive from the same machine id.
const APPLICATION: &[u8] = b"rodent node identifier, version 1";

/// Derives the node's identifier from the machine id, which itself never leaves: HMAC-SHA256 keyed with it, cut to a
/// UUID. A machine without one gets a random identifier that is kept in `state_directory`.
///
/// # Errors
/// When there is no machine id and the random one cannot be kept.
pub(super) fn node_id(machine_id: Option<&str>, state_directory: &Path) -> io::Result<String> {
    match machine_id.map(str::trim).filter(|id| id.len() >= 16) {
        Some(machine_id) => Ok(derive(machine_id)),
        None => kept(&state_directory.join("node-id")),
    }
}

fn derive(machine_id: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, machine_id.as_bytes()), APPLICATION);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&tag.as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn kept(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if Uuid::try_parse(text.trim()).is_ok() => return Ok(text.trim().to_owned()),
        // A version that did not write it durably may have left it empty when the power failed.
        Ok(_) => {
            tracing::warn!(path = %path.display(), "no node identifier stands there; the controller sees a new node")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = Uuid::new_v4().to_string();
    files::replace(path, format!("{id}\n").as_bytes())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_machine_is_always_the_same_node_and_does_not_give_its_machine_id_away() {
        let machine_id = "0123456789abcdef0123456789abcdef";
        let directory = Path::new("/nonexistent");
        let id = node_id(Some(machine_id), directory).expect("an id");
        assert_eq!(id, node_id(Some("0123456789abcdef0123456789abcdef\n"), directory).expect("an id"));
        assert_ne!(id, node_id(Some("1123456789abcdef0123456789abcdef"), directory).expect("an id"));
        assert!(Uuid::try_parse(&id).is_ok());
        assert!(!id.replace('-', "").contains(&machine_id[..8]));
    }

    #[test]
    fn a_machine_without_an_id_keeps_the_one_it_drew() {
        let directory = tempfile::tempdir().expect("a directory");
        let id = node_id(None, directory.path()).expect("an id");
        assert_eq!(node_id(Some(""), directory.path()).expect("an id"), id);
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 1, "nothing half-written is left");
    }

    #[test]
    fn an_identifier_that_cannot_be_kept_whole_is_not_kept_at_all() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("node-id.new")).expect("in the way");
        node_id(None, directory.path()).expect_err("it could not be kept");
        assert!(!directory.path().join("node-id").exists());
    }
}
