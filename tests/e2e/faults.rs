//! What breaks and is mended, of real parts on one booted machine: each fault and its end arrives once, with the right level and
//! sentence, and `rodent problems` shows it from the one to the other. The agent is stopped while some of it happens.
//! What takes longer to be told is broken at once, so that it is waited for once.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    appliance::{Appliance, PATIENCE},
    container::workshop,
    disk::{Disk, host},
    foreign_package::unpacked,
};

/// What the machine of the tests lacks.
const PACKAGES: [&str; 9] = [
    "btrfs-progs",
    "liblzo2-2",
    "libnsl2",
    "libnspr4",
    "libnss3",
    "libtirpc3",
    "libupsclient6",
    "libwrap0",
    "nut-server",
];
/// Before a program of theirs.
const WITH_THEIR_LIBRARIES: &str =
    "export LD_LIBRARY_PATH=$(echo /mnt/*/lib/*-linux-gnu /mnt/*/usr/lib/*-linux-gnu | tr ' ' :);";
/// The kernel's messages, and what `btrfs scrub` writes down for root.
const DROP_INS: [&str; 2] = ["kernel-log", "locked-accounts"];

struct Scene {
    appliance: Appliance,
    /// Set read-only.
    tank: Disk,
    /// Without inodes.
    mail: Disk,
    /// It finds errors in itself.
    sick: Disk,
    mirror: [Disk; 2],
    /// A subvolume of it has a quota.
    projects: Disk,
    /// On a file system that is full at a megabyte.
    small: Disk,
    _place: Scratch,
}

impl Scene {
    fn new() -> Scene {
        let place = Scratch::new("small");
        host(&["mount", "-t", "tmpfs", "-o", "size=1M", "small", place.0.to_str().expect("UTF-8")]);
        let small = Disk::of(&place.0.join("image"), "8M");
        let [tank, sick] = ["tank", "sick"].map(|name| Disk::ext4(name, &[]));
        let mail = Disk::ext4("mail", &["-N", "64"]);
        let mirror = ["first", "second"].map(|name| Disk::new(name, "300M"));
        let projects = with_a_quota();
        let devices = [&tank, &mail, &sick, &mirror[0], &mirror[1], &projects];
        host(&["mkfs.btrfs", "-q", "-L", "mirror", "-d", "raid1", "-m", "raid1", &mirror[0].device, &mirror[1].device]);

        let mut options: Vec<_> = devices.iter().map(|disk| format!("--bind={}", disk.device)).collect();
        options.extend(PACKAGES.map(|package| format!("--bind-ro={}:/mnt/{package}", unpacked(package).display())));
        options.extend(["--capability=CAP_SYSLOG", "--bind=/dev/kmsg:/dev/kmsg"].map(str::to_owned));
        let appliance = Appliance::install("faults", &options.iter().map(String::as_str).collect::<Vec<_>>());
        for name in DROP_INS {
            let place = format!("/etc/systemd/system/rodent.service.d/{name}.conf");
            appliance.install(&format!("systemd/drop-ins/{name}.conf"), &place);
        }
        appliance
            .run("systemctl daemon-reload && mkdir -p /srv/tank /srv/mail /srv/sick /srv/mirror /srv/projects /etc/nut /run/nut");
        // systemd-nspawn leaves out of it what the file systems tell.
        appliance.run(
            "mkdir /run/sys && mount -t sysfs sysfs /run/sys && mount --rbind /sys/fs/cgroup /run/sys/fs/cgroup && \
             mount --rbind /run/sys /sys",
        );
        for (disk, name) in [(&tank, "tank"), (&mail, "mail"), (&sick, "sick"), (&projects, "projects")] {
            appliance.run(&format!("mount {} /srv/{name}", disk.device));
        }
        let scene = Scene { appliance, tank, mail, sick, mirror, projects, small, _place: place };
        scene.loses_a_copy();
        scene.starts_nut();
        scene.appliance.begin();
        scene.appliance.wait_for_event("the UPS is known", |event| event["text"].to_string().contains("1 UPS: rack"));
        scene
    }

    /// A file is written to the mirror, and one copy of it is lost.
    fn loses_a_copy(&self) {
        self.mounts_the_mirror("rw");
        self.appliance.run("head -c 40M /dev/urandom > /srv/mirror/file && sync && umount /srv/mirror");
        let second = &self.mirror[1];
        second.detach();
        host(&["fallocate", "--punch-hole", "-o", "70M", "-l", "150M", &second.image]);
        second.attach();
        self.mounts_the_mirror("rw");
    }

