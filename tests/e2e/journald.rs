//! The agent's lines in a real journal: explained, with fields, with the urgent events; and a journal that does not read.

use std::fs;

use rodent::telemetry::message;
use serde_json::Value;

use crate::{
    appliance::{Appliance, PATIENCE},
    container::source,
};

#[test]
fn urgent_events_stand_in_the_journal_with_fields_and_explanations() {
    let appliance = Appliance::start("journald", &[]);
    appliance.install("packaging/catalog/rodent.catalog", "/usr/lib/systemd/catalog/rodent.catalog");
    appliance.run("journalctl --update-catalog");

    appliance.run("rodent emit storage.pool.faulted pool_name=tank --level critical");
    appliance.run("rodent emit storage.pool.created pool_name=quiet");
    let urgent = |appliance: &Appliance, id: message::Message| -> Vec<Value> {
        let lines = appliance.run(&format!("journalctl --sync; journalctl -t rodent -o json MESSAGE_ID={}", id.id));
        lines.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
    };
    let entry = appliance.wait("the urgent event", PATIENCE, |_| {
        let shown = urgent(&appliance, message::URGENT_EVENT);
        shown.into_iter().find(|entry| entry["RODENT_KIND"] == "storage.pool.faulted")
    });
    assert_eq!((&entry["PRIORITY"], &entry["RODENT_LANE"]), (&"2".into(), &"urgent".into()), "{entry}");
    let sequence = entry["RODENT_SEQUENCE"].as_str().and_then(|sequence| sequence.parse::<u64>().ok());
    assert!(sequence.is_some_and(|sequence| sequence > 0), "{entry}");
    assert!(entry["MESSAGE"].as_str().is_some_and(|message| message.starts_with("Pool tank has failed")), "{entry}");
    assert_eq!(entry["_SYSTEMD_UNIT"], "rodent.service");

    let explained = appliance.run("journalctl -t rodent -x --no-pager");
    for text in ["Subject: Rodent takes events", "Subject: An urgent event", "event of the kind storage.pool.faulted"] {
        assert!(explained.contains(text), "{text}:\n{explained}");
    }
    assert!(!explained.contains("quiet"), "routine events are not for the journal");

    // A storm: what is shown and what is counted add up.
    let before = urgent(&appliance, message::URGENT_EVENT).len() as u64;
    appliance.run(
        r#"seq 200 | sed 's/.*/{"kind":"storage.pool.degraded","level":"error","payload":{"pool_name":"tank&"}}/' > /tmp/storm
           rodent emit --json /tmp/storm"#,
    );
    let shown = appliance.wait("the storm is told", PATIENCE, |_| {
        let counted = |entry: Value| entry["RODENT_EVENTS"].as_str().and_then(|events| events.parse::<u64>().ok());
        let folded: u64 = urgent(&appliance, message::URGENT_FOLDED).into_iter().filter_map(counted).sum();
        let shown = urgent(&appliance, message::URGENT_EVENT).len() as u64 - before;
        (shown + folded == 200).then_some(shown)
    });
    assert!(shown < 100, "{shown} lines for one storm");

    the_examples_of_the_documentation_work(&appliance);
}

/// Each line of the page that is a command, but for those that go on for ever and those that need another program.
fn the_examples_of_the_documentation_work(appliance: &Appliance) {
    let page = fs::read_to_string(source("docs/journal.md")).expect("the page");
    let commands: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let commands = commands.iter().filter(|line| line.starts_with("journalctl") && !line.contains(" -f"));
    let mut tried = 0;
    for command in commands {
        let command = command.split(" | ").next().unwrap_or_default();
        let output = appliance.attempt(&format!("{command} --no-pager"));
        assert!(output.stderr.is_empty(), "{command}: {output:?}");
        tried += 1;
    }
    assert!(tried >= 8, "the page has examples");
}

#[test]
fn the_agent_goes_on_while_journald_does_not_read() {
    let appliance = Appliance::start("deaf", &[]);
    // The second time there is standard error only, and much is written to it.
    let odd = "[Service]\nInaccessiblePaths=/run/systemd/journal/socket\nEnvironment=RODENT_LOG=trace\n";
    for (round, drop_in) in [("first", ""), ("second", odd)] {
        appliance.write("/run/systemd/system/rodent.service.d/odd.conf", drop_in);
        appliance.run("systemctl daemon-reload && systemctl restart rodent");
        appliance.run("systemctl show -P MainPID systemd-journald > /tmp/journald && kill -STOP $(cat /tmp/journald)");
        let emitted: Vec<_> = (0..30)
            .map(|n| {
                appliance
                    .attempt(&format!("timeout 10 rodent emit storage.pool.faulted pool_name=tank --meta {round}={n}"))
            })
            .collect();
        // Each makes many lines of the lowest level: more than a socket holds.
        let status = appliance.attempt("for n in $(seq 200); do timeout 10 rodent status > /dev/null || exit 1; done");
        appliance.run("kill -CONT $(cat /tmp/journald)");
        assert!(emitted.iter().all(|output| output.status.success()), "{round}: {emitted:#?}");
        assert!(status.status.success(), "{round}: {status:?}");
        appliance.wait_for_event(round, |event| event["metadata"][round] == "29");
    }
}
