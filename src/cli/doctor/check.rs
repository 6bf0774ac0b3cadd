//! The checks, and how they are run: all at once, each within its time.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{
    clock, configuration, controller, finding::Finding, hooks, listeners, log, patient::Patient, permissions, service,
    socket, space, token,
};

/// How long a check of files and programs may take. More than a program of systemd may.
const LOCAL_TIME_MAX: Duration = Duration::from_secs(8);

/// How long a check may take that goes to the controller: four steps of five seconds.
const NETWORK_TIME_MAX: Duration = Duration::from_secs(22);

/// How long all of them together may take: they run at once, so the longest.
pub(super) const ALL_TIME_MAX: Duration = NETWORK_TIME_MAX;

/// Something that is looked at.
pub(super) struct Check {
    /// One word.
    pub(super) name: &'static str,
    /// Beyond this it counts as failed: what hangs does not work.
    time_max: Duration,
    look: fn(Arc<Patient>) -> BoxFuture<'static, Vec<Finding>>,
}

/// Every check, in the order in which they are told.
pub(super) const ALL: &[Check] = &[
    Check { name: "configuration", time_max: LOCAL_TIME_MAX, look: |patient| Box::pin(configuration::look(patient)) },
    Check { name: "permissions", time_max: LOCAL_TIME_MAX, look: |patient| Box::pin(permissions::look(patient)) },
    Check { name: "service", time_max: LOCAL_TIME_MAX, look: |patient| Box::pin(service::look(patient)) },
    Check { name: "journal", time_max: LOCAL_TIME_MAX, look: |_| Box::pin(service::look_at_journal()) },
    Check { name: "socket", time_max: LOCAL_TIME_MAX, look: |patient| Box::pin(socket::look(patient)) },
    Check { name: "listeners", time_max: LOCAL_TIME_MAX, look: |patient| Box::pin(listeners::look(patient)) },
    Check { name: "log", time_max: LOCAL_TIME_MAX, look: |patient| Box::pin(log::look(patient)) },
    Check { name: "space", time_max: LOCAL_TIME_MAX, look: |patient| Box::pin(space::look(patient)) },
    Check {
        name: "collectors",
        time_max: LOCAL_TIME_MAX,
        look: |patient| Box::pin(socket::look_at_collectors(patient)),
    },
    Check { name: "hooks", time_max: LOCAL_TIME_MAX, look: |_| Box::pin(hooks::look()) },
    Check { name: "token", time_max: NETWORK_TIME_MAX, look: |patient| Box::pin(token::look(patient)) },
    Check { name: "controller", time_max: NETWORK_TIME_MAX, look: |patient| Box::pin(controller::look(patient)) },
    Check { name: "clock", time_max: NETWORK_TIME_MAX, look: |patient| Box::pin(clock::look(patient)) },
];

impl Check {
    /// Looks, as long as it may.
    pub(super) async fn run(&self, patient: Arc<Patient>) -> Vec<Finding> {
        match timeout(self.time_max, (self.look)(patient)).await {
            Ok(findings) => findings,
            Err(_) => {
                let seconds = self.time_max.as_secs();
                vec![Finding::fail(
                    format!("no answer within {seconds} s"),
                    "look for a disk or a network file system that hangs: `cat /proc/pressure/io`, `dmesg`",
                )]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_fails_after_its_time() {
        let check = Check { name: "hangs", time_max: LOCAL_TIME_MAX, look: |_| Box::pin(std::future::pending()) };
        let begun = tokio::time::Instant::now();
        let findings = check.run(Arc::new(Patient::of_tests(""))).await;
        assert!(
            begun.elapsed() < LOCAL_TIME_MAX + Duration::from_secs(1),
            "{:?} of a clock that is turned",
            begun.elapsed()
        );
        assert_eq!(findings[0].text, "no answer within 8 s");
    }

    #[test]
    fn no_check_may_take_longer_than_all_of_them() {
        assert!(ALL.iter().all(|check| check.time_max <= ALL_TIME_MAX));
        let mut names: Vec<_> = ALL.iter().map(|check| check.name).collect();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
