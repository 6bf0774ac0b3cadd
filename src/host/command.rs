//! Programs of the machine, run without a shell: a bounded time, a bounded output, an empty environment.
//!
//! A program that neither answers nor dies (stuck in the kernel behind a broken disk) is never started a second time:
//! calls answer [`CommandError::Hanging`] until the first one has gone. Nothing is ever written to a program.

use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::timeout,
};

use super::Host;

/// How long a killed program may take to be gone before it counts as hanging.
const REAP_WAIT: Duration = Duration::from_secs(1);
/// As much of a program's complaint as an error quotes, characters.
const COMPLAINT_CHARS_MAX: usize = 200;
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// A program that was found on the machine.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    timeout: Duration,
    output_bytes_max: usize,
    hanging: Option<Child>,
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be started, or its output cannot be read.
    #[error("run {}", program.display())]
    Run {
        /// Path of the program.
        program: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No answer in time; it was killed.
    #[error("{} did not answer within {} s", program.display(), after.as_secs_f32())]
    TimedOut {
        /// Path of the program.
        program: PathBuf,
        /// The time it was given.
        after: Duration,
    },
    /// An earlier run was killed and has not gone yet; no second one was started.
    #[error("{} still hangs in an earlier call", .0.display())]
    Hanging(PathBuf),
    /// More output than expected; nothing of it is used.
    #[error("{} wrote more than {max} bytes", program.display())]
    TooLong {
        /// Path of the program.
        program: PathBuf,
        /// The bound.
        max: usize,
    },
    /// It says itself that it failed.
    #[error("{} ended with {status}: {complaint}", program.display())]
    Failed {
        /// Path of the program.
        program: PathBuf,
        /// Exit code or signal.
        status: ExitStatus,
        /// The beginning of what it wrote to its standard error.
        complaint: String,
    },
}

impl Program {
    /// The first of the candidates (absolute paths) that is an executable file on this machine. In a fixture tree only
    /// the tree's own programs are found.
    pub fn find(host: &Host, candidates: &[&str], timeout: Duration, output_bytes_max: usize) -> Option<Program> {
        let path = candidates.iter().map(|candidate| host.path(candidate)).find(|path| is_executable(path))?;
        Some(Program { path, timeout, output_bytes_max, hanging: None })
    }

    /// The same where it is kept for the next time: one that has come, moved or gone since is looked for anew.
    pub fn found<'a>(
        kept: &'a mut Option<Program>,
        host: &Host,
        candidates: &[&str],
        timeout: Duration,
        output_bytes_max: usize,
    ) -> Option<&'a mut Program> {
        if kept.as_ref().is_none_or(|program| !is_executable(&program.path)) {
            *kept = Program::find(host, candidates, timeout, output_bytes_max);
        }
        kept.as_mut()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it and gives its standard output; bytes that are no UTF-8 become replacement characters. When the future is
    /// dropped the program is killed.
    ///
    /// # Errors
    /// When it gives no complete answer with exit status 0.
    pub async fn run(&mut self, arguments: &[&str]) -> Result<String, CommandError> {
        self.ended(arguments).await?.stdout_if_successful(&self.path)
    }

    /// The same of a program whose exit status is part of its answer, as that of smartctl is.
    ///
    /// # Errors
    /// When it gives no complete answer.
    pub async fn run_whatever_its_status(&mut self, arguments: &[&str]) -> Result<String, CommandError> {
        Ok(self.ended(arguments).await?.stdout)
    }

    /// The same of a program that says on either output how it is, and ends as it likes: what it has said on both.
    ///
    /// # Errors
    /// When it gives no complete answer.
    pub async fn run_for_all_it_says(&mut self, arguments: &[&str]) -> Result<String, CommandError> {
        let answer = self.ended(arguments).await?;
        Ok(answer.stdout + &answer.stderr)
    }

    async fn ended(&mut self, arguments: &[&str]) -> Result<Answer, CommandError> {
        self.check_hanging()?;
        let mut child = self.start(arguments)?;
        let ended = timeout(self.timeout, self.answer(&mut child)).await;
        match ended {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.kill(child).await;
                Err(error)
            }
            Err(_) => {
                self.kill(child).await;
                Err(CommandError::TimedOut { program: self.path.clone(), after: self.timeout })
            }
        }
    }

    fn check_hanging(&mut self) -> Result<(), CommandError> {
        if let Some(child) = &mut self.hanging {
            if matches!(child.try_wait(), Ok(None)) {
                return Err(CommandError::Hanging(self.path.clone()));
            }
            self.hanging = None;
        }
        Ok(())
    }

    fn start(&self, arguments: &[&str]) -> Result<Child, CommandError> {
        Command::new(&self.path)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            // Dates in its output are compared: they must not change with the machine's time zone.
            .env("TZ", "UTC")
            .env("PATH", SEARCH_PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it started dies with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(error))
    }

    async fn answer(&self, child: &mut Child) -> Result<Answer, CommandError> {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = tokio::try_join!(self.read(stdout), self.read(stderr))?;
        let status = child.wait().await.map_err(|error| self.failed(error))?;
        Ok(Answer { status, stdout, stderr })
    }

    async fn read(&self, pipe: Option<impl AsyncRead + Unpin>) -> Result<String, CommandError> {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let limit = (self.output_bytes_max as u64).saturating_add(1);
            pipe.take(limit).read_to_end(&mut bytes).await.map_err(|error| self.failed(error))?;
        }
        if bytes.len() > self.output_bytes_max {
            return Err(CommandError::TooLong { program: self.path.clone(), max: self.output_bytes_max });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn kill(&mut self, mut child: Child) {
        if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()) {
            // An error means that the group has gone by itself.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        if timeout(REAP_WAIT, child.wait()).await.is_err() {
            self.hanging = Some(child);
        }
    }

    fn failed(&self, source: io::Error) -> CommandError {
        CommandError::Run { program: self.path.clone(), source }
    }
}

