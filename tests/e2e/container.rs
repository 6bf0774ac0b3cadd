//! A booted machine: Debian or Fedora of the host's own release with systemd, D-Bus and journald in a systemd-nspawn
//! container, up in about a second. It reads a root file system that is made once and writes to memory only, has a network of its own
//! (loopback alone), and finds the programs under test in `/usr/bin`.
//!
//! Whatever happens to a test, its container goes: [`Container`] stops it on drop, and should the test process be
//! killed, the kernel tells systemd-nspawn. Only processes started here are ever signalled, by number.
#![expect(clippy::print_stderr, reason = "what the machine said is printed when a test fails")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A container that is not up by then never will be: two busy processors boot one in under ten seconds.
const BOOT_MAX: Duration = Duration::from_secs(120);
/// How long an orderly stop may take before the leader is killed.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A running container; stopped when dropped.
pub(crate) struct Container {
    name: String,
    nspawn: Child,
    leader: Pid,
    directory: PathBuf,
}

impl Container {
    /// Boots one. `options` are further options of systemd-nspawn, for example `--bind=/dev/loop3`.
    pub(crate) fn boot(test: &str, options: &[&str]) -> Container {
        let programs =
            [("rodent", env!("CARGO_BIN_EXE_rodent")), ("rodent-controller", env!("CARGO_BIN_EXE_rodent-controller"))];
        let binds = programs.map(|(program, built)| format!("--bind-ro={built}:/usr/bin/{program}"));
        Container::boot_bare(test, &[options, &binds.each_ref().map(String::as_str)].concat())
    }

    /// Boots one without the programs under test.
    pub(crate) fn boot_bare(test: &str, options: &[&str]) -> Container {
        let name = format!("rodent-{}-{test}", std::process::id());
        let directory = workshop().join(&name);
        fs::create_dir_all(directory.join("machine")).expect("make the container's directory");
        let log = fs::File::create(directory.join("log")).expect("make the container's log");
        let mut nspawn = Command::new("setsid")
            .args(["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private", "bash"])
            .arg(source("tests/e2e/boot.sh"))
            .arg(&name)
            .args([root_file_system(), &directory.join("machine")])
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start setsid");
        let leader = wait_for_leader(&mut nspawn, &directory);
        let container = Container { name, nspawn, leader, directory };
        container.wait_until_booted();
        container
    }

    /// Runs a shell script inside and gives what it printed.
    ///
    /// # Panics
    /// When it ends with anything but 0: with the script and all that it said.
    pub(crate) fn run(&self, script: &str) -> String {
        let output = self.attempt(script);
        assert!(
            output.status.success(),
            "{script}\nended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("programs print UTF-8")
    }

    /// Runs a shell script inside, whatever its end.
    pub(crate) fn attempt(&self, script: &str) -> Output {
        self.enter(&["sh", "-c", script]).stdin(Stdio::null()).output().expect("start nsenter")
    }

    /// Writes a file inside, and the directories above it.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let script = format!("mkdir -p \"$(dirname {path})\" && cat > {path}");
        let mut child = self.enter(&["sh", "-c", &script]).stdin(Stdio::piped()).spawn().expect("start nsenter");
        child.stdin.take().expect("standard input is piped").write_all(content.as_bytes()).expect("write to nsenter");
        assert!(child.wait().expect("wait for nsenter").success(), "write {path} in {}", self.name);
    }

    /// Copies a file of the repository inside.
    pub(crate) fn install(&self, from: &str, path: &str) {
        self.write(path, &fs::read_to_string(source(from)).unwrap_or_else(|error| panic!("read {from}: {error}")));
    }

