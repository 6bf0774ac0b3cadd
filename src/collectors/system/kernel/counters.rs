//! What the kernel counts where anybody may read it, as a domain: errors of the memory, and, while its messages may not be
//! read, processes that were killed for want of memory and the kernel's own errors.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use serde::{Deserialize, Serialize};

use super::log::IsRead;
use crate::{
    collectors::{
        CollectError, Context,
        driver::Domain,
        finding::{Finding, told_of},
    },
    event::Level,
    host::Host,
    schema::events::{SystemHostPayload, system_host_payload::SystemHostOperation as Operation},
};

const INTERVAL: Duration = Duration::from_secs(30);
/// One directory for each controller of memory with error correction.
const CONTROLLERS: &str = "/sys/devices/system/edac/mc";
const COMPONENT: &str = "counters";

/// What counts from the boot on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::system) struct Known {
    boot: String,
    killed: u64,
    oopses: u64,
    /// By controller: `mc0`.
    memory: BTreeMap<String, Memory>,
}

/// Errors of a controller's modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    corrected: u64,
    /// As many as have been told.
    told: u64,
    uncorrected: u64,
}

/// The look at them.
#[derive(Default)]
pub(in crate::collectors::system) struct Counters {
    has_log: IsRead,
    hostname: String,
}

impl Counters {
    pub(in crate::collectors::system) fn new(has_log: IsRead) -> Counters {
        Counters { has_log, hostname: String::new() }
    }
}

