//! The agent's sandbox, measured from outside and tried from inside: this test program once more, run by the very unit.

use std::{
    env, fs,
    fs::File,
    io,
    os::{fd::FromRawFd as _, unix::fs::PermissionsExt as _},
    path::Path,
    process::Command,
};

use crate::{appliance::Appliance, container::source};

const INSIDE: &str = "RODENT_INSIDE_THE_SANDBOX";
/// Of the units, and not known to systemd before 254, which goes on without them.
const NEW_KEYS: [&str; 3] = ["ImportCredential", "RestartSteps", "RestartMaxDelaySec"];
/// Of personality(2): what a 32-bit program would see.
const PER_LINUX32: libc::c_ulong = 8;
/// By `systemd-analyze security`, at the most.
const EXPOSURE_MAX: f64 = 1.8;

#[test]
fn the_sandbox_is_as_tight_as_it_is_said_to_be() {
    if env::var_os(INSIDE).is_some() {
        return try_from_inside();
    }
    let own = env::current_exe().expect("this program");
    // There is no ZFS here; another node in its place shows that the one node gets in.
    let binds = [format!("--bind-ro={}:/usr/bin/rodent-inside", own.display()), "--bind=/dev/fuse:/dev/zfs".to_owned()];
    let appliance = Appliance::install("sandbox", &[&binds[0], &binds[1]]);
    appliance.run("cp /usr/bin/id /usr/local/bin/suid-id && chmod 4755 /usr/local/bin/suid-id && touch /dev/shm/of-others /tmp/of-others");

    for unit in ["rodent", "rodent-controller"] {
        // The pages that it names are in the package; the keys are those of newer versions of systemd.
        let said = appliance.attempt(&format!("systemd-analyze verify --man=no {unit}.service"));
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let is_new = |line: &str| NEW_KEYS.iter().any(|key| line.contains(&format!("Unknown key '{key}'")));
        assert!(said.lines().filter(|line| line.contains("rodent")).all(is_new), "{said}");
        assert!(exposure(&appliance, unit) <= EXPOSURE_MAX, "{unit}");
    }
    let inside = format!(
        "[Service]\nEnvironment={INSIDE}=1\nExecStartPre=/usr/bin/rodent-inside --exact --nocapture \
         sandbox::the_sandbox_is_as_tight_as_it_is_said_to_be\n"
    );
    appliance.write("/etc/systemd/system/rodent.service.d/inside.conf", &inside);
    appliance.run("systemctl daemon-reload && systemctl start rodent-controller rodent");
    appliance.run("rm /etc/systemd/system/rodent.service.d/inside.conf");
    assert_eq!(appliance.run("stat -c '%U %G %a' /run/rodent/rodent.sock"), "rodent rodent 660\n");
    appliance.run("test -e /dev/shm/of-others -a -e /tmp/of-others");
    appliance.wait("what is not seen is said", crate::appliance::PATIENCE, |machine| {
        machine.run("rodent status").contains("locked accounts").then_some(())
    });

    for drop_in in fs::read_dir(source("systemd/drop-ins")).expect("the drop-ins") {
        let path = drop_in.expect("a drop-in").path();
        let text = fs::read_to_string(&path).expect("a text");
        let said = text.split("# Costs: exposure ").nth(1).and_then(|rest| rest.get(..3)?.parse::<f64>().ok());
        appliance.write("/etc/systemd/system/rodent.service.d/tried.conf", &text);
        appliance.run("systemctl daemon-reload");
        assert_eq!(said, Some(exposure(&appliance, "rodent")), "{}", path.display());
        if path.to_string_lossy().contains("locked-accounts") {
            let user = path.file_stem().expect("a name").to_string_lossy().into_owned();
            appliance.run(&format!("useradd --no-user-group -p '$6$salt$hash' {user} && systemctl restart rodent"));
            // Once is not enough: until its first look the agent compares with nothing.
            appliance.wait(&format!("{} opens its eyes", path.display()), crate::appliance::PATIENCE, |machine| {
                machine.run(&format!("usermod -L {user} && sleep 0.5 && usermod -U {user} && sleep 0.5"));
                let locked = appliance.about(|event| {
                    event["payload"]["username"] == user.as_str() && event["kind"] == "system.user.locked"
                });
                (!locked.is_empty() && !machine.run("rodent status").contains("locked accounts")).then_some(())
            });
        }
    }
}

fn exposure(appliance: &Appliance, unit: &str) -> f64 {
    let said = appliance.run(&format!("systemd-analyze security --no-pager {unit} | tail -n 1"));
    let figure = said.split_whitespace().find_map(|word| word.parse().ok());
    figure.unwrap_or_else(|| panic!("no figure in {said}"))
}

/// Runs under the agent's unit, as its user.
fn try_from_inside() {
    nothing_else_can_be_written();
    only_the_declared_sockets_can_be_opened();
    the_kernel_is_out_of_reach();
    devices_are_out_of_reach();
    there_is_no_privilege_and_no_way_to_one();
    nothing_writable_can_be_run();
}

