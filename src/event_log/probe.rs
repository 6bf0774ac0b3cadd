//! Whether sled can open a store, found out where it can do no harm: by a child process, on a copy, within a time limit.
//!
//! A damaged store makes sled panic, abort, hang, ask for all memory, or overwrite what it did not understand. All of
//! that happens to the child and to the copy; here it is one answer. `meta` is looked at like this whenever the log is
//! opened. The lanes' generations are not: they are read without sled, see `salvage`.

use std::{
    fs, io,
    panic::catch_unwind,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    prctl::set_pdeathsig,
    resource::{Resource, setrlimit},
    signal::{SigSet, SigmaskHow, Signal},
};
use uuid::Uuid;

use super::meta;

/// Makes the command that runs [`child`] on the directory that it is given.
pub type ProbeCommand = fn(&Path) -> Command;

/// The running program as the child. Only for `rodent` itself, which then does [`child`].
pub fn probe_by_this_program(store: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["log", "probe"]).arg(store);
    command
}

/// How long a child may take. One that takes longer hangs.
const TIME_MAX: Duration = Duration::from_secs(20);

/// How long a killed child is waited for; one that the kernel holds is left to itself.
const KILL_WAIT_MAX: Duration = Duration::from_secs(1);

/// Between two looks at a child.
const PAUSE: Duration = Duration::from_millis(1);

/// Address space of a child, bytes. One that asks for more runs wild.
const MEMORY_MAX: u64 = 2 << 30;

/// The most that is copied, bytes; far more than a healthy store takes. A larger one counts as damaged.
const COPY_BYTES_MAX: u64 = 256 << 20;

/// How the copy's directory begins; a UUID follows.
pub(super) const COPY_PREFIX: &str = "tmp-probe-";

/// Exit code of a child that found damage.
const DAMAGED: i32 = 65;

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// sled opens it and gives what it holds.
    Sound,
    /// It does not, for this reason.
    Damaged(String),
    /// It could not be found out, for a reason that is not in the store.
    Unknown(String),
}

/// Which files of a store are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// Without the snapshots: sled then builds its state from the log itself.
    Log,
}

/// Probes `store`, a directory below `root`. Without a command a thread takes the child's place: it contains panics and,
/// at the price of the thread, hangs.
pub(super) fn probe(root: &Path, store: &Path, part: Part, command: Option<ProbeCommand>) -> Verdict {
    remove_leftovers(root);
    let copy = Copy { path: root.join(format!("{COPY_PREFIX}{}", Uuid::new_v4().simple())) };
    match copy_store(store, &copy.path, part) {
        Ok(true) => {}
        Ok(false) => return Verdict::Damaged(format!("is larger than {COPY_BYTES_MAX} bytes")),
        Err(error) if is_damage(&error) => return Verdict::Damaged(format!("cannot be read: {error}")),
        Err(error) => return Verdict::Unknown(format!("cannot be copied: {error}")),
    }
    match command {
        Some(command) => in_child(command(&copy.path), TIME_MAX),
        None => in_thread(copy.path.clone(), TIME_MAX),
    }
}

/// What the child does: opens the store, reads all of it, and gives the exit code to end with and a line that says why.
pub fn child(store: &Path) -> (u8, String) {
    // Best effort: without them the child is as good, and only less confined.
    let _ = set_pdeathsig(Signal::SIGKILL);
    let _ = setrlimit(Resource::RLIMIT_AS, MEMORY_MAX, MEMORY_MAX);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    match read_through(store) {
        Verdict::Sound => (0, "sound".to_owned()),
        Verdict::Damaged(why) => (DAMAGED as u8, why),
        Verdict::Unknown(why) => (1, why),
    }
}

fn read_through(store: &Path) -> Verdict {
    match catch_unwind(|| meta::read_through(store)) {
        Ok(Ok(())) => Verdict::Sound,
        Ok(Err(sled::Error::Io(error))) if !is_damage(&error) => Verdict::Unknown(error.to_string()),
        Ok(Err(error)) => Verdict::Damaged(error.to_string()),
        Err(_) => Verdict::Damaged("sled panicked".to_owned()),
    }
}

