//! How full a file system is, asked in a way that a dead network mount cannot block.
//!
//! Each question runs on a thread of its own: a thread that hangs in the kernel cannot be ended, only left behind, and
//! neither the async threads nor the end of the process may wait for it. At most [`HANGING_MAX`] are left behind of those
//! of the network, and as many of the others, so that no dead server keeps a disk from being asked; a path that hangs is
//! not asked again until its thread has come back.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::statvfs::{Statvfs, statvfs};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::{Instant, timeout_at},
};

/// How many threads may hang at a time for file systems of the network, and how many for others; beyond it none of these is
/// asked.
pub const HANGING_MAX: usize = 16;
/// How many file systems are asked at a time.
const ASKED_MAX: usize = 8;
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
    /// How many of its inodes are used, 0 to 100; none for a file system that makes as many as are wanted.
    pub fn used_inodes_percent(&self) -> Option<f64> {
        let used = self.inodes.checked_sub(self.available_inodes)?;
        #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more than 52 bits")]
        (self.inodes > 0).then(|| used as f64 * 100.0 / self.inodes as f64)
    }

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
    #[error("{HANGING_MAX} others do not answer: it is not asked")]
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

/// A file system to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Whether it is served by another machine, or by a program.
    pub is_remote: bool,
}

/// Asks file systems how full they are.
#[derive(Debug, Default)]
pub struct SpaceProbe {
    hanging: BTreeMap<PathBuf, (Answer, bool)>,
}

type Answer = oneshot::Receiver<nix::Result<Statvfs>>;

impl SpaceProbe {
    /// Size and filling of each of these file systems, in order; some are asked at a time.
    ///
    /// # Errors
    /// For each that does not answer within [`ANSWER_WAIT`], or refuses.
    pub async fn look(&mut self, asked: &[Asked]) -> Vec<Result<Space, SpaceError>> {
        let mut answers = Vec::with_capacity(asked.len());
        for some in asked.chunks(ASKED_MAX) {
            answers.extend(self.look_with(some, ANSWER_WAIT, statvfs).await);
        }
        answers
    }

    async fn look_with(
        &mut self,
        asked: &[Asked],
        wait: Duration,
        ask: impl Fn(&Path) -> nix::Result<Statvfs> + Clone + Send + 'static,
    ) -> Vec<Result<Space, SpaceError>> {
        let started: Vec<_> = asked.iter().map(|asked| self.start(asked, &ask)).collect();
        let until = Instant::now() + wait;
        let mut answers = Vec::with_capacity(asked.len());
        for (asked, started) in asked.iter().zip(started) {
            answers.push(match started {
                Ok(answer) => self.wait(asked, answer, until).await,
                Err(error) => Err(error),
            });
        }
        answers
    }

    fn start(
        &mut self,
        asked: &Asked,
        ask: &(impl Fn(&Path) -> nix::Result<Statvfs> + Clone + Send + 'static),
    ) -> Result<Answer, SpaceError> {
        self.hanging.retain(|_, (answer, _)| matches!(answer.try_recv(), Err(TryRecvError::Empty)));
        let Asked { path, is_remote } = asked;
        if self.hanging.contains_key(path) {
            return Err(SpaceError::Hanging(path.clone()));
        }
        if self.hanging.values().filter(|(_, remote)| remote == is_remote).count() >= HANGING_MAX {
            return Err(SpaceError::TooManyHanging);
        }
        start(path, ask.clone()).map_err(|source| SpaceError::Refused { path: path.clone(), source })
    }

    async fn wait(&mut self, asked: &Asked, mut answer: Answer, until: Instant) -> Result<Space, SpaceError> {
        let refused = |source| SpaceError::Refused { path: asked.path.clone(), source };
        match timeout_at(until, &mut answer).await {
            Ok(Ok(Ok(statvfs))) => Ok(space(&statvfs)),
            Ok(Ok(Err(errno))) => Err(refused(errno.into())),
            Ok(Err(_)) => Err(refused(io::Error::other("the asking thread ended without an answer"))),
            Err(_) => {
                self.hanging.insert(asked.path.clone(), (answer, asked.is_remote));
                Err(SpaceError::TimedOut(asked.path.clone()))
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

    fn asked(path: &str, is_remote: bool) -> Asked {
        Asked { path: path.into(), is_remote }
    }

    async fn one(probe: &mut SpaceProbe, path: &str) -> Result<Space, SpaceError> {
        probe.look(&[asked(path, false)]).await.remove(0)
    }

    #[tokio::test]
    async fn a_real_file_system_has_a_size_and_a_percentage() {
        let space = one(&mut SpaceProbe::default(), "/").await.unwrap();
        assert!(space.total_bytes > 0 && space.used_bytes <= space.total_bytes);
        assert!((0.0..=100.0).contains(&space.used_percent().unwrap()));
        assert_eq!(Space::default().used_percent(), None);
    }

    #[tokio::test]
    async fn a_path_that_is_not_there_is_refused() {
        let error = one(&mut SpaceProbe::default(), "/no/such/path").await.unwrap_err();
        assert!(matches!(error, SpaceError::Refused { .. }), "{error}");
    }

    #[tokio::test]
    async fn file_systems_that_hang_leave_few_threads_behind_keep_no_local_one_from_being_asked_and_come_back() {
        let mut probe = SpaceProbe::default();
        let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
        let held = std::sync::Arc::new(std::sync::Mutex::new(held));
        let dead: Vec<_> = (0..HANGING_MAX).map(|number| asked(&format!("/dead/{number}"), true)).collect();
        let hung = probe.look_with(&dead, Duration::from_millis(20), move |_| hang(&held)).await;
        assert!(hung.iter().all(|answer| matches!(answer, Err(SpaceError::TimedOut(_)))), "{hung:?}");
        let again = probe.look_with(&dead, Duration::from_millis(20), |_| panic!("asked twice")).await;
        assert!(again.iter().all(|answer| matches!(answer, Err(SpaceError::Hanging(_)))), "{again:?}");
        let remote = probe.look(&[asked("/", true)]).await.remove(0);
        assert!(matches!(remote, Err(SpaceError::TooManyHanging)), "{remote:?}");
        assert!(one(&mut probe, "/").await.is_ok(), "the disks are asked all the same");
        drop(release);
        for _ in 0..100 {
            if probe.look(&[asked("/", true)]).await.remove(0).is_ok() {
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
