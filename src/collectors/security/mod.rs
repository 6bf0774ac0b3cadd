//! Security: who logs in and who fails to, keys that are installed, and certificates that are about to end.
//!
//! Logins come from the journal, by what journald itself says of who has spoken; keys are those that sshd takes. Certificates are
//! those that the configuration names.

mod certificates;
mod keys;
mod logins;

use std::path::PathBuf;

use self::{certificates::Certificates, keys::Keys, logins::Logins};
use super::{Collector, CollectorRun, CollectorSpec, Context, driver::Driver};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "security",
    about: "logins good and bad, authorized keys, certificates that end",
    emits: &[
        "security.auth.brute_force",
        "security.auth.brute_force_ceased",
        "security.auth.login_failed",
        "security.auth.login_success",
        "security.auth.logout",
        "security.certificate.expired",
        "security.certificate.expires_soon",
        "security.certificate.installed",
        "security.certificate.removed",
        "security.certificate.renewed",
        "security.certificate.valid",
        "security.key.installed",
        "security.key.removed",
        "system.host.blind_spot",
        "system.host.inventory",
        "system.host.sees_again",
    ],
    enabled: true,
    build: |table| Box::new(Security { settings: Settings::read(table) }),
};

/// What may be configured.
#[derive(Clone, Debug)]
struct Settings {
    certificates: Vec<PathBuf>,
}

impl Settings {
    fn read(table: &mut Table) -> Settings {
        let about = "certificates whose end is told: files, and directories with files *.pem, *.crt and *.cer";
        let certificates = table.strings("certificates", &[], about);
        if let Some(relative) = certificates.iter().find(|path| !path.starts_with('/')) {
            table.fault("certificates", format!("{relative} is no absolute path"));
        }
        Settings { certificates: certificates.into_iter().map(PathBuf::from).collect() }
    }
}

struct Security {
    settings: Settings,
}

impl Collector for Security {
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        Box::pin(async move {
            let certificates = Certificates::new(self.settings.certificates);
            let driver = Driver::new(context, SPEC.name).with(Logins::default()).with(Keys::default());
            driver.with(certificates).run().await
        })
    }
}