    fn mounts_the_mirror(&self, how: &str) {
        let [first, second] = self.mirror.each_ref().map(|disk| disk.device.as_str());
        let second = if how.contains("degraded") { String::new() } else { format!("device={second},") };
        self.appliance.run(&format!("mount -t btrfs -o {second}{how} {first} /srv/mirror"));
    }

    fn btrfs(&self, words: &str) {
        // It ends with 3 when it has found something.
        self.appliance.attempt(&format!("{WITH_THEIR_LIBRARIES} /mnt/btrfs-progs/bin/btrfs {words} || test $? = 3"));
    }

    fn starts_nut(&self) {
        self.appliance.write("/etc/nut/ups.conf", "[rack]\ndriver = dummy-ups\nport = rack.dev\n");
        self.appliance.write("/etc/nut/upsd.conf", "LISTEN 127.0.0.1 3493\n");
        self.appliance.run("touch /etc/nut/upsd.users");
        self.power("OL", 100);
        for program in ["dummy-ups -a rack", "upsd"] {
            let run = format!("{WITH_THEIR_LIBRARIES} exec /mnt/nut-server/lib/nut/{program} -u root");
            self.appliance.run(&format!("systemd-run -q -p Type=forking sh -c '{}'", run.replace('\'', r#"'"'"'"#)));
        }
    }

    fn power(&self, status: &str, charge: u32) {
        // The driver reads it again when the time of its change is another, in whole seconds.
        thread::sleep(Duration::from_millis(1100));
        let variables = format!("ups.status: {status}\nbattery.charge: {charge}\nbattery.runtime: 1805\n");
        self.appliance.write("/etc/nut/rack.dev", &variables);
    }

    /// Waits until the problems of these things are these: how their sentences begin.
    fn has_problems(&self, things: &[&str], expected: &[&str]) {
        let problems = || {
            let printed = self.appliance.attempt("rodent problems -o jsonl");
            let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
            let rows = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
            let sentences = rows.filter_map(|row| row["changes"][0]["text"].as_str().map(str::to_owned));
            sentences.filter(|it| things.iter().any(|thing| it.contains(thing))).collect::<Vec<_>>()
        };
        let start = Instant::now();
        while !begin_so(problems(), expected) {
            assert!(start.elapsed() < PATIENCE, "{:#?} are wrong, and these should be: {expected:#?}", problems());
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A btrfs with a subvolume that may hold 8 MiB.
fn with_a_quota() -> Disk {
    let (disk, place) = (Disk::new("projects", "128M"), Scratch::new("projects"));
    let at = place.0.to_str().expect("UTF-8");
    let data = format!("{at}/data");
    host(&["mkfs.btrfs", "-q", "-L", "projects", &disk.device]);
    host(&["mount", &disk.device, at]);
    host(&["btrfs", "quota", "enable", at]);
    host(&["btrfs", "subvolume", "create", &data]);
    host(&["btrfs", "qgroup", "limit", "8M", &data]);
    host(&["umount", at]);
    disk
}

/// Whether each line begins as the one that is expected in its place, both in order.
fn begin_so(mut lines: Vec<String>, expected: &[&str]) -> bool {
    let mut expected = expected.to_vec();
    lines.sort();
    expected.sort_unstable();
    lines.len() == expected.len() && lines.iter().zip(expected).all(|(line, expected)| line.starts_with(expected))
}

#[test]
fn what_breaks_is_told_once_is_a_problem_and_ends_when_it_is_mended_also_while_the_agent_is_away() {
    let scene = Scene::new();
    let appliance = &scene.appliance;
    let [tank, mail, sick, small] = [&scene.tank, &scene.mail, &scene.sick, &scene.small].map(|it| it.device.as_str());
    let ours = ["/srv/", "Pool mirror", "Subvolume", "UPS rack", tank, mail, sick, small, &scene.projects.device];

    // It breaks.
    scene.power("OB DISCHRG", 60);
    let wrote = Command::new("dd").args(["if=/dev/zero", &format!("of={small}"), "bs=1M", "oflag=direct"]).output();
    assert!(!wrote.expect("dd runs").status.success());
    appliance.run("seq 100 | (cd /srv/mail && xargs touch 2> /dev/null); true");
    let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", sick.trim_start_matches("/dev/"));
    fs::write(trigger, "a trial").expect("ext4 may be made to find an error");
    scene.btrfs("scrub start -B /srv/mirror");
    appliance.run("mount -o remount,ro /srv/tank && head -c 7700K /dev/urandom > /srv/projects/data/file && sync");
    let failing = format!("Disk {small} fails to read or write, errors: ");
    let read_only = format!("File system {tank} is read-only now, mounted at /srv/tank, ext4");
    let full = "/srv/mail is over its limit: 100 % of its inodes used, limit 90";
    let over_quota = "Subvolume 256 of projects is over its limit: 9";
    let damaged = format!("File system {sick} has found errors in itself: 1, mounted at /srv/sick, ext4");
    let copies_lost = "Pool mirror has errors: device 2 (";
    let on_battery = "UPS rack runs on its battery, mains power is away: battery 60 %, 30 min left";
    scene.has_problems(&ours, &[&failing, &read_only, full, &damaged, copies_lost, over_quota, on_battery]);

    // While the agent is away something is mended, something else breaks, and something breaks and is mended.
    appliance.run("systemctl stop rodent");
    appliance.run("mount -o remount,rw /srv/tank && mount -o remount,ro /srv/mail && mount -o remount,rw /srv/mail");
    appliance.run("umount /srv/mirror");
    scene.mirror[1].detach();
    scene.mounts_the_mirror("degraded,ro");
    scene.power("OB LB DISCHRG", 5);
    appliance.run("systemctl start rodent");
    let [first, _] = scene.mirror.each_ref().map(|disk| &disk.device);
    let copy_read_only = format!("File system {first} is read-only now, mounted at /srv/mirror, btrfs");
    let degraded = "Pool mirror is degraded, 1 of its disks missing";
    let low = "UPS rack has a low battery, power fails soon: battery 5 %, 30 min left";
    scene.has_problems(&ours, &[&failing, full, &damaged, copies_lost, over_quota, &copy_read_only, degraded, low]);

    // All is mended.
    scene.power("OL CHRG", 20);
    appliance.run("rm -rf /srv/mail/* /srv/projects/data/file; sync; umount /srv/sick /srv/mirror");
    for place in ["/srv/sick", "/srv/mirror"] {
        // Who mounts it again at once is not seen to have unmounted it.
        appliance.wait_for_event(place, |event| event["text"].to_string().contains(&format!("unmounted from {place}")));
    }
    // It ends with 1: it has mended something.
    appliance.attempt(&format!("e2fsck -fy {sick}"));
    appliance.run(&format!("mount {sick} /srv/sick"));
    scene.mirror[1].attach();
    scene.mounts_the_mirror("rw");
    scene.btrfs("device stats -z /srv/mirror");
    // That a disk has been calm takes an hour.
    scene.has_problems(&ours, &[&failing]);

    appliance.pass_a_marker();
    let is_ours = |event: &Value| ours.iter().any(|thing| event["text"].to_string().contains(thing));
    let told = appliance.about(|event| is_ours(event) && event["kind"] != "system.host.inventory");
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let line = |event: &Value| format!("{} {}: {}", word(event, "level"), word(event, "kind"), word(event, "text"));
    let told: Vec<_> = told.iter().map(line).collect();
    let expected = [
        &format!("error storage.disk.io_errors: {failing}"),
        &format!("error storage.dataset.read_only: {read_only}"),
        &format!("info storage.dataset.writable: File system {tank} is writable again, mounted at /srv/tank, ext4"),
        &format!("error usage.threshold.exceeded: {full}"),
        "info usage.threshold.cleared: /srv/mail is no longer near its limit: ",
        &format!("error usage.threshold.exceeded: {over_quota}"),
        "info usage.threshold.cleared: Subvolume 256 of projects is no longer near its limit",
        &format!("error storage.dataset.errors: {damaged}"),
        &format!("info storage.dataset.unmounted: File system {sick} was unmounted from /srv/sick"),
        &format!("info storage.dataset.mounted: File system {sick} was mounted at /srv/sick, ext4"),
        &format!("info storage.dataset.errors_cleared: File system {sick} has no errors any more"),
        &format!("error storage.pool.errors: {copies_lost}"),
        "info storage.pool.scrub_completed: Pool mirror was scrubbed",
        &format!("error storage.dataset.read_only: {copy_read_only}"),
        &format!("info storage.dataset.unmounted: File system {first} was unmounted from /srv/mirror"),
        &format!("info storage.dataset.mounted: File system {first} was mounted at /srv/mirror, btrfs"),
        &format!("error storage.pool.degraded: {degraded}"),
        "info storage.pool.online: Pool mirror is online again",
        "info storage.pool.errors_cleared: Pool mirror has no errors any more",
        &format!("warn system.host.ups_on_battery: {on_battery}"),
        &format!("critical system.host.ups_battery_low: {low}"),
        "info system.host.ups_on_line: UPS rack has mains power again: battery 20 %, 30 min left",
    ];
    assert!(begin_so(told.clone(), &expected), "{told:#?}");
}

/// A directory to mount on. Unmounted and gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let place = workshop().join(format!("{name}-{}.mount", std::process::id()));
        fs::create_dir_all(&place).expect("the workshop takes a directory");
        Scratch(place)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = fs::remove_dir(&self.0);
    }
}
