//! Access: who may read and write the paths that the configuration names, and what is below them; that it changes.
//!
//! Looks at mode, owner, group and access lists when the kernel tells of a change, and at all of it when the agent starts. Who has
//! made a change is not seen. By design not by fanotify: that could tell of whole file systems and who it was, and needs nearly all
//! rights for it (`fanotify.conf`).

mod list;
mod look;
mod rights;
mod told;
mod tree;
mod watch;

use self::watch::AccessWatch;
use super::{Collector, CollectorRun, CollectorSpec, Context, driver::Driver};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "access",
    about: "who may read and write files and directories that are named",
    emits: &[
        "access.acl",
        "access.permission.changed",
        "system.host.blind_spot",
        "system.host.inventory",
        "system.host.sees_again",
    ],
    enabled: true,
    build: |table| Box::new(Access { settings: Settings::read(table) }),
};

/// What may be configured.
#[derive(Clone, Debug)]
struct Settings {
    paths: Vec<String>,
}

impl Settings {
    fn read(table: &mut Table) -> Settings {
        let about = "files and directories of which it is told when their mode, owner or access list changes; of directories all \
                     that is below them";
        let paths = table.strings("paths", &[], about);
        if let Some(relative) = paths.iter().find(|path| !path.starts_with('/')) {
            table.fault("paths", format!("{relative} is no absolute path"));
        }
        Settings { paths }
    }
}

struct Access {
    settings: Settings,
}

impl Collector for Access {
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        Box::pin(Driver::new(context, SPEC.name).with(AccessWatch::new(self.settings.paths)).run())
    }
}
