//! A machine as a customer has it: the agent and a controller installed from `systemd/` and `packaging/`, started by
//! systemd, and what the controller has stored of what happens there.

use std::{ops::Deref, time::Duration};

use serde_json::Value;

use crate::container::Container;

/// From an occurrence to its event in the controller's store: seconds when idle, more on a busy test machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Quick where the defaults are made for many machines and slow links.
const SETTINGS: &str = "
controller: {address: '127.0.0.1:7443', token_file: /etc/rodent/token, tls: off}
events: {batch_timeout: 200ms, flush_interval: 100ms}
collectors:
  storage: {capacity: {interval: 5s}}
";

/// A booted container with both programs installed.
pub(crate) struct Appliance(Container);

impl Deref for Appliance {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.0
    }
}

impl Appliance {
    /// Boots, installs and starts both; when this returns, the first look of every collector is in the store.
    pub(crate) fn start(test: &str, options: &[&str]) -> Appliance {
        let appliance = Appliance::install(test, options);
        appliance.begin();
        appliance
    }

    /// Starts both where they are installed.
    pub(crate) fn begin(&self) {
        self.run("systemctl start rodent-controller rodent");
        self.wait_for_event("the agent's start", |event| event["kind"] == "system.startup.started");
        for collector in ["network", "service", "storage"] {
            self.wait_for_event("an inventory", |event| {
                event["kind"] == "system.host.inventory" && event["source"] == collector
            });
        }
    }

    /// Boots and installs both, as a package would; starts neither.
    pub(crate) fn install(test: &str, options: &[&str]) -> Appliance {
        let machine = Container::boot(test, options);
        for of in [
            "sysusers.d/rodent.conf",
            "sysusers.d/rodent-controller.conf",
            "tmpfiles.d/rodent.conf",
            "tmpfiles.d/rodent-controller.conf",
        ] {
            machine.install(&format!("packaging/{of}"), &format!("/usr/lib/{of}"));
        }
        machine.install("systemd/rodent.service", "/usr/lib/systemd/system/rodent.service");
        machine.install("systemd/rodent-controller.service", "/usr/lib/systemd/system/rodent-controller.service");
        machine.write("/etc/rodent/rodent.yml", SETTINGS);
        machine.run("systemd-sysusers && mkdir /etc/rodent-controller && head -c 32 /dev/urandom | base64 > /etc/rodent-controller/secret");
        machine.run("rodent-controller token --token-secret /etc/rodent-controller/secret --node nas-1 --organisation acme > /etc/rodent/token");
        machine.run("systemd-tmpfiles --create rodent.conf rodent-controller.conf && systemctl daemon-reload");
        Appliance(machine)
    }

    /// The main process of a service, as the host numbers it.
    pub(crate) fn main_process(&self, unit: &str) -> i32 {
        let inside = self.run(&format!("systemctl show -P MainPID {unit}"));
        self.process_on_host(inside.trim().parse().expect("a number"))
    }

    /// What the controller has stored, oldest first.
    pub(crate) fn stored(&self) -> Vec<Value> {
        let output = self.run("rodent-controller events -n 1000000 -o jsonl");
        output.lines().map(|line| serde_json::from_str(line).expect("every line is an event")).collect()
    }

    /// The first stored event that `wanted` takes.
    pub(crate) fn wait_for_event(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, PATIENCE, |_| self.stored().into_iter().find(&wanted))
    }

    /// The kinds of the stored events that `about` takes, once there are `count` of them and all that happened before now is
    /// stored too, so that one event too many shows.
    pub(crate) fn kinds(&self, count: usize, about: impl Fn(&Value) -> bool) -> Vec<String> {
        self.wait(&format!("{count} events"), PATIENCE, |_| (self.about(&about).len() >= count).then_some(()));
        self.pass_a_marker();
        self.about(about).iter().map(|event| event["kind"].to_string().replace('"', "")).collect()
    }

    /// The stored events that `about` takes, by the time at which they happened: what is urgent arrives first.
    pub(crate) fn about(&self, about: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = self.stored();
        events.retain(|event| about(event));
        // Identifiers grow with time.
        events.sort_by_key(|event| event["id"].to_string());
        events
    }

    /// Waits until an event emitted now is stored: what the collectors had emitted before is stored then, too.
    pub(crate) fn pass_a_marker(&self) {
        // Collectors that poll or gather for a moment get that moment.
        std::thread::sleep(Duration::from_secs(2));
        let marker = std::process::id().to_string() + &self.stored().len().to_string();
        self.run(&format!("rodent emit usage.resource.increased resource_type=marker --meta marker={marker}"));
        self.wait_for_event("the marker", |event| event["metadata"]["marker"] == marker.as_str());
    }
}
