//! Shares as a domain: those of Samba's configuration, and those of NFS.
//!
//! Of NFS the configuration counts, not only what is in force: a server that stops takes the table of what is in force with it, and has
//! not given up its exports. What is in force without standing there (`exportfs -o`) counts, too. A change is
//! believed when two looks see the same: whoever writes a file may be halfway through.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    exports::{self, EXPORTS_MAX, Exports},
    smb_conf::{SHARES_MAX, Settings, SmbConf, is_yes},
};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, listing::listed, settling::Settling},
    event::Level,
    host::{Host, command::Program},
    schema::events::{SharingSharePayload, sharing_share_payload::SharingShareOperation as Operation},
};

const INTERVAL: Duration = Duration::from_secs(30);
/// Between the look that sees a change and the one that believes it.
const SETTLE: Duration = Duration::from_secs(2);
const SMB_CONF: [&str; 2] = ["/etc/samba/smb.conf", "/usr/local/samba/etc/smb.conf"];
const EXPORTS: &str = "/etc/exports";
const EXPORTS_D: &str = "/etc/exports.d";
const ETAB: &str = "/var/lib/nfs/etab";
/// The most files that a configuration includes, and that lie in `exports.d`.
const FILES_MAX: usize = 64;
const NET: &[&str] = &["/usr/bin/net"];
const NET_TIMEOUT: Duration = Duration::from_secs(20);
const NET_BYTES_MAX: usize = 1024 * 1024;
const COMPONENT: &str = "shares";
/// Sections of smb.conf that offer no files of a name of their own.
const NO_SHARES: [&str; 2] = ["printers", "print$"];
const SMB: &str = "smb";
const NFS: &str = "nfs";
/// What is not seen without the right to ask for it.
const REGISTRY: &str = "shares in Samba's registry";

/// By protocol and name, a space between.
type Known = BTreeMap<String, Share>;

/// A share: what it is set to. Of NFS the clients, with their options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share {
    settings: Settings,
    /// What the global section says of it where it says nothing itself.
    is_read_only: bool,
}

/// The look at them.
#[derive(Default)]
pub(super) struct Shares {
    settling: Settling<Known>,
    net: Option<Program>,
}

/// What a look at the files finds.
#[derive(Default)]
struct Looked {
    conf: Option<SmbConf>,
    exports: Option<Exports>,
    /// What could not be read, and why.
    unseen: BTreeMap<&'static str, String>,
}

impl Domain for Shares {
    const NAME: &'static str = "shares";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let mut looked = context.look("look at the shares", |host| Ok(look(host))).await?;
        if let Some(conf) = looked.conf.as_mut().filter(|conf| conf.has_registry) {
            match self.registry(context).await {
                Some(text) => conf.read(&text, &mut |_, _| {}),
                None => drop(looked.unseen.insert(SMB, format!("{REGISTRY} are not seen"))),
            }
        }
        for protocol in [SMB, NFS] {
            let why = looked.unseen.get(protocol).filter(|why| !why.starts_with(REGISTRY)).cloned();
            context.note(&format!("shares by {protocol}"), why).await?;
        }
        if before.is_none() && looked.conf.is_none() && looked.exports.is_none() {
            return Ok(None);
        }
        let mut seen = known(&looked);
        // What cannot be seen now is not gone.
        for (name, share) in before.into_iter().flatten() {
            if protocol_of(name).is_some_and(|(protocol, _)| looked.unseen.contains_key(protocol)) {
                seen.entry(name.clone()).or_insert_with(|| share.clone());
            }
        }
        Ok(self.settling.believed(before, seen))
    }

    fn first_sight(&self, _: &Known) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, was) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
            findings.extend(finding(name, was, Operation::Deleted, Vec::new()));
        }
        for (name, is) in after {
            let Some(was) = before.get(name) else {
                findings.extend(finding(name, is, Operation::Created, Vec::new()));
                continue;
            };
            let mut changed = changed(&was.settings, &is.settings);
            if was.is_read_only != is.is_read_only && changed.is_empty() {
                changed.push("read only".to_owned());
            }
            if was.is_offered() != is.is_offered() {
                let operation = if is.is_offered() { Operation::Enabled } else { Operation::Disabled };
                findings.extend(finding(name, is, operation, Vec::new()));
                changed.retain(|key| key != "available");
            }
            if !changed.is_empty() {
                findings.extend(finding(name, is, Operation::Modified, changed));
            }
        }
        findings
    }

    fn inventory(&self, known: &Known) -> String {
        let of = |protocol: &str| {
            known.keys().filter(|name| protocol_of(name).is_some_and(|(its, _)| its == protocol)).count()
        };
        let counts = [(of(SMB), "SMB"), (of(NFS), "NFS")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        counts.map(|(count, protocol)| format!("shares by {protocol}: {count}")).collect::<Vec<_>>().join("; ")
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        self.settling.in_doubt(SETTLE).await;
        Ok(())
    }
}

