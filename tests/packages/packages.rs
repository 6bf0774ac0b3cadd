//! The packages that `make packages` has made: what is in them, what they need, what they weigh, and that they come out the
//! same twice.
//!
//! Takes target/packages and the programs in target/TRIPLE/dist; fails, and never skips, where they are missing. How
//! packages live on a machine, from installation to purge, is tests/e2e/packages.rs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, SystemTime},
};

/// Each machine as its triple begins, and as Debian calls it.
const MACHINES: &[(&str, &str)] = &[("x86_64", "amd64"), ("aarch64", "arm64")];
const PROGRAMS: &[&str] = &["rodent", "rodent-controller"];
/// Long enough for an emulated agent on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn deb(program: &str, debian: &str) -> PathBuf {
    there(root().join(format!("target/packages/{program}_{}-1_{debian}.deb", version())))
}

fn rpm(program: &str, machine: &str) -> PathBuf {
    there(root().join(format!("target/packages/{program}-{}-1.{machine}.rpm", version())))
}

fn program(name: &str, machine: &str) -> PathBuf {
    there(root().join(format!("target/{machine}-unknown-linux-gnu/dist/{name}")))
}

fn there(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `make packages`", path.display());
    path
}

/// Standard output of a command that has to succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// Every file of a package with mode and owners, as `-rw-r--r-- root/root /etc/x`; directories left out.
fn files_of_deb(path: &Path) -> BTreeSet<String> {
    let listing = output(Command::new("dpkg-deb").arg("--contents").arg(path));
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        format!(
            "{} {} /{}",
            words[0],
            words[1].replace("0/0", "root/root"),
            words[5].trim_start_matches("./").trim_start_matches('/')
        )
    };
    listing.lines().filter(|line| !line.starts_with('d')).map(line).collect()
}

fn files_of_rpm(path: &Path) -> BTreeSet<String> {
    let format = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]";
    let listing = output(Command::new("rpm").args(["-qp", "--nosignature", "--queryformat", format]).arg(path));
    listing.lines().map(str::to_owned).collect()
}

/// The pages of a command and all below it that are shown.
fn pages(command: &clap::Command, name: &str, section: u8) -> Vec<String> {
    let mut all = vec![format!("/usr/share/man/man{section}/{name}.{section}.gz")];
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        all.extend(pages(sub, &format!("{name}-{}", sub.get_name()), section));
    }
    all
}

fn names(directory: &str, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).expect("the directory is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    names.filter(|name| name.ends_with(extension)).collect()
}

/// What a package has to carry where Debian and Fedora agree.
fn common(name: &str) -> BTreeSet<String> {
    let mut paths = vec![
        format!("/usr/lib/systemd/system/{name}.service"),
        format!("/usr/lib/sysusers.d/{name}.conf"),
        format!("/usr/lib/tmpfiles.d/{name}.conf"),
        format!("/usr/lib/systemd/system-preset/90-{name}.preset"),
        format!("/usr/share/bash-completion/completions/{name}"),
        format!("/usr/share/fish/vendor_completions.d/{name}.fish"),
    ];
    let mut files = BTreeSet::from([format!("-rwxr-xr-x root/root /usr/bin/{name}")]);
    if name == "rodent" {
        paths.extend(pages(&rodent::cli::definition(), name, 1));
        paths.push("/usr/share/man/man5/rodent.yml.5.gz".to_owned());
        paths.push("/usr/lib/systemd/catalog/rodent.catalog".to_owned());
        paths.extend(
            ["alerts.yml", "dashboard.json", "rodent.schema.json"].map(|file| format!("/usr/share/rodent/{file}")),
        );
        paths.push("/usr/share/doc/rodent/README.md".to_owned());
        paths.extend(names("docs", ".md").iter().map(|file| format!("/usr/share/doc/rodent/docs/{file}")));
        let clients = ["python/rodent_client.py", "go/main.go", "go/build.sh", "shell/consume.sh"];
        paths.extend(clients.map(|file| format!("/usr/share/doc/rodent/docs/clients/{file}")));
        let receivers = ["python/sql_receiver.py", "node/monitoring_receiver.js"];
        paths.extend(receivers.map(|file| format!("/usr/share/doc/rodent/docs/receivers/{file}")));
        let protos = ["local.proto", "meaning.proto", "events/event_messages.proto"];
        paths.extend(protos.map(|file| format!("/usr/share/rodent/proto/{file}")));
        let drop_ins = names("systemd/drop-ins", ".conf");
        paths.extend(drop_ins.iter().map(|file| format!("/usr/share/doc/rodent/examples/systemd/{file}")));
        files.extend(
            ["zed", "smartd", "mdadm"].map(|hook| format!("-rwxr-xr-x root/root /usr/lib/rodent/hooks/{hook}")),
        );
    } else {
        paths.extend(pages(&rodent::controller::command::definition(), name, 8));
        paths.extend(
            ["controller.md", "completeness.md", "metrics.md"].map(|file| format!("/usr/share/doc/{name}/docs/{file}")),
        );
    }
    files.extend(paths.iter().map(|path| format!("-rw-r--r-- root/root {path}")));
    files
}

