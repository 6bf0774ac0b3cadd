//! The program that is killed or frozen: this test binary once more, as a writer that reports on its standard output.
//!
//! A trial begins with [`Order::given`]: in the child it finds the order and becomes the writer, which never returns.
//! So there is no test that only a child runs, and none that is skipped.

use std::{
    env, fs,
    fs::File,
    io::{ErrorKind, Read as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{ledger::Ledger, report::Report, writer};

/// How long a child may be silent, and may take to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a child is told, through its environment.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The log's directory.
    pub(crate) directory: PathBuf,
    /// Which child of the trial it is, from 1: its events are numbered from `run << 32`.
    pub(crate) run: u64,
    pub(crate) seed: u64,
    pub(crate) consumer_rests: bool,
}

const DIRECTORY: &str = "RODENT_TRIAL_DIRECTORY";
const RUN: &str = "RODENT_TRIAL_RUN";
const SEED: &str = "RODENT_TRIAL_SEED";
const CONSUMER_RESTS: &str = "RODENT_TRIAL_CONSUMER_RESTS";

impl Order {
    /// In a child, becomes the writer and does not return; elsewhere does nothing.
    pub(crate) fn carry_out_if_given() {
        let Some(directory) = env::var_os(DIRECTORY) else { return };
        let number = |name| crate::dice::number(name).expect("an order is complete");
        let (run, seed, consumer_rests) = (number(RUN), number(SEED), number(CONSUMER_RESTS) != 0);
        writer::run(&Order { directory: directory.into(), run, seed, consumer_rests })
    }
}

/// A running writer. Dropping it is SIGKILL, by its number; after a panic, what it said on standard error is printed.
pub(crate) struct Writer {
    child: Child,
    output: ChildStdout,
    unread: Vec<u8>,
    errors: PathBuf,
}

impl Writer {
    /// Starts this binary with nothing but the trial `test`, which finds the order. `errors` is a file for what it says.
    pub(crate) fn start(test: &str, order: &Order, errors: &Path) -> Writer {
        let file = File::create(errors).expect("a file for the child's errors");
        let mut child = Command::new(env::current_exe().expect("the test's own program"))
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, &order.directory)
            .env(RUN, order.run.to_string())
            .env(SEED, order.seed.to_string())
            .env(CONSUMER_RESTS, u8::from(order.consumer_rests).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("start the test's own program");
        let output = child.stdout.take().expect("standard output is piped");
        fcntl(output.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe that does not block");
        Writer { child, output, unread: Vec::new(), errors: errors.to_owned() }
    }

    /// Reports that have come, waiting for the first of them until `deadline`. Empty when none came.
    ///
    /// # Panics
    /// When the child has ended by itself.
    pub(crate) fn reports(&mut self, deadline: Instant) -> Vec<Report> {
        let rest = deadline.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        let milliseconds = u16::try_from(rest.as_millis()).unwrap_or(u16::MAX);
        // Interrupted is like nothing: the caller comes again.
        let _ = poll(&mut polled, milliseconds);
        let ended = self.fill();
        assert!(!ended, "the writer ended by itself");
        self.lines()
    }

    /// Waits until the child is about to open its log.
    pub(crate) fn wait_until_opening(&mut self) -> Vec<Report> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reports = self.reports(deadline);
            if reports.contains(&Report::Opening) {
                return reports;
            }
            assert!(Instant::now() < deadline, "the writer did not begin within {PATIENCE:?}");
        }
    }

    /// Notes what it reports until so many more events have been accepted.
    pub(crate) fn let_write(&mut self, events: u64, ledger: &mut Ledger) {
        let enough = ledger.tally.accepted + events;
        let mut deadline = Instant::now() + PATIENCE;
        while ledger.tally.accepted < enough {
            let before = ledger.tally.accepted;
            ledger.note_all(self.reports(deadline));
            if ledger.tally.accepted > before {
                deadline = Instant::now() + PATIENCE;
            }
            assert!(Instant::now() < deadline, "nothing of the writer's was accepted for {PATIENCE:?}");
        }
    }

    /// SIGSTOP; when this returns, no thread of the child runs, and none is inside the kernel. Gives what it had said.
    pub(crate) fn freeze(&mut self) -> Vec<Report> {
        let number = i32::try_from(self.child.id()).expect("process numbers are positive");
        kill(Pid::from_raw(number), Signal::SIGSTOP).expect("signal the child");
        let deadline = Instant::now() + PATIENCE;
        while !self.is_stopped() {
            assert!(Instant::now() < deadline, "the writer did not stop within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(1));
        }
        self.fill();
        self.lines()
    }

    fn is_stopped(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the child's threads");
        // The state is the word after the name in brackets.
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }

    /// SIGKILL; gives the last of what it had said.
    pub(crate) fn kill(mut self) -> Vec<Report> {
        self.child.kill().expect("kill the child");
        self.child.wait().expect("wait for the child");
        self.fill();
        self.lines()
    }

    /// Reads what the pipe holds; true when its other end is closed.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        loop {
            match self.output.read(&mut buffer) {
                Ok(0) => return true,
                Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("read from the child: {error}"),
            }
        }
    }

    fn lines(&mut self) -> Vec<Report> {
        let whole = self.unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.unread.drain(..whole).collect();
        String::from_utf8_lossy(&lines).lines().filter_map(Report::parse).collect()
    }
}

impl Drop for Writer {
    #[expect(clippy::print_stderr, reason = "what the child said is printed when its trial fails")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- the writer\n{}", fs::read_to_string(&self.errors).unwrap_or_default());
        }
    }
}
