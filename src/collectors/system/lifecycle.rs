//! The starts and stops of machine and agent. The agent remembers that it runs: what it finds at its start tells how it
//! ended the last time.

use crate::order::Gather as _;
use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    host::{Host, clock::Clock},
    metrics::stat_field,
    schema::events::{
        SystemShutdownPayload, SystemStartupPayload, system_shutdown_payload::SystemShutdownOperation,
        system_startup_payload::SystemStartupOperation,
    },
};

const COMPONENT: &str = "agent";
/// An agent without memory takes the machine for just booted when it has been up for less.
const FRESH_BOOT: Duration = Duration::from_secs(600);

/// A run of the agent, as it is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    boot_id: String,
    /// Number and start time of the process: the collector may be started several times in one.
    process: String,
    stopped_cleanly: bool,
}

/// The runs of the agent as a domain: looked at once, at the start, and told of once more at the end.
#[derive(Default)]
pub(super) struct Lifecycle {
    start: Option<Start>,
}

impl Domain for Lifecycle {
    const NAME: &'static str = "run";
    type Known = Run;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, _: Option<&Run>) -> Result<Option<Run>, CollectError> {
        let start = context.look("look at the machine", |host| Ok(Start::look(host))).await?;
        Ok(Some(self.start.insert(start).run.clone()))
    }

    fn first_sight(&self, _: &Run) -> Vec<Finding> {
        self.start.iter().flat_map(|start| start.findings(None)).collect()
    }

    fn diff(&self, before: &Run, _: &Run) -> Vec<Finding> {
        self.start.iter().flat_map(|start| start.findings(Some(before))).collect()
    }

    fn end(&self, known: Run, agent_ends: bool) -> (Run, Vec<Finding>) {
        // Only turned off: that is no farewell, but the next start must not take it for an unclean stop either.
        let farewell = self.start.iter().filter(|_| agent_ends).map(Start::clean_stop);
        (Run { stopped_cleanly: true, ..known }, farewell.collect())
    }
}

/// What is known when the agent starts.
#[derive(Clone, Debug)]
struct Start {
    run: Run,
    since_boot: Duration,
    /// Unix milliseconds.
    now: i64,
    system_info: BTreeMap<String, String>,
}

impl Start {
    /// Reads what is needed from the machine.
    fn look(host: &Host) -> Start {
        let clock = Clock::of(host);
        let boot_id = clock.boot_id().to_string();
        Start {
            run: Run { boot_id: boot_id.clone(), process: process(host), stopped_cleanly: false },
            since_boot: clock.since_boot(),
            now: clock.unix_milliseconds(),
            system_info: system_info(host, boot_id),
        }
    }

    /// What to tell of this start, and of how the run before has ended.
    fn findings(&self, before: Option<&Run>) -> Vec<Finding> {
        // After a boot another run may have the same number, and have begun at the same moment of it.
        if before.is_some_and(|before| (&before.process, &before.boot_id) == (&self.run.process, &self.run.boot_id)) {
            return Vec::new();
        }
        let same_boot = before.is_some_and(|before| before.boot_id == self.run.boot_id);
        let has_booted = before.map_or(self.since_boot < FRESH_BOOT, |_| !same_boot);
        let mut findings = Vec::new();
        if before.is_some_and(|before| !before.stopped_cleanly) {
            findings.push(self.unclean_stop(same_boot));
        }
        if has_booted {
            findings.push(self.startup(SystemStartupOperation::ColdBoot, "cold_boot", "host"));
        }
        findings.push(match same_boot {
            true => self.startup(SystemStartupOperation::ServiceRestart, "service_restart", COMPONENT),
            false => self.startup(SystemStartupOperation::Started, "started", COMPONENT),
        });
        findings
    }

