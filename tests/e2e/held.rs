//! Threads of a program that are held as by a debugger: stuck for good, while the rest of the program goes on.

use std::fs;

use nix::{
    sys::wait::{WaitPidFlag, waitpid},
    unistd::Pid,
};

/// Held threads; let go when dropped. To be used by one thread only, as the kernel wants it of a debugger.
pub(crate) struct Held {
    threads: Vec<i32>,
}

impl Held {
    /// Holds those threads of a process (by its number on this host) whose name `wanted` takes.
    pub(crate) fn threads(process: i32, wanted: impl Fn(&str) -> bool) -> Held {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{process}/task")).expect("the process runs") {
            let thread = entry.expect("a thread").file_name().to_string_lossy().parse().expect("a number");
            let name = fs::read_to_string(format!("/proc/{process}/task/{thread}/comm")).unwrap_or_default();
            if wanted(name.trim()) {
                hold(thread);
                threads.push(thread);
            }
        }
        assert!(!threads.is_empty(), "no thread of {process} has such a name");
        Held { threads }
    }

    /// Lets the kernel bury those that were killed: until then nobody learns that the process is gone.
    pub(crate) fn bury(&self) {
        for thread in &self.threads {
            let _ = waitpid(Pid::from_raw(*thread), Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for thread in &self.threads {
            trace(libc::PTRACE_DETACH, *thread);
        }
        self.bury();
    }
}

fn hold(thread: i32) {
    assert_eq!(trace(libc::PTRACE_SEIZE, thread), 0, "{}", std::io::Error::last_os_error());
    assert_eq!(trace(libc::PTRACE_INTERRUPT, thread), 0, "{}", std::io::Error::last_os_error());
    waitpid(Pid::from_raw(thread), Some(WaitPidFlag::__WALL)).expect("it stops");
}

#[expect(unsafe_code, reason = "nix has no ptrace among the features that we use")]
fn trace(request: libc::c_uint, thread: i32) -> libc::c_long {
    // SAFETY: none of these requests reads or writes memory of ours.
    unsafe { libc::ptrace(request, thread, 0, 0) }
}
