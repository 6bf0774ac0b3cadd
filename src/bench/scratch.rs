//! A directory that is gone afterwards.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A fresh directory; removed with everything in it when dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one below `directory`, for its owner only.
    ///
    /// # Errors
    /// As the file system says.
    pub fn below(directory: &Path) -> io::Result<Scratch> {
        let path = nix::unistd::mkdtemp(&directory.join("rodent-XXXXXX"))?;
        Ok(Scratch { path: path.canonicalize()? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a temporary directory cannot be removed");
        }
    }
}