#[track_caller]
fn assert_same(package: &Path, found: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    let missing: Vec<_> = wanted.difference(found).collect();
    let foreign: Vec<_> = found.difference(wanted).collect();
    assert!(
        missing.is_empty() && foreign.is_empty(),
        "{}:\nmissing {missing:#?}\nforeign {foreign:#?}",
        package.display()
    );
}

fn each(mut look: impl FnMut(&str, &str, &str)) {
    for program in PROGRAMS {
        machines().for_each(|(machine, debian)| look(program, machine, debian));
    }
}

/// All of them, or those that MACHINES names, as for `make packages`.
fn machines() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let named = std::env::var("MACHINES").ok();
    let is_named =
        move |machine: &str| named.as_ref().is_none_or(|named| named.split_whitespace().any(|own| own == machine));
    MACHINES.iter().filter(move |(machine, _)| is_named(machine))
}

#[test]
fn each_deb_carries_what_belongs_into_it_and_nothing_else() {
    each(|program, _, debian| {
        let mut wanted = common(program);
        let mut own = vec![
            format!("/usr/share/zsh/vendor-completions/_{program}"),
            format!("/usr/share/lintian/overrides/{program}"),
        ];
        let documents = ["changelog.Debian.gz", "copyright", "third-party-licences.gz"];
        own.extend(documents.map(|file| format!("/usr/share/doc/{program}/{file}")));
        wanted.extend(own.iter().map(|path| format!("-rw-r--r-- root/root {path}")));
        let package = deb(program, debian);
        if program == "rodent" {
            // The group comes with the user, in postinst.
            wanted.insert("-rw-r----- root/root /etc/rodent/rodent.yml".to_owned());
            let conffiles = output(Command::new("dpkg-deb").arg("--info").arg(&package).arg("conffiles"));
            assert_eq!(conffiles.trim(), "/etc/rodent/rodent.yml");
        }
        assert_same(&package, &files_of_deb(&package), &wanted);
    });
}

#[test]
fn each_rpm_carries_what_belongs_into_it_and_nothing_else() {
    each(|program, machine, _| {
        let mut wanted = common(program);
        let own = [
            format!("/usr/share/zsh/site-functions/_{program}"),
            format!("/usr/share/doc/{program}/changelog.gz"),
            format!("/usr/share/licenses/{program}/LICENSE"),
            format!("/usr/share/licenses/{program}/third-party-licences.gz"),
        ];
        wanted.extend(own.iter().map(|path| format!("-rw-r--r-- root/root {path}")));
        let package = rpm(program, machine);
        if program == "rodent" {
            wanted.insert("-rw-r----- root/rodent /etc/rodent/rodent.yml".to_owned());
            let flags = "[%{FILEFLAGS:fflags} %{FILENAMES}\n]";
            let flags =
                output(Command::new("rpm").args(["-qp", "--nosignature", "--queryformat", flags]).arg(&package));
            assert!(flags.lines().any(|line| line == "cn /etc/rodent/rodent.yml"), "config(noreplace): {flags}");
        }
        assert_same(&package, &files_of_rpm(&package), &wanted);
    });
}

#[test]
fn the_packages_carry_the_programs_that_were_checked() {
    let machines = machines().map(|(machine, _)| machine);
    // Weight, the C library, paths of the build, what the agent must not carry.
    output(Command::new("packaging/check.sh").args(machines).current_dir(root()));
    each(|name, machine, debian| {
        let unpacked = tempfile::tempdir().expect("a directory");
        output(Command::new("dpkg-deb").arg("--extract").arg(deb(name, debian)).arg(unpacked.path()));
        let of_deb = fs::read(unpacked.path().join("usr/bin").join(name)).expect("the program");
        assert!(of_deb == fs::read(program(name, machine)).expect("the program"), "{name} for {machine} is another");
    });
}

#[test]
fn the_packages_need_what_their_programs_link_to_and_no_more() {
    each(|name, machine, debian| {
        let dynamic = output(Command::new("readelf").args(["-W", "--dynamic"]).arg(program(name, machine)));
        let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
        let library = |line: &str| line.split(['[', ']']).nth(1).expect("a name").to_owned();
        let mut needed: BTreeSet<_> = needed.map(library).collect();
        // Comes with the C library.
        needed.retain(|library| !library.starts_with("ld-linux"));
        assert_eq!(
            needed,
            ["libc.so.6", "libgcc_s.so.1", "libm.so.6"].map(str::to_owned).into(),
            "{name} for {machine}"
        );
        let depends = output(Command::new("dpkg-deb").arg("--field").arg(deb(name, debian)).arg("Depends"));
        assert_eq!(depends.trim(), "libc6 (>= 2.34), libgcc-s1, passwd");
        let requires = output(Command::new("rpm").args(["-qp", "--nosignature", "--requires"]).arg(rpm(name, machine)));
        for library in ["libc.so.6(GLIBC_2.34)(64bit)", "libm.so.6()(64bit)", "libgcc_s.so.1()(64bit)"] {
            assert!(requires.lines().any(|line| line == library), "{requires}");
        }
    });
}

