//! The two forms of a package and the tools that install them, as far as the story of a machine depends on them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::container::{Container, source};

/// The version that a second set of packages has, of the same programs.
pub(crate) const NEWER: &str = "99.0.0";

/// Where the packages lie inside a container.
const MOUNTED: &str = "/mnt/packages";

/// A form of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Deb,
    Rpm,
}

/// A set of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// As built.
    Ours,
    /// [`NEWER`].
    Newer,
}

impl Format {
    /// Boots a machine with the packages at hand and nothing of them installed.
    pub(crate) fn boot(self, test: &str) -> Container {
        let newer = packages().join(NEWER);
        assert!(newer.is_dir(), "{} is not there: `make test-packages` makes it", newer.display());
        Container::boot_bare(test, &[&format!("--bind-ro={}:{MOUNTED}", packages().display())])
    }

    /// Where the packages lie on this machine.
    pub(crate) fn directory() -> PathBuf {
        packages()
    }

    /// Where a package lies inside a container.
    pub(crate) fn file(self, package: &str, version: Version) -> String {
        let directory = match version {
            Version::Ours => packages(),
            Version::Newer => packages().join(NEWER),
        };
        let found = self.find(&directory, package);
        let below = found.strip_prefix(packages()).expect("it was found there");
        format!("{MOUNTED}/{}", below.display())
    }

    fn find(self, directory: &Path, package: &str) -> PathBuf {
        let (beginning, ends) = match self {
            Format::Deb => (format!("{package}_"), [machine_of_debian(), ".deb".to_owned()].concat()),
            Format::Rpm => (format!("{package}-"), format!(".{}.rpm", std::env::consts::ARCH)),
        };
        let is_it = |name: &str| {
            let version = name.strip_prefix(&beginning).and_then(|rest| rest.strip_suffix(&ends));
            version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        };
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.retain(|path| path.file_name().is_some_and(|name| is_it(&name.to_string_lossy())));
        assert_eq!(found.len(), 1, "one {package} in {}: `make packages` makes it: {found:?}", directory.display());
        found.remove(0)
    }

    /// Installs or upgrades packages, or goes back to older ones; gives what the tool said.
    pub(crate) fn install(self, machine: &Container, packages: &[&str], version: Version) -> String {
        let files: Vec<String> = packages.iter().map(|package| self.file(package, version)).collect();
        self.checked(machine, &self.install_command(&files.join(" ")))
    }

    /// The command that installs files.
    pub(crate) fn install_command(self, files: &str) -> String {
        match self {
            Format::Deb => format!("dpkg -i {files}"),
            // What the packages need is on this Debian, but its database of RPM packages is empty.
            Format::Rpm => format!("rpm -U --oldpackage --nodeps {files}"),
        }
    }

    /// Takes packages away and keeps what is the administrator's.
    pub(crate) fn remove(self, machine: &Container, packages: &[&str]) -> String {
        let tool = match self {
            Format::Deb => "dpkg -r",
            Format::Rpm => "rpm -e",
        };
        self.checked(machine, &format!("{tool} {}", packages.join(" ")))
    }

    /// The version that is installed.
    pub(crate) fn installed(self, machine: &Container, package: &str) -> String {
        machine.run(&match self {
            Format::Deb => format!("dpkg-query -W -f '${{Version}}' {package}"),
            Format::Rpm => format!("rpm -q --qf '%{{VERSION}}' {package}"),
        })
    }

    /// Runs a tool. rpm ends well even when a scriptlet fails, and then says so; dpkg tells of a downgrade, and rpm of a
    /// changed file that it keeps.
    fn checked(self, machine: &Container, command: &str) -> String {
        let said = machine.run(&format!("{command} 2>&1"));
        let odd = ["warning:", "error", "failed", "cannot", "No such"];
        let expected = ["downgrading", "rodent.yml saved as"];
        let lines = said.lines().filter(|line| !expected.iter().any(|words| line.contains(words)));
        let complaints: Vec<_> = lines.filter(|line| odd.iter().any(|word| line.contains(word))).collect();
        assert!(complaints.is_empty(), "{command}\n{said}");
        said
    }
}

fn packages() -> PathBuf {
    std::env::var_os("RODENT_PACKAGES").map_or_else(|| source("target/packages"), PathBuf::from)
}

/// `_amd64`
fn machine_of_debian() -> String {
    let output = Command::new("dpkg").arg("--print-architecture").output().expect("start dpkg");
    format!("_{}", String::from_utf8_lossy(&output.stdout).trim())
}