/// Whether an error stems from what is stored rather than from the disk's being full, read-only or the like.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, IsADirectory, NotADirectory, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | IsADirectory | NotADirectory)
        || error.raw_os_error() == Some(libc::EIO)
}

fn in_child(mut command: Command, time_max: Duration) -> Verdict {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match spawn(&mut command) {
        Ok(child) => child,
        Err(error) => return Verdict::Unknown(format!("no child can be started: {error}")),
    };
    match wait(&mut child, time_max) {
        Ok(Some(status)) => verdict_of(status, &mut child),
        Ok(None) => {
            let _ = child.kill();
            let _ = wait(&mut child, KILL_WAIT_MAX);
            Verdict::Damaged(format!("sled has not opened it within {} s", time_max.as_secs()))
        }
        Err(error) => Verdict::Unknown(format!("the child cannot be waited for: {error}")),
    }
}

/// Starts a child that only its parent ends: a service manager tells every process of a service to stop, a terminal every
/// one of its job, and a store whose child was told so is not damaged. What this thread blocks, the child blocks.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let stops = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT]);
    let before = stops.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let child = command.spawn();
    before.thread_set_mask()?;
    child
}

fn wait(child: &mut Child, time_max: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    while started.elapsed() < time_max {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(PAUSE);
    }
    Ok(None)
}

fn verdict_of(status: ExitStatus, child: &mut Child) -> Verdict {
    use std::{io::Read as _, os::unix::process::ExitStatusExt as _};
    // The child has ended, so what it said lies in the pipe.
    let mut said = String::new();
    if let Some(output) = &mut child.stdout {
        let _ = output.take(1000).read_to_string(&mut said);
    }
    let said = said.trim().lines().last().unwrap_or_default().to_owned();
    match (status.code(), status.signal()) {
        (Some(0), _) => Verdict::Sound,
        (Some(DAMAGED), _) => Verdict::Damaged(said),
        // What Rust ends with when a panic has not been caught, and a shell's word for a signal.
        (Some(code @ (101 | 128..)), _) => Verdict::Damaged(format!("the child ended with {code}")),
        (Some(code), _) => Verdict::Unknown(format!("the child ended with {code}: {said}")),
        (None, Some(signal)) => Verdict::Damaged(format!("the child was ended by signal {signal}")),
        (None, None) => Verdict::Unknown("the child ended in no known way".to_owned()),
    }
}

fn in_thread(store: PathBuf, time_max: Duration) -> Verdict {
    let (answer, answers) = mpsc::sync_channel(1);
    let started = thread::Builder::new().name("probe".to_owned()).spawn(move || {
        // Nobody listens any more after the time limit.
        let _ = answer.send(read_through(&store));
    });
    match (started, answers.recv_timeout(time_max)) {
        (Err(error), _) => Verdict::Unknown(format!("no thread can be started: {error}")),
        (_, Ok(verdict)) => verdict,
        (_, Err(_)) => Verdict::Damaged(format!("sled has not opened it within {} s", time_max.as_secs())),
    }
}

/// A copy that goes when it is not needed any more.
struct Copy {
    path: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What stays is removed at the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Copies a store's files; gives false when they are too many bytes.
fn copy_store(from: &Path, to: &Path, part: Part) -> io::Result<bool> {
    fs::create_dir(to)?;
    let mut bytes = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let wanted = match name.to_str() {
            Some("db" | "conf") => true,
            Some(name) => part == Part::All && is_snapshot(name),
            None => false,
        };
        if wanted {
            if !entry.file_type()?.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not made of files"));
            }
            bytes += entry.metadata()?.len();
            if bytes > COPY_BYTES_MAX {
                return Ok(false);
            }
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(true)
}

/// Whether sled takes a file of this name for a snapshot of its state.
pub(super) fn is_snapshot(name: &str) -> bool {
    name.starts_with("snap.") && !is_unfinished(name)
}

/// Whether a file of this name is a snapshot that was never finished. sled would take it for one and refuse the store.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.starts_with("snap.") && name.ends_with(".generating")
}

fn remove_leftovers(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let uuid = name.to_str().and_then(|name| name.strip_prefix(COPY_PREFIX));
        if uuid.is_some_and(|uuid| uuid.len() == 32 && Uuid::try_parse(uuid).is_ok()) {
            // Tried again at the next start.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