impl Shares {
    /// Only root may read it.
    async fn registry(&mut self, context: &Context) -> Option<String> {
        let mut text = None;
        if !context.host.is_live() || nix::unistd::geteuid().is_root() {
            let net = Program::found(&mut self.net, &context.host, NET, NET_TIMEOUT, NET_BYTES_MAX);
            if let Some(net) = net {
                text = net.run(&["conf", "list"]).await.ok();
            }
        }
        let why = if text.is_some() { "" } else { "net conf list answers root alone" };
        context.sight.is_not_meant_to_see(REGISTRY, why);
        text
    }
}

impl Share {
    fn is_offered(&self) -> bool {
        self.settings.get("available").is_none_or(|available| is_yes(available))
    }
}

/// Samba's configuration with what it includes; none where there is none or it may not be read.
pub(super) fn configuration(host: &Host) -> Option<SmbConf> {
    configuration_noting(host, &mut BTreeMap::new())
}

/// The same.
///
/// # Errors
/// When there is one and it cannot be read: says why.
pub(super) fn configuration_or_why(host: &Host) -> Result<Option<SmbConf>, String> {
    let mut unseen = BTreeMap::new();
    match configuration_noting(host, &mut unseen) {
        None => unseen.remove(SMB).map_or(Ok(None), Err),
        conf => Ok(conf),
    }
}

fn configuration_noting(host: &Host, unseen: &mut BTreeMap<&'static str, String>) -> Option<SmbConf> {
    match SMB_CONF.iter().find_map(|path| found(host.read(path))).transpose() {
        Ok(text) => text.map(|text| smb_conf(host, &text, unseen)),
        Err(error) => {
            unseen.insert(SMB, format!("smb.conf: {error}"));
            None
        }
    }
}

fn look(host: &Host) -> Looked {
    let mut looked = Looked::default();
    looked.conf = configuration_noting(host, &mut looked.unseen);
    match nfs(host) {
        Ok((exports, beyond)) => {
            looked.exports = exports;
            if beyond > 0 {
                looked.unseen.insert(NFS, format!("more than {EXPORTS_MAX} are exported, {beyond} are not followed"));
            }
        }
        Err(error) => drop(looked.unseen.insert(NFS, format!("{EXPORTS}: {error}"))),
    }
    looked
}

fn found(read: io::Result<String>) -> Option<io::Result<String>> {
    Some(read).filter(|read| read.as_ref().err().is_none_or(|error| error.kind() != ErrorKind::NotFound))
}

fn smb_conf(host: &Host, text: &str, unseen: &mut BTreeMap<&'static str, String>) -> SmbConf {
    let (mut conf, mut files_left) = (SmbConf::default(), FILES_MAX);
    include(&mut conf, text, host, &mut files_left, unseen);
    if conf.beyond > 0 {
        unseen.insert(SMB, format!("more than {SHARES_MAX} are configured, {} are not followed", conf.beyond));
    }
    conf
}