#[test]
fn users_are_the_same_with_and_without_systemd_and_in_each_form() {
    for program in PROGRAMS {
        let sysusers =
            fs::read_to_string(root().join(format!("packaging/sysusers.d/{program}.conf"))).expect("the file");
        let line = sysusers.lines().find(|line| line.starts_with("u ")).expect("a user");
        let (comment, home) = (line.split('"').nth(1).expect("a comment"), line.rsplit(' ').next().expect("a home"));
        for script in [format!("packaging/debian/{program}/postinst"), format!("packaging/rpm/{program}/pre")] {
            let text = fs::read_to_string(root().join(&script)).expect("the script");
            assert!(
                text.contains(&format!("useradd --system --gid {program} --home-dir {home} --no-create-home")),
                "{script}"
            );
            assert!(text.contains(&format!("--comment \"{comment}\" {program}")), "{script}");
        }
    }
}

#[test]
fn man_pages_are_what_man_and_mandoc_expect() {
    let documents = root().join("target/packages/documents/man");
    for section in ["man1", "man5", "man8"] {
        let entries = fs::read_dir(there(documents.join(section))).expect("a directory");
        for page in entries.map(|entry| entry.expect("an entry").path()) {
            let mut man = Command::new("man");
            man.args(["--warnings", "--encoding=UTF-8", "--local-file", "-Tutf8", "-Z"]).arg(&page);
            let said = man.env("LC_ALL", "C.UTF-8").output().expect("man runs").stderr;
            assert!(said.is_empty(), "{}: {}", page.display(), String::from_utf8_lossy(&said));
            output(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page));
        }
    }
}

#[test]
fn lintian_and_rpmlint_say_nothing_that_is_not_explained() {
    each(|program, machine, debian| {
        let mut lintian = Command::new("lintian");
        lintian
            .args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"])
            .arg(deb(program, debian));
        let said = output(&mut lintian);
        assert_eq!(said.trim(), "", "lintian on {program} for {debian}");
        let mut rpmlint = Command::new("rpmlint");
        let said = output(rpmlint.arg("-c").arg(root().join("packaging/rpm/rpmlint.toml")).arg(rpm(program, machine)));
        assert!(said.contains(" 0 errors, 0 warnings"), "{said}");
    });
}

#[test]
fn packing_once_more_gives_the_same_bytes_also_where_files_are_older_than_the_commit() {
    let again = tempfile::tempdir().expect("a directory");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(root().join("docs/controller.md")).and_then(|file| file.set_modified(old)).expect("an old file");
    let machines = machines().map(|(machine, _)| machine);
    let mut pack = Command::new("packaging/package.sh");
    pack.args(machines).current_dir(root()).env("INTO", again.path());
    output(&mut pack);
    let is_same = |package: &Path| {
        let other = again.path().join(package.file_name().expect("a name"));
        assert!(
            fs::read(package).expect("it") == fs::read(&other).expect("the other"),
            "{} differs",
            package.display()
        );
    };
    each(|program, machine, debian| {
        is_same(&deb(program, debian));
        is_same(&rpm(program, machine));
    });
}

/// A program of the machine that is not this one, in an emulator.
fn emulated(name: &str) -> Command {
    let machine = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
    let mut command = Command::new(format!("qemu-{machine}-static"));
    command.arg("-L").arg(format!("/usr/{machine}-linux-gnu")).arg(program(name, machine));
    command
}

#[test]
fn the_programs_of_the_other_machine_start_and_the_agent_takes_an_event() {
    for name in PROGRAMS {
        assert_eq!(output(emulated(name).arg("--version")).trim(), format!("{name} {}", version()));
    }
    output(emulated("rodent").args(["config", "check"]).arg(root().join("packaging/config/rodent.yml")));
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    fs::write(
        at("rodent.yml"),
        format!("state_directory: {}\nsocket: {}\n", at("state").display(), at("socket").display()),
    )
    .expect("the settings");
    let _agent =
        Ended(emulated("rodent").arg("agent").arg("--config").arg(at("rodent.yml")).spawn().expect("it starts"));
    let socket = at("socket");
    let began = std::time::Instant::now();
    while !socket.exists() {
        assert!(began.elapsed() < PATIENCE, "the emulated agent makes no socket");
        std::thread::sleep(Duration::from_millis(100));
    }
    let ask = |words: &[&str]| output(emulated("rodent").arg("--socket").arg(&socket).args(words));
    ask(&["emit", "storage.pool.created", "pool_name=tank"]);
    let stored = ask(&["events", "storage.pool.created", "-o", "jsonl"]);
    assert!(stored.contains("\"tank\""), "{stored}");
}

/// A process that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Err: it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
