//! How full a file system is, asked in a way that a dead network mount cannot block.
//!
//! Each question runs on a thread of its own: a thread that hangs in the kernel cannot be ended, only left behind, and
//! neither the async threads nor the end of the process may wait for it. At most [`HANGING_MAX`] are left behind; a
//! path that hangs is not asked again until its thread has come back.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::statvfs::{Statvfs, statvfs};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::timeout,
};

/// How many threads may hang at a time; beyond it nothing is asked.
pub const HANGING_MAX: usize = 4;
/// How long a file system may take to answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Size and filling of a file system, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// All there is.
    pub total_bytes: u64,
    /// What is written.
    pub used_bytes: u64,
    /// What users other than root can still write.
    pub available_bytes: u64,
    /// Inodes, and those that are free; both 0 where there are as many as wanted.
    pub inodes: u64,
    /// Free ones of them.
    pub available_inodes: u64,
}

impl Space {
    /// How full it is for its users, 0 to 100; none for a file system without a size.
    pub fn used_percent(&self) -> Option<f64> {
        let usable = self.used_bytes.saturating_add(self.available_bytes);
        #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more than 52 bits")]
        (usable > 0).then(|| self.used_bytes as f64 * 100.0 / usable as f64)
    }
}

/// Why nothing is known of a file system.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// It does not answer; a thread was left behind.
    #[error("{} does not answer within {} s", .0.display(), ANSWER_WAIT.as_secs())]
    TimedOut(PathBuf),
    /// It has not answered an earlier question yet.
    #[error("{} still does not answer", .0.display())]
    Hanging(PathBuf),
    /// Too many others do not answer.
    #[error("{HANGING_MAX} file systems do not answer: no other is asked")]
    TooManyHanging,
    /// The question was refused.
    #[error("ask {}", path.display())]
    Refused {
        /// The mount point.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Asks file systems how full they are.
#[derive(Debug, Default)]
pub struct SpaceProbe {
    hanging: BTreeMap<PathBuf, Answer>,
}

type Answer = oneshot::Receiver<nix::Result<Statvfs>>;

impl SpaceProbe {
    /// Size and filling of the file system at `path`.
    ///
    /// # Errors
    /// When it does not answer within [`ANSWER_WAIT`], or refuses.
    pub async fn look(&mut self, path: &Path) -> Result<Space, SpaceError> {
        self.look_with(path, ANSWER_WAIT, statvfs).await
    }

    async fn look_with(
        &mut self,
        path: &Path,
        wait: Duration,
        ask: impl FnOnce(&Path) -> nix::Result<Statvfs> + Send + 'static,
    ) -> Result<Space, SpaceError> {
        self.hanging.retain(|_, answer| matches!(answer.try_recv(), Err(TryRecvError::Empty)));
        if self.hanging.contains_key(path) {
            return Err(SpaceError::Hanging(path.to_owned()));
        }
        if self.hanging.len() >= HANGING_MAX {
            return Err(SpaceError::TooManyHanging);
        }
        let refused = |source| SpaceError::Refused { path: path.to_owned(), source };
        let mut answer = start(path, ask).map_err(refused)?;
        match timeout(wait, &mut answer).await {
            Ok(Ok(Ok(statvfs))) => Ok(space(&statvfs)),
            Ok(Ok(Err(errno))) => Err(refused(errno.into())),
            Ok(Err(_)) => Err(refused(io::Error::other("the asking thread ended without an answer"))),
            Err(_) => {
                self.hanging.insert(path.to_owned(), answer);
                Err(SpaceError::TimedOut(path.to_owned()))
            }
        }
    }
}

fn start(path: &Path, ask: impl FnOnce(&Path) -> nix::Result<Statvfs> + Send + 'static) -> io::Result<Answer> {
    let (sender, answer) = oneshot::channel();
    let path = path.to_owned();
    std::thread::Builder::new().name("statvfs".into()).stack_size(64 * 1024).spawn(move || {
        // Nobody may wait for it any more.
        let _ = sender.send(ask(&path));
    })?;
    Ok(answer)
}

#[allow(clippy::useless_conversion, reason = "the widths of statvfs differ from machine to machine")]
fn space(statvfs: &Statvfs) -> Space {
    let unit = u64::from(statvfs.fragment_size());
    let bytes = |blocks| u64::from(blocks).saturating_mul(unit);
    let (total_bytes, free_bytes) = (bytes(statvfs.blocks()), bytes(statvfs.blocks_free()));
    Space {
        total_bytes,
        used_bytes: total_bytes.saturating_sub(free_bytes),
        available_bytes: bytes(statvfs.blocks_available()),
        inodes: u64::from(statvfs.files()),
        available_inodes: u64::from(statvfs.files_available()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_real_file_system_has_a_size_and_a_percentage() {
        let space = SpaceProbe::default().look(Path::new("/")).await.unwrap();
        assert!(space.total_bytes > 0 && space.used_bytes <= space.total_bytes);
        assert!((0.0..=100.0).contains(&space.used_percent().unwrap()));
        assert_eq!(Space::default().used_percent(), None);
    }

    #[tokio::test]
    async fn a_path_that_is_not_there_is_refused() {
        let error = SpaceProbe::default().look(Path::new("/no/such/path")).await.unwrap_err();
        assert!(matches!(error, SpaceError::Refused { .. }), "{error}");
    }

    #[tokio::test]
    async fn file_systems_that_hang_leave_few_threads_behind_and_come_back() {
        let mut probe = SpaceProbe::default();
        let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
        let held = std::sync::Arc::new(std::sync::Mutex::new(held));
        for number in 0..HANGING_MAX {
            let held = held.clone();
            let path = PathBuf::from(format!("/dead/{number}"));
            let wait = Duration::from_millis(20);
            let error = probe.look_with(&path, wait, move |_| hang(&held)).await.unwrap_err();
            assert!(matches!(error, SpaceError::TimedOut(_)), "{error}");
            let error = probe.look_with(&path, wait, |_| panic!("asked twice")).await.unwrap_err();
            assert!(matches!(error, SpaceError::Hanging(_)), "{error}");
        }
        assert!(matches!(probe.look(Path::new("/")).await, Err(SpaceError::TooManyHanging)));
        drop(release);
        for _ in 0..100 {
            if probe.look(Path::new("/")).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the probe did not recover");
    }

    fn hang(held: &std::sync::Mutex<std::sync::mpsc::Receiver<()>>) -> nix::Result<Statvfs> {
        let _ = held.lock().unwrap().recv();
        statvfs("/")
    }
}
