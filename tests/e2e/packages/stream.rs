//! A numbered stream of events on a machine whose agent comes and goes: each is given until the agent has acknowledged it,
//! so that in the end the controller must have every number.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::container::Container;

/// An event that the agent does not take is given again; meanwhile it may be replaced, or not be there.
const SCRIPT: &str = r#"
n=0
while [ ! -e /run/stream.stop ]; do
    n=$((n + 1))
    until rodent emit usage.resource.increased resource_type=numbered --meta n=$n >/run/stream.said 2>&1; do
        sleep 0.05
    done
    echo $n >/run/stream.new && mv /run/stream.new /run/stream.count
done
"#;

/// Begins.
pub(crate) fn start(machine: &Container) {
    machine.write("/run/stream.sh", SCRIPT);
    machine.run("rm -f /run/stream.stop /run/stream.count; systemd-run -q --unit=stream --collect sh /run/stream.sh");
    advance(machine);
}

/// Waits until some more are acknowledged: the agent takes events.
pub(crate) fn advance(machine: &Container) {
    let count = || -> u64 {
        let output = machine.attempt("cat /run/stream.count");
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_default()
    };
    let before = count();
    machine.wait("the stream goes on", Duration::from_secs(60), |_| (count() >= before + 5).then_some(()));
}

/// Ends, and waits until the controller has every number.
///
/// # Panics
/// When one is missing.
pub(crate) fn finish(machine: &Container) {
    machine.run("touch /run/stream.stop");
    machine.wait("the stream ends", Duration::from_secs(60), |machine| {
        (!machine.attempt("systemctl is-active -q stream").status.success()).then_some(())
    });
    let count: u64 = machine.run("cat /run/stream.count").trim().parse().expect("a number");
    machine.wait("the last number is stored", Duration::from_secs(60), |machine| {
        stored(machine).contains(&count).then_some(())
    });
    let missing: Vec<u64> = (1..=count).collect::<BTreeSet<_>>().difference(&stored(machine)).copied().collect();
    assert!(missing.is_empty(), "{} of {count} are missing: {missing:?}", missing.len());
    assert!(count > 20, "the stream ran: {count}");
}

fn stored(machine: &Container) -> BTreeSet<u64> {
    let output = machine.run("rodent-controller events -n 1000000 -o jsonl usage.resource");
    let events = output.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    events.filter_map(|event| event["metadata"]["n"].as_str()?.parse().ok()).collect()
}
