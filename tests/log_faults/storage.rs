//! A disk that fails on demand: this program's own storage calls, found by the linker before the C library's. A call on a
//! file below a [`Disk`] is counted and may fail; every other goes straight to the kernel.
//!
//! A failed sync behaves as Linux does: what was written since the last good one reads back from the page cache, and is
//! not on the disk. [`Disk::forget_unsynced`] brings the files to what the disk holds.
#![expect(unsafe_code, reason = "takes the place of functions of the C library")]

use std::{
    ffi::{CStr, CString, OsStr, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

/// How calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Any call: EIO.
    Io,
    /// Calls that need room: ENOSPC.
    Full,
    /// Writes: half is written. If it lasts, there is no room for the rest.
    Short,
    /// Syncs: EIO, and what was written is forgotten.
    Sync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Write,
    Sync,
    /// Makes something: a file, a directory, a name, a length.
    Make,
    /// Opens or removes what is there.
    Other,
}

enum Verdict {
    Go,
    Half,
    Fail(c_int),
}

/// A write, and what stood in its place.
struct Written {
    path: PathBuf,
    offset: i64,
    length: usize,
    before: Vec<u8>,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    nth: u64,
    lasting: bool,
    calls: u64,
    struck: bool,
    unsynced: Vec<Written>,
    forgotten: Vec<Written>,
}

/// A directory whose storage calls are counted and may fail. Ends when it is dropped.
pub(crate) struct Disk {
    directory: PathBuf,
    state: Arc<Mutex<State>>,
}

type Known = (PathBuf, Arc<Mutex<State>>);
static DISKS: RwLock<Vec<Known>> = RwLock::new(Vec::new());

impl Disk {
    /// Everything below `directory`, which is free of links. The `nth` call that `fault` can strike fails, counted from
    /// 1, and all after it if it is `lasting`.
    pub(crate) fn new(directory: &Path, fault: Option<Fault>, nth: u64, lasting: bool) -> Disk {
        let state = Arc::new(Mutex::new(State { fault, nth, lasting, ..State::default() }));
        let mut disks = DISKS.write().unwrap_or_else(PoisonError::into_inner);
        disks.push((directory.to_owned(), Arc::clone(&state)));
        Disk { directory: directory.to_owned(), state }
    }

    /// From now on nothing fails.
    pub(crate) fn repair(&self) {
        lock(&self.state).fault = None;
    }

    /// Whether anything has failed.
    pub(crate) fn struck(&self) -> bool {
        lock(&self.state).struck
    }

    /// Calls that could have been struck.
    pub(crate) fn calls(&self) -> u64 {
        lock(&self.state).calls
    }

    /// Takes from the files what a failed sync has not brought to the disk. Nobody has them open.
    pub(crate) fn forget_unsynced(&self) {
        let forgotten = std::mem::take(&mut lock(&self.state).forgotten);
        Disk::forget(forgotten);
    }

    /// Takes from the files what no sync has brought to the disk. Nobody has them open.
    pub(crate) fn lose_power(&self) {
        self.forget_unsynced();
        let unsynced = std::mem::take(&mut lock(&self.state).unsynced);
        Disk::forget(unsynced);
    }

    fn forget(forgotten: Vec<Written>) {
        use std::os::unix::fs::FileExt as _;
        for written in forgotten.into_iter().rev() {
            let Ok(file) = std::fs::File::options().write(true).open(&written.path) else { continue };
            let mut before = written.before;
            before.resize(written.length, 0);
            file.write_all_at(&before, written.offset as u64).expect("a repaired disk takes writes");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut disks = DISKS.write().unwrap_or_else(PoisonError::into_inner);
        disks.retain(|(directory, _)| *directory != self.directory);
    }
}

impl State {
    fn judge(&mut self, call: Call) -> Verdict {
        let Some(fault) = self.fault else {
            self.calls += 1;
            return Verdict::Go;
        };
        let strikes = match fault {
            Fault::Io => true,
            Fault::Full => matches!(call, Call::Write | Call::Make),
            Fault::Short => call == Call::Write,
            Fault::Sync => call == Call::Sync,
        };
        if !strikes {
            return Verdict::Go;
        }
        self.calls += 1;
        if self.calls < self.nth || (self.calls > self.nth && !self.lasting) {
            return Verdict::Go;
        }
        self.struck = true;
        match fault {
            Fault::Io | Fault::Sync => Verdict::Fail(libc::EIO),
            Fault::Full => Verdict::Fail(libc::ENOSPC),
            Fault::Short if self.calls == self.nth => Verdict::Half,
            Fault::Short => Verdict::Fail(libc::ENOSPC),
        }
    }

    /// A write that was made counts as unsynced; one that covers a forgotten one takes its place.
    fn note(&mut self, written: Written) {
        let end = |written: &Written| written.offset + written.length as i64;
        self.forgotten
            .retain(|old| old.path != written.path || old.offset < written.offset || end(old) > end(&written));
        self.unsynced.push(written);
    }

    fn synced(&mut self, path: &Path, well: bool) {
        let (of_this, rest) = std::mem::take(&mut self.unsynced).into_iter().partition(|w: &Written| w.path == path);
        self.unsynced = rest;
        if !well {
            self.forgotten.extend::<Vec<_>>(of_this);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn disk_of(path: &Path) -> Option<Arc<Mutex<State>>> {
    let disks = DISKS.read().unwrap_or_else(PoisonError::into_inner);
    disks.iter().find(|(directory, _)| path.starts_with(directory)).map(|(_, state)| Arc::clone(state))
}

/// Where a descriptor leads, if it is below a disk.
fn file_of(fd: c_int) -> Option<(PathBuf, Arc<Mutex<State>>)> {
    if DISKS.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
        return None;
    }
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut target = [0_u8; 4096];
    // SAFETY: a terminated path, and a buffer of the length that is given.
    let length = unsafe { libc::readlink(link.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    let path = PathBuf::from(OsStr::from_bytes(target.get(..usize::try_from(length).ok()?)?));
    let disk = disk_of(&path)?;
    Some((path, disk))
}

/// # Safety
/// `path` is a terminated string.
unsafe fn judge_path(path: *const c_char, call: Call) -> Verdict {
    // SAFETY: as the caller says.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    disk_of(path).map_or(Verdict::Go, |disk| lock(&disk).judge(call))
}

fn judge_fd(fd: c_int, call: Call) -> Verdict {
    file_of(fd).map_or(Verdict::Go, |(_, disk)| lock(&disk).judge(call))
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: the place of this thread's errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Puts a call through to the kernel, or fails it.
macro_rules! call {
    ($verdict:expr, $number:ident $(, $argument:expr)*) => {
        match $verdict {
            Verdict::Fail(errno) => fail(errno),
            // SAFETY: the arguments are those of the caller.
            Verdict::Go | Verdict::Half => unsafe { libc::syscall(libc::$number $(, $argument)*) as c_int },
        }
    };
}

fn opening(flags: c_int) -> Call {
    if flags & libc::O_CREAT == 0 { Call::Other } else { Call::Make }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    // SAFETY: the path is the caller's.
    call!(unsafe { judge_path(path, opening(flags)) }, SYS_openat, libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    call!(judge_fd(directory, opening(flags)), SYS_openat, directory, path, flags, mode)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: libc::mode_t) -> c_int {
    // SAFETY: the path is the caller's.
    call!(unsafe { judge_path(path, Call::Make) }, SYS_mkdirat, libc::AT_FDCWD, path, mode)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the paths are the caller's.
    let verdict = unsafe { judge_path(from, Call::Make) };
    if matches!(verdict, Verdict::Go) {
        // SAFETY: as above.
        let [from, to] =
            [from, to].map(|path| Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes())));
        if let Some(disk) = disk_of(from) {
            let mut state = lock(&disk);
            let State { unsynced, forgotten, .. } = &mut *state;
            for written in unsynced.iter_mut().chain(forgotten) {
                if let Ok(rest) = written.path.strip_prefix(from) {
                    written.path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
                }
            }
        }
    }
    call!(verdict, SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(directory: c_int, path: *const c_char, flags: c_int) -> c_int {
    call!(judge_fd(directory, Call::Other), SYS_unlinkat, directory, path, flags)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the path is the caller's.
    call!(unsafe { judge_path(path, Call::Other) }, SYS_unlinkat, libc::AT_FDCWD, path, 0)
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, length: libc::off64_t) -> c_int {
    call!(judge_fd(fd, Call::Make), SYS_ftruncate, fd, length)
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

fn sync(fd: c_int, number: libc::c_long) -> c_int {
    let Some((path, disk)) = file_of(fd) else {
        // SAFETY: any number is allowed.
        return unsafe { libc::syscall(number, fd) as c_int };
    };
    let mut state = lock(&disk);
    if let Verdict::Fail(errno) = state.judge(Call::Sync) {
        state.synced(&path, false);
        return fail(errno);
    }
    // The kernel is spared: nobody cuts the power here.
    state.synced(&path, true);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize {
    let Some((path, disk)) = file_of(fd) else {
        // SAFETY: the arguments are those of the caller.
        return unsafe { libc::syscall(libc::SYS_write, fd, bytes, length) as isize };
    };
    let mut state = lock(&disk);
    let length = match state.judge(Call::Write) {
        Verdict::Fail(errno) => return fail(errno) as isize,
        Verdict::Half => length.div_ceil(2),
        Verdict::Go => length,
    };
    // Of new files that are only ever written on: there was nothing before.
    // SAFETY: any number is allowed.
    let offset = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    state.note(Written { path, offset, length, before: Vec::new() });
    // SAFETY: the arguments are those of the caller, or fewer bytes of them.
    unsafe { libc::syscall(libc::SYS_write, fd, bytes, length) as isize }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, length: usize, offset: libc::off64_t) -> isize {
    let Some((path, disk)) = file_of(fd) else {
        // SAFETY: the arguments are those of the caller.
        return unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, length, offset) as isize };
    };
    let mut state = lock(&disk);
    let length = match state.judge(Call::Write) {
        Verdict::Fail(errno) => return fail(errno) as isize,
        Verdict::Half => length.div_ceil(2),
        Verdict::Go => length,
    };
    if state.fault == Some(Fault::Sync) {
        let mut before = vec![0; length];
        // SAFETY: a buffer of the length that is given.
        let read = unsafe { libc::syscall(libc::SYS_pread64, fd, before.as_mut_ptr(), length, offset) };
        before.truncate(usize::try_from(read).unwrap_or(0));
        state.note(Written { path, offset, length, before });
    }
    // SAFETY: the arguments are those of the caller, or fewer bytes of them.
    unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, length, offset) as isize }
}
