//! A program under test that runs beside the test. Dropping it is SIGKILL, to its number; after a panic, what it said on
//! standard error is printed.
#![expect(clippy::print_stdout, reason = "what a program said is printed when its test fails")]

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A started program.
pub(crate) struct Process {
    /// For its standard output, where the command was given `Stdio::piped()`.
    pub(crate) child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its standard error in the file `log`, to which a later start appends.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).expect("open the log of a program");
        let child = command.stdin(Stdio::null()).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Process { child, log: log.to_owned() }
    }

    /// Asks it to end by SIGTERM; false when it has not, or with an error, after `patience`.
    pub(crate) fn terminate(&mut self, patience: Duration) -> bool {
        let number = i32::try_from(self.child.id()).expect("process numbers are positive");
        kill(Pid::from_raw(number), Signal::SIGTERM).expect("signal a program");
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.child.try_wait().expect("look at a program") {
                return status.success();
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("---- {}\n{}", self.log.display(), std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Asks `probe` until it answers.
///
/// # Panics
/// When it has not answered within `patience`.
pub(crate) fn wait<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(start.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