impl Domain for Counters {
    const NAME: &'static str = "kernel counters";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let look = |host: &Host| Ok((look(host), host.hostname().unwrap_or_default()));
        let seen;
        (seen, self.hostname) = context.look("read the kernel's counters", look).await?;
        Ok(Some(follow(seen, before)))
    }

    fn first_sight(&self, known: &Known) -> Vec<Finding> {
        // What was killed before Rodent was there is no news; a module that goes wrong is.
        self.diff(&Known { memory: BTreeMap::new(), ..known.clone() }, known)
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let is_new_boot = before.boot != after.boot;
        let since = |was: u64, is: u64| if is_new_boot { is } else { is.saturating_sub(was) };
        let (mut findings, has_log) = (Vec::new(), self.has_log.load(Ordering::Relaxed));
        let (killed, oopses) = (since(before.killed, after.killed), since(before.oopses, after.oopses));
        let which = "which, its messages tell (journalctl -k)";
        if killed > 0 && !has_log {
            let detail = format!("{killed} in all; {which}");
            findings.push(finding(Level::Error, Operation::OomKill, "of a name not known here", detail, killed));
        }
        if oopses > 0 && !has_log {
            let detail = format!("{oopses} in all; {which}");
            findings.push(finding(Level::Error, Operation::KernelOops, &self.hostname, detail, oopses));
        }
        for (name, memory) in &after.memory {
            let was = before.memory.get(name).copied().unwrap_or_default();
            let lost = since(was.uncorrected, memory.uncorrected);
            if lost > 0 {
                let detail = format!("{lost} that could not be corrected");
                findings.push(finding(Level::Error, Operation::MemoryErrors, name, detail, lost));
            }
            if memory.told > if is_new_boot { 0 } else { was.told } {
                let detail = format!("{} corrected since the boot", memory.corrected);
                findings.push(finding(Level::Warn, Operation::MemoryErrors, name, detail, memory.corrected));
            }
        }
        findings
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

fn look(host: &Host) -> Known {
    let number = |path: &str| host.read(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let vmstat = host.read("/proc/vmstat").unwrap_or_default();
    let killed = vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    // Before 6.2 there is no count, only the mark that there was one.
    let oopses = number("/sys/kernel/oops_count").or_else(|| Some(number("/proc/sys/kernel/tainted")? >> 7 & 1));
    let mut memory = BTreeMap::new();
    for name in host.names(CONTROLLERS).unwrap_or_default() {
        let corrected = number(&format!("{CONTROLLERS}/{name}/ce_count"));
        let uncorrected = number(&format!("{CONTROLLERS}/{name}/ue_count")).unwrap_or_default();
        memory.extend(corrected.map(|corrected| (name, Memory { corrected, told: 0, uncorrected })));
    }
    Known {
        boot: host.read("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        killed: killed.unwrap_or_default(),
        oopses: oopses.unwrap_or_default(),
        memory,
    }
}

fn follow(mut seen: Known, before: Option<&Known>) -> Known {
    let before = before.filter(|before| before.boot == seen.boot);
    for (name, memory) in &mut seen.memory {
        let told = before.and_then(|before| before.memory.get(name)).map_or(0, |was| was.told);
        memory.told = told_of(memory.corrected, told);
    }
    seen
}

fn finding(level: Level, operation: Operation, subject: &str, detail: String, count: u64) -> Finding {
    let payload = SystemHostPayload {
        subject: subject.to_owned(),
        detail,
        count,
        operation: operation.into(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, "counted")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::collectors::finding::sentences;

    fn machine(files: &[(&str, &str)]) -> Known {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        look(&Host::at(root.path()))
    }

    fn counted(boot: &str, killed: &str, corrected: &str, uncorrected: &str) -> Known {
        machine(&[
            ("proc/sys/kernel/random/boot_id", boot),
            ("proc/vmstat", &format!("pgfault 1\noom_kill {killed}\noom_killed 9\n")),
            ("proc/sys/kernel/tainted", "4225\n"),
            ("sys/devices/system/edac/mc/mc0/ce_count", corrected),
            ("sys/devices/system/edac/mc/mc0/ue_count", uncorrected),
            ("sys/devices/system/edac/mc/power/x", ""),
        ])
    }

    #[test]
    fn what_is_counted_more_is_told_also_after_a_boot() {
        let counters = Counters { has_log: IsRead::default(), hostname: "nas".into() };
        let (mut known, mut told) = (None::<Known>, Vec::new());
        let looks = [
            counted("a", "2", "0", "0"),
            counted("a", "2", "1", "0"),
            counted("a", "3", "1", "0"),
            counted("a", "3", "3", "0"),
            counted("a", "3", "5", "1"),
            counted("b", "1", "1", "0"),
        ];
        for look in looks {
            let after = follow(look, known.as_ref());
            let findings = known.as_ref().map_or_else(|| counters.first_sight(&after), |it| counters.diff(it, &after));
            told.push(sentences(&findings).join("; "));
            known = Some(after);
        }
        let killed = "Process of a name not known here was killed, memory ran out: 1 in all; which, its messages tell \
                      (journalctl -k)";
        let oops = "Kernel of nas has hit an error: 1 in all; which, its messages tell (journalctl -k)";
        let expected = [
            String::new(),
            "Memory mc0 has had errors: 1 corrected since the boot".into(),
            killed.into(),
            "Memory mc0 has had errors: 3 corrected since the boot".into(),
            "Memory mc0 has had errors: 1 that could not be corrected".into(),
            format!("{killed}; {oops}; Memory mc0 has had errors: 1 corrected since the boot"),
        ];
        assert_eq!(told, expected);
        let with_log = Counters::new(std::sync::Arc::new(true.into()));
        assert_eq!(
            with_log.diff(&counted("a", "2", "0", "0"), &counted("a", "3", "0", "0")),
            [],
            "its messages tell more"
        );
    }

    #[test]
    fn a_machine_that_counts_nothing_has_nothing_to_tell() {
        assert_eq!(machine(&[]), Known::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_count_makes_it_panic_and_the_same_again_is_no_news(killed in "[0-9]{0,22}|.{0,3}", corrected in "[0-9]{0,22}") {
            let known = follow(counted("a", &killed, &corrected, &killed), None);
            let again = follow(counted("a", &killed, &corrected, &killed), Some(&known));
            prop_assert_eq!(Counters::default().diff(&known, &again), vec![]);
        }
    }
}
