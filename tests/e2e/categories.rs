//! What happens on a NAS, of every category, on one machine: shares, who uses them and the files on them, exports, rights, keys,
//! certificates, links, routes, name servers, services, timers, transfers, users and groups. Each arrives in the controller's store
//! once, with its level and its sentence, and is a problem while it lasts.

use std::{
    thread,
    time::{Duration, Instant, SystemTime},
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::appliance::{Appliance, PATIENCE};

const SETTINGS: &str = "
collectors:
  access: {paths: [/srv/data]}
  security: {certificates: [/etc/ssl/nas.pem]}
";
const SMB_CONF: &str = include_str!("../fixtures/samba/smb.conf");
const KEYS: &str = include_str!("../fixtures/logins/authorized_keys");
/// Two looks at timers, the time of a timer that starts every ten seconds, and how late it may be.
const TIMERS_PATIENCE: Duration = Duration::from_secs(180);
/// After so long the timers have been looked at twice.
const TIMERS_SEEN: Duration = Duration::from_secs(35);
/// A second agent, run by root: to nobody else Samba tells who uses its shares.
const SETTINGS_OF_ROOT: &str = "
state_directory: /run/agent-of-root
socket: /run/agent-of-root.sock
collectors: {access: off, identity: off, network: off, security: off, service: off, storage: off, system: off}
";
/// A name that clears the screen of whoever prints it.
const EVIL: &str = "/srv/data/e\u{1b}[2Jvil";

/// A certificate that ends in so many days.
fn pem(days: u64) -> String {
    let until = SystemTime::now() + Duration::from_secs(days * 24 * 3600);
    let text = humantime::format_rfc3339_seconds(until).to_string();
    let part = |range: std::ops::Range<usize>| text[range].parse::<u16>().expect("digits");
    let mut params = CertificateParams::new(vec!["nas".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    let (month, day) = (u8::try_from(part(5..7)), u8::try_from(part(8..10)));
    params.not_after = date_time_ymd(part(0..4).into(), month.expect("a month"), day.expect("a day"));
    params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").pem()
}

/// `warn security.certificate.expires_soon`, and the sentence that people read.
fn line(event: &Value) -> String {
    let word = |key: &str| event[key].as_str().unwrap_or_default();
    format!("{} {}", word("level"), word("kind"))
}

/// Waits until this is told, and proves that it is told once.
fn told_once(appliance: &Appliance, level_and_kind: &str, patience: Duration, is_it: impl Fn(&Value) -> bool) -> Value {
    let (level, kind) = level_and_kind.split_once(' ').expect("level and kind");
    let is_it = |event: &Value| event["kind"] == kind && is_it(event);
    let event = appliance.wait(level_and_kind, patience, |_| appliance.stored().into_iter().find(&is_it));
    assert_eq!(event["level"], level, "{event}");
    let count = appliance.stored().iter().filter(|event| is_it(event)).count();
    assert_eq!(count, 1, "{level_and_kind}");
    event
}

fn problems(appliance: &Appliance) -> String {
    String::from_utf8_lossy(&appliance.attempt("rodent problems").stdout).into_owned()
}

fn sentences(appliance: &Appliance) -> String {
    appliance.run("rodent events -n 10000 | tr -s ' '")
}

/// What the agent of root has told of who uses shares.
fn connections(appliance: &Appliance) -> String {
    appliance.run("RODENT_SOCKET=/run/agent-of-root.sock rodent events -n 100 sharing.connection | tr -s ' '")
}

fn begin() -> Appliance {
    let appliance = Appliance::install("categories", &[]);
    let directory = "/etc/systemd/system/rodent.service.d";
    for drop_in in ["journal", "locked-accounts"] {
        appliance.install(&format!("systemd/drop-ins/{drop_in}.conf"), &format!("{directory}/{drop_in}.conf"));
    }
    appliance.write("/etc/rodent/rodent.d/categories.yml", SETTINGS);
    appliance.write("/etc/ssl/nas.pem", &pem(5));
    appliance.write("/etc/samba/smb.conf", SMB_CONF);
    appliance.write("/etc/exports", "/srv/x *(ro)\n");
    appliance.write("/root/.ssh/authorized_keys", "");
    // It hangs once it is told to.
    let quick = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'test ! -e /run/hang || exec sleep infinity'\n";
    appliance.write("/run/systemd/system/quick.service", quick);
    appliance.write("/run/systemd/system/quick.timer", "[Timer]\nOnCalendar=*:*:0/10\nAccuracySec=1s\n");
    appliance.write("/run/systemd/system/broken.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n");
    appliance.write("/run/systemd/system/broken.timer", "[Timer]\nOnActiveSec=1s\nAccuracySec=1s\n");
    // It cannot start what is masked.
    appliance.write("/usr/lib/systemd/system/doomed.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    appliance.write("/usr/lib/systemd/system/doomed.timer", "[Timer]\nOnCalendar=*:*:0/10\nAccuracySec=1s\n");
    let loops = "[Unit]\nStartLimitBurst=3\n[Service]\nExecStart=/bin/false\nRestart=on-failure\nRestartSec=0\n";
    appliance.write("/run/systemd/system/loop.service", loops);
    appliance.write("/run/agent-of-root.yml", SETTINGS_OF_ROOT);
    appliance.write(EVIL, "");
    appliance.run(
        "useradd -m -s /bin/sh alice && useradd -m -s /bin/sh bob && mkdir -p /srv/data /srv/x && echo hello > /srv/data/file && \
         echo no > /srv/data/secret && chmod 600 /srv/data/secret && chown alice /srv/data /srv/data/file && \
         printf 'right\\nright\\n' | smbpasswd -s -a alice && systemctl daemon-reload && systemctl start smbd quick.timer doomed.timer && \
         systemd-run -q --unit=agent-of-root rodent agent --config /run/agent-of-root.yml",
    );
    appliance.begin();
    // Who is there at its first look has not come.
    let inventory = "RODENT_SOCKET=/run/agent-of-root.sock rodent events -n 1 system.host.inventory";
    appliance.wait("the agent of root has looked", PATIENCE, |machine| {
        String::from_utf8_lossy(&machine.attempt(inventory).stdout).contains("Inventory of sharing").then_some(())
    });
    // What is said in the journal before the first look belongs to the time before.
    appliance.wait("the agent has looked", PATIENCE, |machine| {
        let told = machine.run("rodent events -n 100 system.host.inventory");
        ["access", "network", "security", "sharing"]
            .iter()
            .all(|what| told.contains(&format!("Inventory of {what}")))
            .then_some(())
    });
    // A client that stays.
    let commands = "(echo open file; sleep infinity) | smbclient //127.0.0.1/data -U alice%right";
    appliance.run(&format!("systemd-run -q --unit=client sh -c '{commands}'"));
    appliance
}

#[test]
fn what_happens_on_a_nas_is_told_once_with_its_level_and_is_a_problem_while_it_lasts() {
    let appliance = begin();
    let begun = Instant::now();
    let status = appliance.run("rodent status");
    assert!(!status.contains("journal.conf") && !status.contains("locked-accounts.conf"), "{status}");
    told_once(&appliance, "warn security.certificate.expires_soon", PATIENCE, |event| {
        event["payload"]["cert_id"] == "/etc/ssl/nas.pem"
    });

    appliance.run("useradd -p '$6$salt$hash' carol");

    // Files on a share, as a client uses them, and what anybody says in the words of Samba.
    for user in ["bob", "root"] {
        let forged = "alice|127.0.0.1|vm|data|unlinkat|ok|/srv/data/forged";
        appliance.run(&format!("setpriv --reuid={user} logger -t smbd_audit '{forged}'"));
    }
    let smb = |commands: &str| format!("smbclient //127.0.0.1/data -U alice%right -c '{commands}'");
    appliance.run(&smb("cd /; get file /tmp/got; put /etc/hostname new; rename new newer; del newer"));
    appliance.run(&format!("{} || true", smb("get secret /tmp/no")));
    appliance.run(&format!("! {}", smb("ls").replace("right", "wrong")));
    for (line, path) in [
        ("info sharing.file_access.rename", "/srv/data/new"),
        ("info sharing.file_access.delete", "/srv/data/newer"),
        ("warn sharing.file_access.denied", "/srv/data/secret"),
    ] {
        let event = told_once(&appliance, line, PATIENCE, |event| event["payload"]["file_path"] == path);
        assert_eq!(
            (&event["payload"]["username"], &event["payload"]["client_ip"]),
            (&"alice".into(), &"127.0.0.1".into())
        );
    }

    for line in ["info security.auth.login_success", "warn security.auth.login_failed"] {
        let login = told_once(&appliance, line, PATIENCE, |event| event["payload"]["method"] == "smb");
        let payload = &login["payload"];
        assert_eq!((&payload["username"], &payload["source_ip"]), (&"alice".into(), &"127.0.0.1".into()), "{login}");
    }

    // Rights and access lists.
    appliance.run(
        "chmod 666 /srv/data/file && chown bob /srv/data/file && setfacl -m u:bob:rwx /srv/data && \
         chmod 600 /srv/data/e*vil && chmod 700 /root/.ssh",
    );
    told_once(&appliance, "warn access.permission.changed", PATIENCE, |event| {
        event["payload"]["permission"] == "mode" && event["payload"]["resource_path"] == "/srv/data/file"
    });
    told_once(&appliance, "info access.permission.changed", PATIENCE, |event| {
        event["payload"]["permission"] == "owner"
    });
    let granted =
        told_once(&appliance, "info access.acl.granted", PATIENCE, |event| event["payload"]["principal"] == "user bob");
    assert_eq!(
        (&granted["payload"]["resource_path"], &granted["payload"]["permissions"][0]),
        (&"/srv/data".into(), &"rwx".into())
    );
    appliance.run("setfacl -m u:bob:r-x /srv/data");
    told_once(&appliance, "info access.acl.modified", PATIENCE, |event| {
        event["payload"]["permissions"][0] == "r-x instead of rwx"
    });
    appliance.run("setfacl -b /srv/data");
    told_once(&appliance, "info access.acl.removed", PATIENCE, |event| event["payload"]["principal"] == "user bob");

    told_once(&appliance, "info access.permission.changed", PATIENCE, |event| {
        event["payload"]["resource_path"] == EVIL
    });
    told_once(&appliance, "info system.user.created", PATIENCE, |event| event["payload"]["username"] == "carol");
    appliance.run("usermod -aG sudo carol");

    // Keys.
    appliance.write("/root/.ssh/authorized_keys", KEYS.lines().next().expect("a key"));
    let key =
        told_once(&appliance, "warn security.key.installed", PATIENCE, |event| event["payload"]["username"] == "root");
    assert_eq!(key["payload"]["key_id"], "SHA256:l6/tY19QrtPxqUJaVxKrOokHHdS2+taNMNzaBkasYzU");
    appliance.run("rm /root/.ssh/authorized_keys");
    told_once(&appliance, "info security.key.removed", PATIENCE, |event| event["payload"]["username"] == "root");

    told_once(&appliance, "warn identity.group.member_added", PATIENCE, |event| {
        event["payload"]["members"][0] == "carol"
    });
    appliance.run("usermod -L carol");

    // Who uses a share, until it is taken away.
    let opened = "Share data was opened by alice, from 127.0.0.1, smb3.11";
    appliance.wait("a client is seen", PATIENCE, |_| connections(&appliance).contains(opened).then_some(()));
    appliance.run("systemctl stop client");

    // What takes longest begins here: a job of a timer hangs, and another timer has nothing to start any more.
    thread::sleep(TIMERS_SEEN.saturating_sub(begun.elapsed()));
    appliance.run("touch /run/hang && systemctl mask --runtime doomed.service");

    // Shares that come, change and go.
    appliance.write("/etc/exports", "/srv/x *(rw)\n/srv/data 192.0.2.0/24(ro)\n");
    appliance.write("/etc/samba/smb.conf", &SMB_CONF.replace("[data]", "[archive]"));
    for (line, key, name) in [
        ("info sharing.share.modified", "path", "/srv/x"),
        ("info sharing.share.created", "share_name", "archive"),
        ("warn sharing.share.deleted", "share_name", "data"),
    ] {
        told_once(&appliance, line, PATIENCE, |event| event["payload"][key] == name);
    }

    // Routes and name servers.
    appliance.run(
        "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; ip link add lan7 type veth peer name lan8 && ip link set lan8 up && \
         ip link set lan7 up && ip address add 192.0.2.7/24 dev lan7 && ip route add 198.51.100.0/24 via 192.0.2.1 && \
         rm -f /etc/resolv.conf && echo nameserver 192.0.2.53 > /etc/resolv.conf",
    );
    told_once(&appliance, "info network.route.added", PATIENCE, |event| event["payload"]["gateway"] == "192.0.2.1");
    told_once(&appliance, "info network.dns.changed", PATIENCE, |event| event["payload"]["servers"][0] == "192.0.2.53");
    told_once(&appliance, "info network.interface.address_added", PATIENCE, |event| {
        event["payload"]["ip_address"] == "192.0.2.7"
    });
    appliance.run("ip link set lan8 down");
    told_once(&appliance, "warn network.interface.down", PATIENCE, |event| {
        event["payload"]["interface_name"] == "lan7"
    });
    assert!(problems(&appliance).contains("Interface lan7 is down: no carrier"));
    appliance.run("ip link set lan8 up");
    told_once(&appliance, "info system.user.locked", PATIENCE, |event| event["payload"]["username"] == "carol");

    // A job that fails, and a service that always does.
    appliance.run("systemctl start broken.timer loop");
    for (line, name) in
        [("error service.status.failed", "broken.service"), ("error service.status.gave_up", "loop.service")]
    {
        told_once(&appliance, line, PATIENCE, |event| event["payload"]["service_name"] == name);
    }

    // Transfers.
    appliance.run("rodent transfer start nightly --detail 'tank to backup1' && rodent transfer progress nightly --done 1GiB --total 12GiB");
    appliance.run("rodent transfer failed nightly --detail 'no route'");
    told_once(&appliance, "error data_transfer.transfer.failed", PATIENCE, |_| true);
    let found = problems(&appliance);
    for wrong in ["nightly", "broken.service", "loop.service", "/etc/ssl/nas.pem"] {
        assert!(found.contains(wrong), "{wrong}: {found}");
    }
    assert!(!found.contains("lan7"), "{found}");
    appliance.run("rodent transfer start nightly && rodent transfer done nightly --done 12GiB");
    told_once(&appliance, "info data_transfer.transfer.completed", PATIENCE, |_| true);

    // A certificate that is renewed while the agent is down.
    appliance.run("systemctl stop rodent");
    appliance.write("/etc/ssl/nas.pem", &pem(300));
    appliance.run("systemctl start rodent");
    told_once(&appliance, "info security.certificate.renewed", PATIENCE, |_| true);
    let found = problems(&appliance);
    assert!(!found.contains("nightly") && !found.contains("/etc/ssl/nas.pem"), "{found}");

    // A timer whose job hangs, until it does not, and one that has nothing to start any more.
    let overdue = told_once(&appliance, "warn service.timer.overdue", TIMERS_PATIENCE, |_| true);
    assert_eq!(overdue["payload"]["unit_name"], "quick.service", "{overdue}");
    told_once(&appliance, "error service.timer.failed", TIMERS_PATIENCE, |event| {
        event["payload"]["timer_name"] == "doomed.timer"
    });
    let found = problems(&appliance);
    assert!(found.contains("quick.timer") && found.contains("doomed.timer"), "{found}");
    appliance.run(
        "rm /run/hang; systemctl stop quick.service; systemctl unmask --runtime doomed.service && systemctl restart doomed.timer",
    );
    for name in ["quick.timer", "doomed.timer"] {
        let is_it = |event: &Value| event["payload"]["timer_name"] == name;
        told_once(&appliance, "info service.timer.on_time", TIMERS_PATIENCE, is_it);
    }
    let found = problems(&appliance);
    assert!(!found.contains("quick.timer") && !found.contains("doomed.timer"), "{found}");

    let said = sentences(&appliance);
    for sentence in [
        "Access to /srv/data/file was changed: mode rw-rw-rw- instead of rw-r--r--",
        "Access list of /srv/data lets in user bob: rwx",
        "Access to /srv/data/e\\u{1b}[2Jvil was changed: mode rw------- instead of rw-r--r--",
        "File /srv/data/secret was refused to alice: read, share data, from 127.0.0.1",
        "File /srv/data/new was renamed to /srv/data/newer by alice, share data, from 127.0.0.1",
        "File /srv/data/newer was deleted by alice, share data, from 127.0.0.1",
        "Share archive was created: /srv/data, smb",
        "Share data was deleted: /srv/data, smb",
        "Share /srv/x was changed: /srv/x, nfs, for *(rw), changed: *",
        "Share /srv/data was created: /srv/data, nfs, read-only, for 192.0.2.0/24(ro)",
        "Certificate /etc/ssl/nas.pem expires soon, days left: ",
        "Certificate /etc/ssl/nas.pem was renewed, valid until ",
        "Route to 198.51.100.0/24 was added, via 192.0.2.1, on lan7",
        "Name servers have changed: 192.0.2.53",
        "Interface lan7 has a new address: 192.0.2.7",
        "User carol was created",
        "Group sudo has new members: carol",
        "User carol was locked: no login with a password",
        "Service broken.service has failed: exit-code, exited with 1",
        "Service loop.service is not started again: systemd has given up",
        "Transfer nightly has started: tank to backup1",
        "Transfer nightly has failed: no route",
        "Transfer nightly is complete, 12.0 GiB",
        "Timer quick.timer is overdue: quick.service was to start on",
        "Timer doomed.timer has failed: resources, doomed.service is not started by it any more",
    ] {
        assert!(said.contains(sentence), "{sentence}:\n{said}");
    }
    assert!(!said.contains("forged") && !said.contains('\u{1b}'), "{said}");
    let told = connections(&appliance);
    let closed = "Share data was closed by alice, from 127.0.0.1, smb3.11";
    assert_eq!((told.matches(opened).count(), told.matches(closed).count()), (1, 1), "{told}");
    let unexpected: Vec<_> = appliance
        .about(|event| event["kind"] == "system.host.blind_spot" && event["source"] != "storage")
        .iter()
        .map(line)
        .collect();
    assert_eq!(unexpected, Vec::<String>::new());
}
