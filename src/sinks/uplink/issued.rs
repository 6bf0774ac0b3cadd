//! The certificate that a controller has issued to this node, with its key: kept between runs.
//!
//! One file with both, so that they always belong together, readable by the agent alone; replaced durably or not at all.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    files,
    tls::{Identity, IdentityError},
};

/// Name of the file in its directory.
const FILE: &str = "issued.pem";

/// The longest certificate chain or key that is taken, bytes.
const PEM_BYTES_MAX: usize = 32 * 1024;

/// Why a certificate is not kept. Shows nothing of what the controller sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuedError {
    #[error("the controller issued a certificate that cannot be used")]
    Unusable(#[source] IdentityError),
    #[error("the controller issued a certificate or key of more than {PEM_BYTES_MAX} bytes")]
    TooLong,
    #[error("keep the issued certificate in {path}")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// Where the file lies.
pub(super) fn file_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Reads what [`keep`] wrote.
///
/// # Errors
/// When it is not what was written.
pub(super) fn parse(pem: &[u8]) -> Result<Identity, IdentityError> {
    Identity::from_pem(pem, pem)
}

/// Keeps a certificate and its key in `directory`, which only the owner may enter. Gives whether it is another one than
/// before. Blocking.
///
/// # Errors
/// When they do not belong together or cannot be written; what was kept before is kept on.
pub(super) fn keep(directory: &Path, certificate: &str, key: &str) -> Result<bool, IssuedError> {
    if certificate.len().max(key.len()) > PEM_BYTES_MAX {
        return Err(IssuedError::TooLong);
    }
    let content = [certificate.trim_end(), "\n", key.trim_end(), "\n"].concat();
    parse(content.as_bytes()).map_err(IssuedError::Unusable)?;
    let path = file_in(directory);
    if fs::read(&path).is_ok_and(|kept| kept == content.as_bytes()) {
        return Ok(false);
    }
    let written = replace(directory, &path, content.as_bytes());
    written.map(|()| true).map_err(|source| IssuedError::Write { path: path.display().to_string(), source })
}

fn replace(directory: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        }
        created => {
            created?;
            files::sync_directory(directory.parent().unwrap_or(Path::new("/")))?;
        }
    }
    files::replace(path, content)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn issue() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["node".to_owned()]).expect("names");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_kept_is_for_the_agent_alone_and_replaced_whole() {
        let state = tempfile::tempdir().expect("a directory");
        let directory = state.path().join("identity");
        let file = file_in(&directory);
        let ((certificate, key), (other, _)) = (issue(), issue());
        assert!(keep(&directory, &certificate, &key).expect("kept"));
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        assert!(parse(&fs::read(&file).expect("read")).is_ok());
        assert!(!keep(&directory, &certificate, &key).expect("the same"));
        assert!(matches!(keep(&directory, &other, &key), Err(IssuedError::Unusable(IdentityError::Mismatch))));
        assert!(parse(&fs::read(&file).expect("read")).is_ok(), "what was kept before is kept on");
        let (certificate, key) = issue();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::write(file.with_extension("pem.new"), "left behind by a crash").expect("written");
        assert!(keep(&directory, &certificate, &key).expect("another one"));
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory).expect("read").count(), 1);
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let state = tempfile::tempdir().expect("a directory");
        let (certificate, key) = issue();
        let long = certificate + &" ".repeat(PEM_BYTES_MAX);
        assert!(matches!(keep(&state.path().join("identity"), &long, &key), Err(IssuedError::TooLong)));
    }
}