    /// Asks `probe` until it answers, and gives the answer.
    ///
    /// # Panics
    /// When it has not answered within `patience`.
    pub(crate) fn wait<T>(&self, what: &str, patience: Duration, mut probe: impl FnMut(&Container) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(answer) = probe(self) {
                return answer;
            }
            assert!(start.elapsed() < patience, "{what}: not within {patience:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A process of the container, by its number there, as the host numbers it.
    ///
    /// # Panics
    /// When it is not there.
    pub(crate) fn process_on_host(&self, inside: i32) -> i32 {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(&self.leader.to_string());
        let is_it = |pid: &str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            numbers.split_whitespace().last() == Some(&inside.to_string()) && namespace(pid) == own
        };
        let processes = fs::read_dir("/proc").expect("the processes").flatten();
        let mut names = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let found = names.find(|name| name.bytes().all(|b| b.is_ascii_digit()) && is_it(name));
        found.and_then(|name| name.parse().ok()).unwrap_or_else(|| panic!("no process {inside} in {}", self.name))
    }

    fn enter(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        // A clean environment: what the developer has exported is not what the machine has.
        command.args(["-t", &self.leader.to_string(), "-a", "env", "-i", "HOME=/root", "LANG=C.UTF-8"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").args(arguments);
        command
    }

    fn wait_until_booted(&self) {
        // A freshly booted system is `running`; anything else would be a fault of the root file system or of its host.
        self.wait("the container is up", BOOT_MAX, |machine| {
            machine.attempt("systemctl is-system-running").status.success().then_some(())
        });
    }

    fn print_what_it_said(&self) {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        eprintln!("---- console of {}\n{log}", self.name);
        let journal = self.attempt("journalctl --no-pager -b -n 200 -o short-precise");
        eprintln!("---- journal of {}\n{}", self.name, String::from_utf8_lossy(&journal.stdout));
    }

    fn stop(&mut self) {
        // systemd's own signal for a power off; the leader is init of its namespace, so its end ends every process in it.
        let power_off = libc::SIGRTMIN() + 3;
        let _ = Command::new("kill").args(["-s", &power_off.to_string(), &self.leader.to_string()]).status();
        let start = Instant::now();
        while self.nspawn.try_wait().is_ok_and(|end| end.is_none()) {
            if start.elapsed() > STOP_MAX {
                let _ = kill(self.leader, Signal::SIGKILL);
                let _ = self.nspawn.wait();
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if thread::panicking() {
            self.print_what_it_said();
        }
        self.stop();
        remove_control_groups(&self.name);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A file of the repository.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where the tests keep what they make; under `target`, so that `cargo clean` removes it.
pub(crate) fn workshop() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    fs::create_dir_all(&path).expect("make the tests' directory");
    path
}

/// The root file system, made when it is not there yet. Two test runs at once wait for each other here.
pub(crate) fn root_file_system() -> &'static PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        assert!(
            nix::unistd::geteuid().is_root(),
            "end-to-end tests boot a container: run them as root, by `make test`"
        );
        let lock = fs::File::create(workshop().join("lock")).expect("make the lock");
        lock.lock().expect("take the lock");
        let root = workshop().join("root");
        let output = Command::new(source("tests/e2e/root_fs.sh")).arg(&root).stdin(Stdio::null()).output();
        let output = output.expect("start tests/e2e/root_fs.sh");
        assert!(output.status.success(), "make a root file system: {}", String::from_utf8_lossy(&output.stderr));
        root
    })
}

/// The container's init, as the host numbers it.
fn wait_for_leader(nspawn: &mut Child, directory: &Path) -> Pid {
    let start = Instant::now();
    loop {
        if let Some(leader) = child_of(nspawn.id(), "systemd") {
            return leader;
        }
        let ended = nspawn.try_wait().expect("look at systemd-nspawn");
        if ended.is_some() || start.elapsed() > BOOT_MAX {
            let _ = nspawn.kill();
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            panic!("systemd-nspawn started no system ({ended:?}):\n{log}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn child_of(parent: u32, name: &str) -> Option<Pid> {
    let wanted = (format!("PPid:\t{parent}"), format!("Name:\t{name}"));
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let number: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let has = |line: &str| status.lines().any(|l| l == line);
        (has(&wanted.0) && has(&wanted.1)).then(|| Pid::from_raw(number))
    })
}

/// The directories that the container left in the host's hierarchy, deepest first.
fn remove_control_groups(name: &str) {
    fn remove(directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        let _ = fs::remove_dir(directory);
    }
    for hierarchy in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
        let group = Path::new(hierarchy).join(name);
        if group.is_dir() {
            remove(&group);
        }
    }
}

#[test]
fn a_booted_container_runs_systemd_dbus_and_the_journal() {
    let machine = Container::boot("plain", &[]);
    assert_eq!(machine.run("cat /proc/1/comm"), "systemd\n");
    machine.run("busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager GetUnit s dbus.service");
    machine
        .run("systemd-cat -t greeting echo hello && journalctl --sync && journalctl -t greeting -o cat | grep hello");
    machine.run("test -x /usr/bin/rodent && test -x /usr/bin/rodent-controller");
}

#[test]
fn nothing_of_a_container_is_left_after_a_panic() {
    let panicked = thread::spawn(|| {
        let machine = Container::boot("panic", &[]);
        machine.run("exit 7");
    })
    .join();
    assert!(panicked.is_err());
    let name = format!("rodent-{}-panic", std::process::id());
    assert!(!workshop().join(&name).exists());
    for hierarchy in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
        assert!(!Path::new(hierarchy).join(&name).exists(), "a control group is left in {hierarchy}");
    }
}