    fn startup(&self, operation: SystemStartupOperation, startup_type: &str, component: &str) -> Finding {
        let payload = SystemStartupPayload {
            startup_time: rfc3339(self.now),
            startup_type: startup_type.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            system_info: self.system_info.clone(),
            boot_time_seconds: self.boot_time_seconds(),
            operation: operation.into(),
            hostname: self.hostname(),
            ..SystemStartupPayload::default()
        };
        Finding::new(Level::Info, payload, component, startup_type)
            .with("boot_time", rfc3339(self.boot_time_seconds().saturating_mul(1000)))
    }

    fn boot_time_seconds(&self) -> i64 {
        let since_boot = i64::try_from(self.since_boot.as_secs()).unwrap_or(i64::MAX);
        self.now.div_euclid(1000).saturating_sub(since_boot)
    }

    /// Empty when it cannot be read.
    fn hostname(&self) -> String {
        self.system_info.get("hostname").cloned().unwrap_or_default()
    }

    fn unclean_stop(&self, same_boot: bool) -> Finding {
        let reason = if same_boot {
            "the agent ended without stopping properly; the machine kept running"
        } else {
            "the machine went down without stopping the agent properly"
        };
        self.shutdown(Level::Warn, SystemShutdownOperation::Emergency, reason, false)
    }

    /// The agent's own farewell.
    fn clean_stop(&self) -> Finding {
        self.shutdown(Level::Info, SystemShutdownOperation::Shutdown, "the agent was told to stop", true)
    }

    fn shutdown(&self, level: Level, operation: SystemShutdownOperation, reason: &str, graceful: bool) -> Finding {
        let payload = SystemShutdownPayload {
            operation: operation.into(),
            reason: reason.to_owned(),
            graceful,
            hostname: self.hostname(),
        };
        let action = if graceful { "stopped" } else { "unclean stop found" };
        Finding::new(level, payload, COMPONENT, action)
    }
}

/// When a process started, ticks after the boot.
const STARTED_FIELD: usize = 22;

fn process(host: &Host) -> String {
    let stat = host.read("/proc/self/stat").unwrap_or_default();
    let started = stat_field(&stat, STARTED_FIELD).unwrap_or_default();
    format!("{}:{started}", std::process::id())
}

fn system_info(host: &Host, boot_id: String) -> BTreeMap<String, String> {
    let kernel = host.read("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let release = host.read("/etc/os-release").or_else(|_| host.read("/usr/lib/os-release")).unwrap_or_default();
    let information = [
        ("os", pretty_name(&release).unwrap_or_default()),
        ("kernel", kernel),
        ("hostname", host.hostname().unwrap_or_default()),
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("boot_id", boot_id),
    ];
    information.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value)).gather()
}

/// `PRETTY_NAME="Debian GNU/Linux 13 (trixie)"`, in one of the shell's three ways of quoting.
fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    let quoted = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    let unescaped = |value: &str| value.replace("\\\"", "\"").replace("\\\\", "\\");
    Some(quoted('"').map(unescaped).or_else(|| quoted('\'').map(str::to_owned)).unwrap_or_else(|| value.to_owned()))
}