fn include(
    conf: &mut SmbConf,
    text: &str,
    host: &Host,
    files_left: &mut usize,
    unseen: &mut BTreeMap<&'static str, String>,
) {
    conf.read(text, &mut |conf, path| {
        // Of `%m` and its like every client makes another file.
        if path.contains('%') || *files_left == 0 {
            return;
        }
        *files_left -= 1;
        match found(host.read(path)) {
            Some(Ok(text)) => include(conf, &text, host, files_left, unseen),
            Some(Err(error)) => drop(unseen.insert(SMB, format!("{path}: {error}"))),
            None => {}
        }
    });
}

/// None where there is nothing of NFS.
fn nfs(host: &Host) -> io::Result<(Option<Exports>, usize)> {
    let (mut exports, mut beyond, mut is_there) = (Exports::new(), 0, false);
    let more = host.names(EXPORTS_D)?.into_iter().filter(|name| name.ends_with(".exports") && !name.starts_with('.'));
    let more = more.take(FILES_MAX).map(|name| format!("{EXPORTS_D}/{name}"));
    for path in std::iter::once(EXPORTS.to_owned()).chain(more) {
        if let Some(text) = found(host.read(&path)).transpose()? {
            is_there = true;
            beyond += exports::read(&text, &mut exports);
        }
    }
    if let Some(Ok(text)) = found(host.read(ETAB)) {
        let mut in_force = Exports::new();
        exports::read(&text, &mut in_force);
        is_there |= !in_force.is_empty();
        for (path, clients) in in_force {
            exports.entry(path).or_insert(clients);
        }
    }
    Ok((is_there.then_some(exports), beyond))
}

fn known(looked: &Looked) -> Known {
    let mut known = Known::new();
    if let Some(conf) = &looked.conf {
        for (name, settings) in conf.shares.iter().filter(|(name, _)| !NO_SHARES.contains(&name.as_str())) {
            let read_only = settings.get("read only").or_else(|| conf.global.get("read only"));
            let is_read_only = read_only.is_none_or(|value| is_yes(value));
            known.insert(format!("{SMB} {name}"), Share { settings: settings.clone(), is_read_only });
        }
    }
    for (path, clients) in looked.exports.iter().flatten() {
        let is_read_only = !clients.values().any(|options| options.split(',').any(|option| option == "rw"));
        known.insert(format!("{NFS} {path}"), Share { settings: clients.clone(), is_read_only });
    }
    known
}

fn protocol_of(name: &str) -> Option<(&str, &str)> {
    name.split_once(' ')
}

/// The names of settings that differ.
fn changed(before: &Settings, after: &Settings) -> Vec<String> {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let others = after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| key);
    let all: Vec<_> = gone.chain(others).cloned().collect();
    listed(all.into_iter())
}

fn finding(name: &str, share: &Share, operation: Operation, changed: Vec<String>) -> Option<Finding> {
    let (protocol, name) = protocol_of(name)?;
    let setting = |key: &str| share.settings.get(key).cloned().unwrap_or_default();
    let mut payload = SharingSharePayload {
        protocol: protocol.to_owned(),
        read_only: share.is_read_only,
        operation: operation.into(),
        changed,
        ..Default::default()
    };
    if protocol == SMB {
        (payload.share_name, payload.path) = (name.to_owned(), setting("path"));
        let users = setting("valid users");
        let users: Vec<_> = users.split([',', ' ', '\t']).filter(|user| !user.is_empty()).map(str::to_owned).collect();
        payload.allowed_users = listed(users.into_iter());
    } else {
        payload.path = name.to_owned();
        payload.clients = listed(share.settings.iter().map(|(name, options)| exports::client(name, options)));
    }
    let (level, action) = match operation {
        Operation::Deleted => (Level::Warn, "deleted"),
        Operation::Created => (Level::Info, "created"),
        Operation::Enabled => (Level::Info, "enabled"),
        Operation::Disabled => (Level::Info, "disabled"),
        _ => (Level::Info, "modified"),
    };
    Some(Finding::new(level, payload, COMPONENT, action))
}

#[cfg(test)]
mod tests;
