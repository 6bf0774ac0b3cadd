//! The agent ends within five seconds, whatever it is doing. systemd holds the watch: beyond `TimeoutStopSec=` the result of
//! the unit is `timeout`.

use crate::appliance::{Appliance, PATIENCE};

/// An agent whose stop may take five seconds.
fn install(test: &str) -> Appliance {
    let appliance = Appliance::install(test, &[]);
    appliance.write("/etc/systemd/system/rodent.service.d/stop.conf", "[Service]\nTimeoutStopSec=5s\n");
    appliance.run("systemctl daemon-reload && systemctl start rodent-controller rodent");
    appliance
}

fn stop(appliance: &Appliance, what: &str) {
    appliance.run("systemctl stop rodent");
    assert_eq!(appliance.run("systemctl show -P Result rodent"), "success\n", "{what}");
}

/// A certificate that somebody might be trusted with.
fn authority() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").pem()
}

/// As many events as a day of much trouble makes, given at once and not waited for.
const MANY: &str = r#"seq 100000 | sed 's/.*/{"kind":"storage.pool.created","payload":{"pool_name":"tank&"}}/' > /tmp/many
    rodent emit --json /tmp/many"#;

#[test]
fn a_stop_is_quick_whatever_the_controller_does() {
    let appliance = install("stop");
    appliance.run("systemctl kill --signal=STOP rodent-controller && rodent emit storage.pool.degraded pool_name=tank");
    stop(&appliance, "the controller is silent");

    appliance.write("/etc/rodent/ca.pem", &authority());
    appliance.run(
        "sed -i 's|tls: off|tls: {ca_file: /etc/rodent/ca.pem}|' /etc/rodent/rodent.yml && systemctl start rodent",
    );
    appliance.run("rodent emit storage.pool.degraded pool_name=tank; sleep 2");
    stop(&appliance, "TLS is being agreed on, with nobody");

    // A name server that never answers.
    let server =
        "use IO::Socket::INET; IO::Socket::INET->new(LocalAddr => '127.0.0.53:53', Proto => 'udp') or die; sleep";
    appliance.run(&format!("systemd-run --quiet --unit=names perl -e \"{server}\""));
    appliance.run("echo nameserver 127.0.0.53 > /etc/resolv.conf; sed -i s/127.0.0.1:7443/controller.example:7443/ /etc/rodent/rodent.yml");
    appliance.run("systemctl start rodent && rodent emit storage.pool.degraded pool_name=tank; sleep 2");
    stop(&appliance, "a name is being asked for");
}

#[test]
fn a_stop_is_quick_whatever_the_log_and_its_clients_do() {
    let appliance = install("stop-log");
    appliance.run("systemctl kill --signal=STOP rodent-controller");
    appliance.run(MANY);
    appliance.run("systemd-run --quiet --unit=follower rodent events -f '*'");
    appliance.run("systemd-run --quiet --unit=emitter sh -c 'sleep 600 | rodent emit --json -'; sleep 1");
    stop(&appliance, "100,000 events wait, and clients hang on");
    appliance.run("systemctl kill --signal=CONT rodent-controller && systemctl start rodent");
    appliance.wait("some have arrived", PATIENCE, |machine| {
        let stored = machine.run("rodent-controller events -n 100000 -o jsonl 'storage.pool.created' | wc -l");
        stored.trim().parse::<u32>().is_ok_and(|stored| stored > 0).then_some(())
    });
    stop(&appliance, "they are being delivered");

    for moment in ["0", "0.02", "0.1", "0.3"] {
        appliance.run(&format!("systemctl start --no-block rodent; sleep {moment}"));
        stop(&appliance, "it is starting");
    }
    // A start that is stopped is no damage.
    appliance.run("test ! -e /var/lib/rodent/log/quarantine");

    // Without a name: where systemd saw the end before it heard `stop`, the unit has not failed and is not even loaded.
    appliance.run(
        "systemctl start rodent && systemctl kill --signal=KILL rodent; systemctl stop rodent; systemctl reset-failed",
    );
    appliance.run(
        "for file in $(find /var/lib/rodent/log -type f -size +1k); do \
         printf damaged | dd of=$file bs=1 seek=700 conv=notrunc status=none; done",
    );
    for moment in ["0.1", "0.5"] {
        appliance.run(&format!("systemctl start --no-block rodent; sleep {moment}"));
        stop(&appliance, "the log is being salvaged");
    }

    appliance.run(
        "mount -t tmpfs -o size=4m,mode=750 tmpfs /var/lib/rodent && chown rodent: /var/lib/rodent && \
         systemctl start rodent && ! head -c 8M /dev/zero > /var/lib/rodent/filled; \
         timeout 20 rodent emit storage.pool.degraded pool_name=tank; true",
    );
    stop(&appliance, "the disk is full");
}