fn nothing_else_can_be_written() {
    for directory in [
        "/",
        "/etc",
        "/etc/rodent",
        "/usr/bin",
        "/var",
        "/var/lib",
        "/var/log",
        "/home",
        "/root",
        "/run",
        "/run/lock",
        "/sys",
    ] {
        let flags = nix::sys::statvfs::statvfs(directory).expect("it is there").flags();
        assert!(flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY), "{directory} is writable");
        assert!(fs::write(Path::new(directory).join("inside"), "").is_err(), "{directory} is writable");
    }
    assert!(fs::write("/proc/sys/kernel/hostname", "inside").is_err());
    assert!(!Path::new("/dev/shm/of-others").exists() && !Path::new("/tmp/of-others").exists());
    // The last two are its own, and nobody else's.
    for directory in ["/var/lib/rodent", "/run/rodent", "/tmp", "/dev/shm"] {
        let path = Path::new(directory).join("inside");
        fs::write(&path, "").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mode = fs::metadata(&path).expect("it was just made").permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may look into what the agent writes");
        fs::remove_file(path).expect("it was just made");
    }
}

fn only_the_declared_sockets_can_be_opened() {
    for (family, kind) in [
        (libc::AF_PACKET, libc::SOCK_RAW),
        (libc::AF_VSOCK, libc::SOCK_STREAM),
        (libc::AF_ALG, libc::SOCK_SEQPACKET),
        (libc::AF_BLUETOOTH, libc::SOCK_RAW),
        (libc::AF_INET, libc::SOCK_RAW),
        (libc::AF_INET6, libc::SOCK_RAW),
    ] {
        assert!(socket(family, kind).is_err(), "a socket of family {family} and type {kind}");
    }
    for (family, kind) in [
        (libc::AF_UNIX, libc::SOCK_STREAM),
        (libc::AF_INET, libc::SOCK_STREAM),
        (libc::AF_INET6, libc::SOCK_STREAM),
        (libc::AF_NETLINK, libc::SOCK_RAW),
    ] {
        socket(family, kind).unwrap_or_else(|error| panic!("family {family}: {error}"));
    }
}

#[expect(unsafe_code, reason = "families that nix does not know")]
fn socket(family: i32, kind: i32) -> io::Result<File> {
    // SAFETY: takes numbers only.
    let descriptor = unsafe { libc::socket(family, kind, 0) };
    match descriptor {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor was just made, and is owned by nobody else.
        _ => Ok(unsafe { File::from_raw_fd(descriptor) }),
    }
}

#[expect(unsafe_code, reason = "what is forbidden has no safe wrapper")]
fn the_kernel_is_out_of_reach() {
    let refused = |what: &str, answer: i64| {
        let error = io::Error::last_os_error();
        assert!(answer == -1 && error.raw_os_error() == Some(libc::EPERM), "{what}: {answer}, {error}");
    };
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: all pointers are null, strings of this program or `now`; each call is to fail.
    unsafe {
        refused("load a module", libc::syscall(libc::SYS_finit_module, 0, c"".as_ptr(), 0));
        refused("set the clock", libc::clock_settime(libc::CLOCK_REALTIME, &raw const now).into());
        let mut clock: libc::timex = std::mem::zeroed();
        // That it may be asked cannot be shown here: what boots the container forbids that to all in it.
        clock.modes = libc::ADJ_STATUS;
        refused("say that the clock is in step", libc::adjtimex(&raw mut clock).into());
        refused(
            "mount",
            libc::mount(std::ptr::null(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()).into(),
        );
        refused("become root of a namespace", libc::unshare(libc::CLONE_NEWUSER).into());
        refused("rename the machine", libc::sethostname(c"inside".as_ptr(), 6).into());
        refused("restart the machine", libc::reboot(libc::LINUX_REBOOT_CMD_RESTART).into());
        refused("load a program into the kernel", libc::syscall(libc::SYS_bpf, 0, 0, 0));
        refused("read the kernel's log", libc::syscall(libc::SYS_syslog, 3, 0, 0));
        refused("be another system", libc::personality(PER_LINUX32).into());
    }
}

fn devices_are_out_of_reach() {
    for device in ["/dev/kmsg", "/dev/mem", "/dev/port", "/dev/fuse", "/dev/loop-control", "/dev/sda", "/dev/net/tun"] {
        assert!(!Path::new(device).exists(), "{device} is there");
    }
    // ZFS gives its node to everybody. This one may have a mode of its own, which is another error than the sandbox's.
    let opened = File::options().read(true).write(true).open("/dev/zfs").map_err(|error| error.raw_os_error());
    assert!(matches!(opened, Ok(_) | Err(Some(libc::EACCES))), "the pools cannot be asked: {opened:?}");
    assert!(!Path::new("/proc/1").exists(), "processes of others are seen");
}

fn there_is_no_privilege_and_no_way_to_one() {
    let status = fs::read_to_string("/proc/self/status").expect("of this process");
    for (field, value) in [
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert!(status.contains(&format!("{field}:\t{value}\n")), "{field} is not {value}:\n{status}");
    }
    let id = Command::new("/usr/local/bin/suid-id").arg("-u").output().expect("it runs");
    let own = nix::unistd::getuid().to_string();
    assert!(!nix::unistd::getuid().is_root() && String::from_utf8_lossy(&id.stdout).trim() == own);
    fs::write("/var/lib/rodent/inside", "").expect("its own directory");
    let made = fs::set_permissions("/var/lib/rodent/inside", fs::Permissions::from_mode(0o4755));
    fs::remove_file("/var/lib/rodent/inside").expect("it was just made");
    assert!(made.is_err(), "a program that runs as its owner");
}

#[expect(unsafe_code, reason = "memory that is writable and executable has no safe wrapper")]
fn nothing_writable_can_be_run() {
    let map = |protection| {
        // SAFETY: a new private mapping, anywhere.
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) }
    };
    assert_eq!(map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC), libc::MAP_FAILED);
    let page = map(libc::PROT_READ | libc::PROT_WRITE);
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: the page was just mapped, and nobody uses it.
    assert_eq!(unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC) }, -1);
}
