//! The life of the packages on a booted machine and in an image that is being made: installed, configured, reloaded,
//! killed, stuck, upgraded, downgraded, removed, installed again, purged. Needs what `make packages` and `make repackage` have
//! made; `make test-packages` does both.

mod format;
mod image;
mod stream;

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use self::format::{Format, NEWER, Version};
use crate::container::Container;

const PATIENCE: Duration = Duration::from_secs(60);

const BOTH: &[&str] = &["rodent-controller", "rodent"];

/// Where the directories begin that a machine itself writes to.
const NOT_OURS: &[&str] = &[
    "/dev",
    "/mnt",
    "/proc",
    "/root/.rpmdb",
    "/run",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/var/lib/systemd",
    "/var/log",
    "/var/tmp",
];

/// Directories that the package `filesystem` of RPM's distributions has, and this machine lacks.
const OF_FILESYSTEM: &str = "/usr/share/licenses /usr/share/man/man1 /usr/share/man/man5 /usr/share/man/man8 \
    /usr/share/fish/vendor_completions.d /usr/share/zsh/site-functions";

/// What accounts leave: they stay, so that their numbers never come to mean somebody else.
const ACCOUNTS: &[&str] = &["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

/// A machine with both packages.
struct Life {
    machine: Container,
    format: Format,
}

#[test]
fn a_debian_package_lives_from_its_installation_to_its_purge_and_no_event_is_lost() {
    let life = Life::begin(Format::Deb, "deb");
    let before = life.files();
    life.is_not_started_where_policy_says_no();
    life.goes_by();
    life.machine.run("dpkg -P rodent rodent-controller 2>&1");
    life.leaves(&before, &[]);
}

#[test]
fn an_rpm_package_lives_from_its_installation_to_its_removal_and_no_event_is_lost() {
    let life = Life::begin(Format::Rpm, "rpm");
    let before = life.files();
    life.goes_by();
    life.format.remove(&life.machine, BOTH);
    // RPM knows no purge: what is the administrator's stays.
    life.leaves(&before, &["/etc/rodent", "/var/lib/rodent", "/etc/rodent-controller", "/var/lib/rodent-controller"]);
}

impl Life {
    fn begin(format: Format, test: &str) -> Life {
        let machine = format.boot(test);
        // What another package's hooks look like is part of its life.
        machine.run("mkdir -p /etc/zfs/zed.d");
        if format == Format::Rpm {
            machine.run(&format!("mkdir -p {OF_FILESYSTEM}"));
        }
        Life { machine, format }
    }

    /// All that is the same for both formats, from the installation to a removal and back.
    fn goes_by(&self) {
        self.install();
        self.configure();
        self.is_reloaded_or_refused_as_a_whole();
        self.speaks_in_the_journal();
        stream::start(&self.machine);
        self.survives_a_kill_and_a_standstill();
        self.is_upgraded_and_downgraded();
        stream::finish(&self.machine);
        self.is_removed_and_comes_back();
    }

    /// Every path of the machine that a package may have made.
    fn files(&self) -> BTreeSet<String> {
        let listed = self.machine.run("find / -xdev -path /proc -prune -o -print");
        let is_ours = |path: &&str| !NOT_OURS.iter().any(|begin| path.starts_with(begin));
        listed.lines().filter(is_ours).map(str::to_owned).collect()
    }

    /// Whether nothing but accounts and `kept` is there that was not there before.
    fn leaves(&self, before: &BTreeSet<String>, kept: &[&str]) {
        let after = self.files();
        let is_kept = |path: &&String| [ACCOUNTS, kept].concat().iter().any(|begin| path.starts_with(begin));
        let left: Vec<_> = after.difference(before).filter(|path| !is_kept(path)).collect();
        let lost: Vec<_> = before.difference(&after).collect();
        assert!(left.is_empty() && lost.is_empty(), "left: {left:#?}, lost: {lost:#?}");
        for kept in kept {
            self.machine.run(&format!("test -e {kept}"));
        }
        for user in ["rodent", "rodent-controller"] {
            self.machine.run(&format!("getent passwd {user} && getent group {user}"));
        }
        let said = self.machine.run("systemctl list-unit-files --no-legend 'rodent*'; systemctl --failed --no-legend");
        assert_eq!(said, "", "units are left");
    }

    /// An administrator who makes an image forbids services to start.
    fn is_not_started_where_policy_says_no(&self) {
        self.machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
        self.machine.run("chmod 755 /usr/sbin/policy-rc.d");
        self.format.install(&self.machine, BOTH, Version::Ours);
        for package in BOTH {
            assert_eq!(self.show(package, "ActiveState"), "inactive", "{package}");
        }
        self.machine.run("rm /usr/sbin/policy-rc.d && dpkg -P rodent rodent-controller 2>&1");
    }

    fn install(&self) {
        self.format.install(&self.machine, BOTH, Version::Ours);
        for package in BOTH {
            assert_eq!(self.machine.run(&format!("systemctl is-enabled {package}")), "enabled\n");
            self.is_running(package);
        }
        let modes = self
            .machine
            .run("stat -c '%n %U %G %a' /etc/rodent /etc/rodent/rodent.yml /etc/rodent/rodent.d /var/lib/rodent");
        let expected = "/etc/rodent root root 755\n/etc/rodent/rodent.yml root rodent 640\n\
                        /etc/rodent/rodent.d root root 755\n/var/lib/rodent rodent rodent 750\n";
        assert_eq!(modes, expected);
        // As installed, the file says what the defaults are, and nothing waits for a person.
        self.machine.run("rodent config check && rodent status");
    }

    /// A controller on the same machine, as the first steps of its documentation have it.
    fn configure(&self) {
        // Where a package makes no secret, the administrator does.
        self.machine.run(
            "cd /etc/rodent-controller && { [ -s secret ] || { (umask 077; head -c 32 /dev/urandom | base64 > secret); \
             chgrp rodent-controller secret; chmod 640 secret; }; }; systemctl restart rodent-controller",
        );
        self.machine.run(
            "(umask 027; rodent-controller token --token-secret /etc/rodent-controller/secret --node nas-1 \
             > /etc/rodent/token) && chgrp rodent /etc/rodent/token",
        );
        self.set("default", "");
        self.machine.run("systemctl restart rodent");
        self.emits("configured");
    }

    /// Writes the configuration, in the file that the package has brought.
    fn set(&self, profile: &str, more: &str) {
        let settings = format!(
            "# Mine.\ncontroller: {{address: '127.0.0.1:7443', token_file: /etc/rodent/token, tls: off}}\n\
             events: {{profile: {profile}, batch_timeout: 200ms, flush_interval: 100ms{more}}}\n"
        );
        self.machine.write("/etc/rodent/rodent.yml", &settings);
    }

    fn is_reloaded_or_refused_as_a_whole(&self) {
        let process = self.show("rodent", "MainPID");
        self.set("low-latency", ", buffer_sise: 10");
        let output = self.machine.attempt("systemctl reload rodent");
        assert!(!output.status.success(), "a wrong configuration is refused");
        let said = self.machine.run("journalctl --sync; journalctl -u rodent -o cat --no-pager -n 50");
        assert!(said.contains("/etc/rodent/rodent.yml:3:") && said.contains("buffer_sise"), "{said}");
        assert_eq!(self.status()["profile"], "default", "the old one is in force");
        self.emits("refused");

        self.set("low-latency", "");
        self.machine.run("systemctl reload rodent");
        assert_eq!(self.status()["profile"], "low-latency", "the new one is in force");
        self.emits("reloaded");
        assert_eq!((self.show("rodent", "MainPID"), &*self.show("rodent", "NRestarts")), (process, "0"));
    }

    fn speaks_in_the_journal(&self) {
        let ready = rodent::telemetry::message::AGENT_READY.id;
        let said =
            self.machine.run(&format!("journalctl --sync; journalctl -t rodent MESSAGE_ID={ready} -o json --no-pager"));
        let entry: Value = serde_json::from_str(said.lines().last().expect("an entry")).expect("JSON");
        assert_eq!((&entry["PRIORITY"], &entry["_SYSTEMD_UNIT"]), (&"6".into(), &"rodent.service".into()), "{entry}");
        let explained = self.machine.run(&format!("journalctl -x -t rodent MESSAGE_ID={ready} --no-pager"));
        assert!(explained.contains("Subject: Rodent takes events"), "{explained}");
    }

    fn survives_a_kill_and_a_standstill(&self) {
        self.machine.run("systemctl kill --signal=KILL rodent");
        stream::advance(&self.machine);
        assert_eq!(self.show("rodent", "NRestarts"), "1");
        // Nothing of it runs any more, and only systemd's watchdog can see that.
        self.machine.run("systemctl kill --signal=STOP rodent");
        self.machine.wait("the watchdog", PATIENCE, |_| (self.show("rodent", "NRestarts") == "2").then_some(()));
        stream::advance(&self.machine);
    }

    fn is_upgraded_and_downgraded(&self) {
        let settings = self.machine.run("cat /etc/rodent/rodent.yml; stat -c '%U %G %a' /etc/rodent/rodent.yml");
        let log = self.status()["log"]["log_epoch"].clone();
        let ours = self.format.installed(&self.machine, "rodent");
        for (version, expected) in [(Version::Newer, NEWER), (Version::Ours, &*ours)] {
            let process = self.show("rodent", "MainPID");
            self.format.install(&self.machine, BOTH, version);
            let installed = self.format.installed(&self.machine, "rodent");
            assert!(installed.starts_with(expected), "{installed}");
            self.is_running("rodent");
            self.is_running("rodent-controller");
            assert_ne!(self.show("rodent", "MainPID"), process, "the new program runs");
            stream::advance(&self.machine);
            let kept = self.machine.run("cat /etc/rodent/rodent.yml; stat -c '%U %G %a' /etc/rodent/rodent.yml");
            assert_eq!(kept, settings, "what the administrator wrote is kept");
            assert_eq!(self.status()["log"]["log_epoch"], log, "the log goes on");
        }
    }

    fn is_removed_and_comes_back(&self) {
        let (node, log) = (self.status()["node_id"].clone(), self.status()["log"]["log_epoch"].clone());
        let zedlets = || self.machine.run("ls /etc/zfs/zed.d");
        self.machine.run("rodent hooks enable zed");
        assert_ne!(zedlets(), "");
        self.format.remove(&self.machine, &["rodent"]);
        assert_eq!(zedlets(), "", "nothing is left in the directories of others");
        assert_eq!(self.show("rodent", "ActiveState"), "inactive");
        assert!(!self.machine.attempt("pgrep -x rodent").status.success(), "nothing of it runs");
        self.machine.run("test ! -e /usr/bin/rodent && test -d /var/lib/rodent/log && test ! -e /usr/lib/rodent");

        self.format.install(&self.machine, &["rodent"], Version::Ours);
        if self.format == Format::Rpm {
            // RPM keeps a changed file of a package that goes, under another name.
            self.machine.run("mv /etc/rodent/rodent.yml.rpmsave /etc/rodent/rodent.yml && systemctl restart rodent");
        }
        self.is_running("rodent");
        self.emits("back");
        assert_eq!((self.status()["node_id"].clone(), self.status()["log"]["log_epoch"].clone()), (node, log));
        self.machine.run("rodent-controller gaps --node nas-1");
    }

    /// Emits an event and waits until the controller has it.
    fn emits(&self, step: &str) {
        self.machine.wait("the agent takes an event", PATIENCE, |machine| {
            let emit = format!("rodent emit usage.resource.increased resource_type=step --meta step={step}");
            machine.attempt(&emit).status.success().then_some(())
        });
        self.machine.wait(&format!("the event of step `{step}`"), PATIENCE, |machine| {
            let events = machine.run("rodent-controller events -n 1000 -o jsonl usage.resource");
            events.contains(&format!("\"step\":\"{step}\"")).then_some(())
        });
    }

    fn is_running(&self, unit: &str) {
        self.machine.wait(&format!("{unit} is active"), PATIENCE, |_| {
            (self.show(unit, "ActiveState") == "active").then_some(())
        });
    }

    fn show(&self, unit: &str, property: &str) -> String {
        self.machine.run(&format!("systemctl show -P {property} {unit}")).trim().to_owned()
    }

    fn status(&self) -> Value {
        self.machine.wait("the agent answers", PATIENCE, |machine| {
            let output = machine.attempt("rodent status -o json");
            output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
        })
    }
}
