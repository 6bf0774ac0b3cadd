//! `rodent doctor` beside systemd: what it says of a service that does not run, and of what takes its words.

use crate::appliance::{Appliance, PATIENCE};

/// What is wrong, how it is made so, what is found and advised, and how it is undone.
const TROUBLES: &[(&str, &str, &str, &str, &str)] = &[
    (
        "nothing starts it",
        "systemctl mask rodent && systemctl stop rodent",
        "rodent.service is masked",
        "systemctl unmask rodent",
        "systemctl unmask rodent",
    ),
    (
        "the configuration is wrong",
        "echo 'evnets: 3' >> /etc/rodent/rodent.yml && ! systemctl restart rodent",
        "it refuses its configuration",
        "rodent config check; then systemctl restart rodent",
        "cp /root/rodent.yml /etc/rodent/rodent.yml",
    ),
    (
        "the configuration was wrong",
        "echo 'evnets: 3' >> /etc/rodent/rodent.yml && ! systemctl restart rodent && \
         cp /root/rodent.yml /etc/rodent/rodent.yml",
        "it refused the configuration as it was then",
        "systemctl restart rodent",
        "systemctl start rodent",
    ),
    (
        "the log belongs to root",
        "systemctl stop rodent && chown root: /var/lib/rodent/log && ! systemctl start rodent",
        "rodent.service has ended (exit code 1), and systemd starts it again",
        "chown -R rodent: /var/lib/rodent",
        "chown rodent: /var/lib/rodent/log",
    ),
    (
        "nobody takes what the agent says",
        "systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald",
        "systemd-journald does not run",
        "systemctl start systemd-journald",
        "systemctl start systemd-journald",
    ),
];

#[test]
fn the_doctor_says_why_the_service_does_not_run_and_what_helps() {
    let appliance = Appliance::install("doctor", &[]);
    appliance.run("useradd somebody && cp /etc/rodent/rodent.yml /root && systemctl start rodent-controller rodent");
    for (what, make, found, advised, undo) in TROUBLES {
        appliance.run(&format!("({make}) 2> /dev/null"));
        // One that ends again and again is starting at times.
        appliance.wait(what, PATIENCE, |machine| {
            let said = machine.attempt("rodent doctor -o jsonl").stdout;
            let said = String::from_utf8_lossy(&said).into_owned();
            let findings = || said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
            let has =
                |key: &str, words: &str| findings().any(|it| it[key].as_str().is_some_and(|it| it.contains(words)));
            (has("text", found) && has("advice", advised)).then_some(())
        });
        appliance.run(undo);
        // Whether or not it runs by now.
        appliance.run("systemctl restart rodent");
        let after = appliance.run("rodent doctor");
        assert!(!after.contains(found) && !after.contains("fail"), "{what}, afterwards:\n{after}");
    }
    let somebody = appliance.run("setpriv --reuid somebody --regid somebody --clear-groups rodent doctor");
    assert!(somebody.contains("pass  service") && somebody.contains("skip  socket"), "{somebody}");
    assert!(somebody.contains("sudo usermod -aG rodent somebody"), "{somebody}");
}

#[test]
fn a_test_event_that_the_disk_does_not_take_is_not_called_durable() {
    let appliance = Appliance::install("doctor-disk", &[]);
    appliance.run(
        "mkdir /var/lib/rodent && mount -t tmpfs -o size=256k,mode=750 tmpfs /var/lib/rodent && \
         chown rodent: /var/lib/rodent && ! head -c 1M /dev/zero > /var/lib/rodent/filled && \
         systemctl start rodent-controller rodent",
    );
    let said = appliance.run("rodent doctor --send");
    assert!(said.contains("kept") && said.contains("in memory only") && !said.contains("durable  "), "{said}");
    appliance.run("rm /var/lib/rodent/filled");
    appliance.wait("it is durable again", PATIENCE, |machine| {
        // One that is on its way when the log goes back to the disk gets another number there, and is not followed.
        let said = machine.attempt("rodent doctor --send").stdout;
        String::from_utf8_lossy(&said).contains("on the disk, urgent ").then_some(())
    });
}

#[test]
fn metrics_are_answered_from_inside_the_sandbox_as_reloads_switch_them() {
    let appliance = Appliance::install("metrics", &[]);
    appliance.run("cp /etc/rodent/rodent.yml /root && systemctl start rodent-controller rodent");
    appliance.write(
        "/root/get.pl",
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or exit 1; \
         print $s \"GET $ARGV[1] HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n\"; print <$s>;",
    );
    let get = |place: &str, path: &str| {
        let answer = appliance.attempt(&format!("perl /root/get.pl {place} {path}"));
        answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
    };
    let (usual, other) = ("127.0.0.1:7444", "127.0.0.2:9100");
    for (metrics, open, shut) in [
        ("on", Some(usual), Some(other)),
        ("off", None, Some(usual)),
        ("on", Some(usual), None),
        ("{listen: '127.0.0.2:9100'}", Some(other), Some(usual)),
    ] {
        appliance.run(&format!(
            "cp /root/rodent.yml /etc/rodent/rodent.yml && echo \"metrics: {metrics}\" >> /etc/rodent/rodent.yml && \
             systemctl reload rodent"
        ));
        if let Some(place) = open {
            for (path, says) in [("/metrics", "\nrodent_"), ("/livez", "alive"), ("/readyz", "ready")] {
                let answer = appliance.wait("it answers", PATIENCE, |_| get(place, path));
                assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(says), "{place}{path}: {answer}");
            }
            let found = appliance.run("rodent doctor");
            assert!(found.contains(&format!("metrics are answered on {place}")), "{found}");
        }
        if let Some(place) = shut {
            let shut = || get(place, "/livez").is_none().then_some(());
            appliance.wait("it is shut", PATIENCE, |_| shut());
        }
    }
}
