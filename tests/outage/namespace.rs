//! Networks of their own, joined by a cable. Each lives as long as a program that waits in it for its standard input to
//! end, which it does with the test, however that ends.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::sched::{CloneFlags, setns};

/// A network of its own.
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    /// With nothing but a loopback that is up.
    pub(crate) fn new() -> Namespace {
        assert!(nix::unistd::geteuid().is_root(), "only root can make a network: run `make test` as root");
        let own = fs::read_link("/proc/self/ns/net").expect("the kernel knows networks");
        let mut holder = Command::new("unshare");
        let holder = holder.args(["--net", "cat"]).stdin(Stdio::piped()).spawn().expect("start unshare");
        let namespace = Namespace { holder };
        // Until it has left ours.
        crate::process::wait("a network is made", crate::site::PATIENCE, || {
            let there = fs::read_link(namespace.path()).ok()?;
            (there != own).then_some(())
        });
        namespace.ip("link set lo up");
        namespace
    }

    /// Two networks and the cable between them, `wire` at both ends, with an address of each.
    pub(crate) fn joined(one: &str, other: &str) -> [Namespace; 2] {
        let ends = [Namespace::new(), Namespace::new()];
        ends[0].ip(&format!("link add wire type veth peer name wire netns {}", ends[1].holder.id()));
        for (end, address) in ends.iter().zip([one, other]) {
            end.ip(&format!("address add {address} dev wire"));
            end.ip("link set wire up");
        }
        ends
    }

    /// A command of iproute2 in it.
    pub(crate) fn ip(&self, words: &str) {
        let mut ip = Command::new("nsenter");
        ip.arg(self.entry()).args(["ip", "-batch", "-"]).stdin(Stdio::piped());
        let mut ip = ip.spawn().expect("start nsenter");
        ip.stdin.take().expect("standard input is piped").write_all(words.as_bytes()).expect("tell ip");
        assert!(ip.wait().expect("wait for ip").success(), "ip {words}");
    }

    /// A command line that runs in it. The program keeps the number of the process that is started.
    pub(crate) fn within(&self, words: &[String]) -> Vec<String> {
        [&["nsenter".to_owned(), self.entry(), "--".to_owned()], words].concat()
    }

    /// The same, with a file of the test in the place of the system's.
    pub(crate) fn within_with(&self, file: &Path, in_place_of: &str, words: &[String]) -> Vec<String> {
        let script = format!("mount --bind {} {in_place_of} && exec \"$@\"", file.display());
        let shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        self.within(&[&shell.map(str::to_owned), words].concat())
    }

    /// Runs something on a thread that is in it.
    pub(crate) fn inside<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let path = self.path();
        let thread = std::thread::spawn(move || {
            let network = fs::File::open(path).expect("the network is there");
            setns(&network, CloneFlags::CLONE_NEWNET).expect("only root can enter a network");
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    fn entry(&self) -> String {
        format!("--net={}", self.path())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
