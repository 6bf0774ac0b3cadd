//! The packages in an image that is being made: a directory with a root file system, where no systemd runs and nothing may
//! be started.

use std::process::{Command, Stdio};

use super::format::{Format, Version};
use crate::container::{root_file_system, source, workshop};

/// Runs a script in a root file system of its own, as the first process of its own, without systemd. What it writes goes to
/// memory and with it.
fn in_image(format: Format, script: &str) -> String {
    let directory = workshop().join(format!("image-{}-{format:?}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("make a directory");
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "bash"])
        .arg(source("tests/e2e/image.sh"))
        .args([root_file_system(), &directory, &Format::directory()])
        .arg(script)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("start unshare");
    let _ = std::fs::remove_dir(&directory);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{script}\n{said}");
    said
}

/// What must be so in an image whatever the form of the packages.
const CHECKS: &str = "
    test ! -e /run/systemd/system
    test -x /usr/bin/rodent -a -x /usr/bin/rodent-controller
    getent passwd rodent && getent passwd rodent-controller
    [ \"$(stat -c '%U %G %a' /etc/rodent/rodent.yml)\" = 'root rodent 640' ]
    for unit in rodent rodent-controller; do
        test -L /etc/systemd/system/multi-user.target.wants/$unit.service
    done
    for process in /proc/[0-9]*/comm; do ! grep rodent \"$process\"; done
";

#[test]
fn a_debian_package_is_installed_into_an_image_twice_and_starts_nothing() {
    let files = ["rodent-controller", "rodent"].map(|package| Format::Deb.file(package, Version::Ours)).join(" ");
    let install = Format::Deb.install_command(&files);
    let again = "for package in rodent rodent-controller; do
        /var/lib/dpkg/info/$package.postinst configure ''; /var/lib/dpkg/info/$package.postinst configure 0.0.1; done";
    let purge = "dpkg -P rodent rodent-controller; test ! -e /etc/rodent -a ! -e /var/lib/rodent
        ! find /etc/systemd -name 'rodent*' | grep .";
    let said = in_image(Format::Deb, &[&install, CHECKS, again, CHECKS, purge].join("\n"));
    assert!(!said.contains("rror"), "{said}");
}

#[test]
fn an_rpm_package_is_installed_into_an_image_and_starts_nothing() {
    let files = ["rodent-controller", "rodent"].map(|package| Format::Rpm.file(package, Version::Ours)).join(" ");
    let install = Format::Rpm.install_command(&files);
    let remove = "rpm -e rodent rodent-controller; test ! -e /usr/bin/rodent";
    let said = in_image(Format::Rpm, &[&install, CHECKS, remove].join("\n"));
    assert!(!said.contains("rror") && !said.contains("scriptlet"), "{said}");
}
