//! Sharing: what the machine offers by SMB and NFS, who uses it, and which files, where Samba is set to tell them.
//!
//! Shares are those of the configuration (and those of NFS that are in force without it), sessions those that smbstatus and the
//! kernel's NFS server tell. Who has no right to ask them sees the shares alone, and is told so by `rodent status`.

mod audit;
mod exports;
mod file_access;
mod file_fold;
mod nfs_clients;
mod sessions;
mod shares;
mod smb_conf;

use std::collections::BTreeMap;

use self::{file_access::FileAccess, nfs_clients::NfsClients, sessions::SmbSessions, shares::Shares};
use super::{Collector, CollectorRun, CollectorSpec, Context, driver::Driver, finding::Finding};
use crate::{
    event::Level,
    host::Host,
    schema::events::{SharingConnectionPayload, sharing_connection_payload::SharingConnectionOperation},
    settings::Table,
};

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "sharing",
    about: "shares of SMB and NFS, who uses them, and files that Samba's full_audit tells",
    emits: &[
        "sharing.connection.connected",
        "sharing.connection.disconnected",
        "sharing.file_access",
        "sharing.share",
        "system.host.blind_spot",
        "system.host.inventory",
        "system.host.sees_again",
    ],
    enabled: true,
    build: |_: &mut Table| Box::new(Sharing),
};

struct Sharing;

impl Collector for Sharing {
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        Box::pin(async move {
            let driver = Driver::new(context, SPEC.name).with(Shares::default());
            driver.with(SmbSessions::default()).with(NfsClients).with(FileAccess::default()).run().await
        })
    }
}

/// What Samba's configuration says of the machine as a whole; none where there is none.
///
/// # Errors
/// When there is one and it cannot be read: says why.
pub(super) fn samba_settings(host: &Host) -> Result<Option<BTreeMap<String, String>>, String> {
    shares::configuration_or_why(host).map(|conf| conf.map(|conf| conf.global))
}

/// That a client has come or gone.
fn connection(share: &str, user: &str, address: &str, protocol: &str, has_come: bool) -> Finding {
    let (operation, action) = match has_come {
        true => (SharingConnectionOperation::Connected, "connected"),
        false => (SharingConnectionOperation::Disconnected, "disconnected"),
    };
    let payload = SharingConnectionPayload {
        share_name: share.to_owned(),
        username: user.to_owned(),
        client_ip: address.to_owned(),
        protocol: protocol.to_owned(),
        operation: operation.into(),
    };
    Finding::new(Level::Info, payload, "sessions", action)
}