/// In UTC; empty for a time that has no name.
fn rfc3339(unix_milliseconds: i64) -> String {
    let since = u64::try_from(unix_milliseconds).ok().map(Duration::from_millis);
    let time = since.and_then(|since| std::time::UNIX_EPOCH.checked_add(since));
    let mut text = String::new();
    // Formatting a year beyond 9999 is an error and would panic in `to_string`.
    let written = time
        .map(|time| std::fmt::Write::write_fmt(&mut text, format_args!("{}", humantime::format_rfc3339_seconds(time))));
    if matches!(written, Some(Ok(()))) { text } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::finding::{lines, sentences};

    fn start(boot_id: &str, process: &str, up: u64) -> Start {
        Start {
            run: Run { boot_id: boot_id.into(), process: process.into(), stopped_cleanly: false },
            since_boot: Duration::from_secs(up),
            now: 1_795_219_200_500,
            system_info: [("hostname".to_owned(), "nas".to_owned())].into(),
        }
    }

    fn run(boot_id: &str, stopped_cleanly: bool) -> Run {
        Run { boot_id: boot_id.into(), process: "1:1".into(), stopped_cleanly }
    }

    #[test]
    fn a_start_after_a_clean_stop_is_a_restart_or_a_boot() {
        let told = |boot: &str| lines(&start(boot, "2:2", 5000).findings(Some(&run("a", true))));
        assert_eq!(told("a"), ["info system.startup.service_restart"]);
        assert_eq!(told("b"), ["info system.startup.cold_boot", "info system.startup.started"]);
        // The same number, and as long after its boot.
        let again = |boot: &str| lines(&start(boot, "1:1", 5000).findings(Some(&run("a", true)))).len();
        assert_eq!((again("a"), again("b")), (0, 2));
    }

    #[test]
    fn a_start_after_an_unclean_stop_says_whether_the_machine_went_down() {
        let told = |boot: &str| lines(&start(boot, "2:2", 5000).findings(Some(&run("a", false))));
        assert_eq!(
            told("a"),
            [
                "warn system.shutdown.emergency the agent ended without stopping properly; the machine kept running",
                "info system.startup.service_restart"
            ]
        );
        assert_eq!(
            told("b"),
            [
                "warn system.shutdown.emergency the machine went down without stopping the agent properly",
                "info system.startup.cold_boot",
                "info system.startup.started"
            ]
        );
    }

    #[test]
    fn starts_and_stops_are_sentences_that_name_the_node() {
        let start = start("b", "2:2", 100);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            sentences(&start.findings(Some(&run("a", false)))),
            [
                "Node nas has had an unclean stop: the machine went down without stopping the agent properly"
                    .to_owned(),
                format!("Node nas has booted at 2026-11-20T23:58:20Z, agent version {version}"),
                format!("Agent on nas has started, version {version}"),
            ]
        );
        assert_eq!(start.clean_stop().sentence(), "Agent on nas is stopping: the agent was told to stop");
    }

    #[test]
    fn an_agent_without_memory_has_seen_a_boot_only_when_it_is_fresh() {
        assert_eq!(
            lines(&start("a", "2:2", 30).findings(None)),
            ["info system.startup.cold_boot", "info system.startup.started"]
        );
        assert_eq!(lines(&start("a", "2:2", 5000).findings(None)), ["info system.startup.started"]);
    }

    #[test]
    fn a_collector_that_is_started_again_in_one_process_tells_nothing() {
        assert_eq!(start("a", "1:1", 5000).findings(Some(&run("a", false))), []);
    }

    #[test]
    fn the_boot_is_dated() {
        let findings = start("b", "2:2", 100).findings(Some(&run("a", true)));
        let payload: SystemStartupPayload = findings[0].payload();
        assert_eq!(payload.boot_time_seconds, 1_795_219_100);
        assert_eq!(payload.startup_time, "2026-11-21T00:00:00Z");
        assert_eq!(findings[0].metadata["boot_time"], "2026-11-20T23:58:20Z");
        assert_eq!((rfc3339(-5), rfc3339(i64::MAX)), (String::new(), String::new()));
    }

    #[test]
    fn the_running_machine_tells_what_it_is() {
        let start = Start::look(&Host::at("/"));
        for key in ["kernel", "hostname", "architecture", "boot_id"] {
            assert!(start.system_info.contains_key(key), "{key}");
        }
        assert!(start.run.process.split_once(':').is_some_and(|(_, started)| started.parse::<u64>().is_ok()));
    }

    #[test]
    fn the_name_of_the_system_is_unquoted() {
        for (text, name) in [
            ("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n", "Debian GNU/Linux 13 (trixie)"),
            ("PRETTY_NAME='Appliance \"X\"'", "Appliance \"X\""),
            ("PRETTY_NAME=Alpine", "Alpine"),
            (r#"PRETTY_NAME="A \"B\"""#, "A \"B\""),
        ] {
            assert_eq!(pretty_name(text).as_deref(), Some(name));
        }
        assert_eq!(pretty_name("NAME=x"), None);
    }
}