struct Answer {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn stdout_if_successful(self, program: &Path) -> Result<String, CommandError> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let complaint = self.stderr.trim().chars().take(COMPLAINT_CHARS_MAX).collect();
        Err(CommandError::Failed { program: program.to_owned(), status: self.status, complaint })
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(timeout: Duration, output_bytes_max: usize) -> Program {
        Program::find(&Host::at("/"), &["/no/such/sh", "/bin/sh"], timeout, output_bytes_max).unwrap()
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_from_one_that_fails() {
        assert!(Program::find(&Host::at("/"), &["/no/such/program", "/etc"], REAP_WAIT, 10).is_none());
        let error = shell(REAP_WAIT, 100).run(&["-c", "echo broken >&2; exit 3"]).await.unwrap_err();
        assert!(matches!(&error, CommandError::Failed { status, .. } if status.code() == Some(3)));
        assert_eq!(error.to_string(), "/bin/sh ended with exit status: 3: broken");
    }

    #[test]
    fn a_program_that_comes_moves_or_goes_is_looked_for_anew() {
        let root = tempfile::tempdir().unwrap();
        let (host, mut kept) = (Host::at(root.path()), None);
        let mut found = || {
            let program = Program::found(&mut kept, &host, &["/sbin/p", "/usr/sbin/p"], REAP_WAIT, 10)?;
            Some(program.path().strip_prefix(root.path()).unwrap().to_owned())
        };
        assert_eq!(found(), None);
        std::fs::create_dir_all(root.path().join("usr/sbin")).unwrap();
        std::fs::create_dir(root.path().join("sbin")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", root.path().join("sbin/p")).unwrap();
        assert_eq!(found().as_deref(), Some(Path::new("sbin/p")));
        std::fs::rename(root.path().join("sbin/p"), root.path().join("usr/sbin/p")).unwrap();
        assert_eq!(found().as_deref(), Some(Path::new("usr/sbin/p")));
        std::fs::remove_file(root.path().join("usr/sbin/p")).unwrap();
        assert_eq!(found(), None);
    }

    #[tokio::test]
    async fn an_exit_status_may_be_part_of_the_answer() {
        let output = shell(REAP_WAIT, 100).run_whatever_its_status(&["-c", "echo failing; exit 8"]).await.unwrap();
        assert_eq!(output, "failing\n");
    }

    #[tokio::test]
    async fn the_environment_is_empty_but_for_locale_zone_and_path() {
        let mut program = Program::find(&Host::at("/"), &["/usr/bin/env", "/bin/env"], REAP_WAIT, 1000).unwrap();
        let output = program.run(&[]).await.unwrap();
        let mut names: Vec<_> = output.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "PATH", "TZ"]);
    }

    #[tokio::test]
    async fn a_program_that_sleeps_is_killed_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let script = format!("(sleep 1; touch {}) & sleep 60", mark.display());
        let began = Instant::now();
        let error = shell(Duration::from_millis(200), 100).run(&["-c", &script]).await.unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!mark.exists());
    }

    #[tokio::test]
    async fn output_beyond_the_bound_is_an_error_and_not_cut_short() {
        let error = shell(REAP_WAIT, 1000).run(&["-c", "while :; do echo y; done"]).await.unwrap_err();
        assert!(matches!(error, CommandError::TooLong { max: 1000, .. }), "{error}");
    }
}
