//! Who uses NFS, as a domain: the clients of version 4 that the kernel's server knows. It tells them to root alone, or to who
//! may read every file (`locked-accounts.conf`), and not which export each of them uses.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    time::Duration,
};

use super::connection;
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    host::Host,
};

/// One directory a client.
const CLIENTS: &str = "/proc/fs/nfsd/clients";
const INTERVAL: Duration = Duration::from_secs(15);
/// The most that are looked at.
const CLIENTS_MAX: usize = 4096;
/// What they are told to use.
const SHARE: &str = "NFS";

/// Address and version.
type Known = BTreeSet<(String, String)>;

/// The look at them.
pub(super) struct NfsClients;

impl Domain for NfsClients {
    const NAME: &'static str = "clients by nfs";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, _: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let looked = context.look("look at the clients of NFS", |host| Ok(look(host))).await?;
        let is_closed = looked.as_ref().err().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied);
        let why = if is_closed { "the kernel tells them to root alone, or with locked-accounts.conf" } else { "" };
        context.sight.is_not_meant_to_see(Self::NAME, why);
        match looked {
            Ok(looked) => {
                let Some((known, beyond)) = looked else { return Ok(None) };
                let why = (beyond > 0).then(|| format!("more than {CLIENTS_MAX} are there, {beyond} are not followed"));
                context.note("all clients by nfs", why).await?;
                Ok(Some(known))
            }
            Err(_) if is_closed => Ok(None),
            Err(error) => Err(CollectError::failed("look at the clients of NFS", error)),
        }
    }

    fn first_sight(&self, _: &Known) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let of = |(address, version): &(String, String), has_come| connection(SHARE, "", address, version, has_come);
        let gone = before.difference(after).map(|it| of(it, false));
        gone.chain(after.difference(before).map(|it| of(it, true))).collect()
    }

    fn inventory(&self, known: &Known) -> String {
        if known.is_empty() { String::new() } else { format!("clients by NFS: {}", known.len()) }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

/// None where no server runs.
fn look(host: &Host) -> io::Result<Option<(Known, usize)>> {
    if !host.path(CLIENTS).try_exists()? {
        return Ok(None);
    }
    let names = host.names(CLIENTS)?;
    let beyond = names.len().saturating_sub(CLIENTS_MAX);
    let mut known = Known::new();
    for name in names.iter().take(CLIENTS_MAX) {
        match host.read(&format!("{CLIENTS}/{name}/info")) {
            Ok(text) => known.extend(parse(&text)),
            // It has left since.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some((known, beyond)))
}

/// `address: "127.0.0.1:702"`, `minor version: 2`; a client that is not confirmed yet may be anybody.
fn parse(info: &str) -> Option<(String, String)> {
    let value = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim);
    if value("status").is_some_and(|status| status == "unconfirmed") {
        return None;
    }
    let (address, _) = value("address")?.trim_matches('"').rsplit_once(':')?;
    let address: std::net::IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
    let version = value("minor version").and_then(|minor| minor.parse::<u8>().ok());
    let version = version.map_or_else(|| "nfs4".to_owned(), |minor| format!("nfs4.{minor}"));
    Some((address.to_canonical().to_string(), version))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::finding::sentences;

    const INFO: &str = include_str!("../../../tests/fixtures/nfs/client.info");

    fn machine(infos: &[&str]) -> Option<(Known, usize)> {
        let root = tempfile::tempdir().unwrap();
        for (number, info) in infos.iter().enumerate() {
            let place = root.path().join(format!("proc/fs/nfsd/clients/{number}"));
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("info"), info).unwrap();
        }
        look(&Host::at(root.path())).unwrap()
    }

    #[test]
    fn a_client_that_comes_and_goes_is_told_once_however_often_it_is_there() {
        assert_eq!(machine(&[]), None);
        let (with, _) = machine(&[INFO, INFO]).unwrap();
        let (without, _) = machine(&[&INFO.replace("confirmed", "unconfirmed")]).unwrap();
        assert_eq!(sentences(&NfsClients.diff(&without, &with)), ["Share NFS was opened, from 127.0.0.1, nfs4.2"]);
        assert_eq!(sentences(&NfsClients.diff(&with, &without)), ["Share NFS was closed, from 127.0.0.1, nfs4.2"]);
        let mapped = INFO.replace("127.0.0.1:702", "[::ffff:10.0.0.7]:702");
        assert_eq!(parse(&mapped), Some(("10.0.0.7".to_owned(), "nfs4.2".to_owned())));
        let sixth = INFO.replace("127.0.0.1:702", "[fe80::1]:702");
        assert_eq!(parse(&sixth), Some(("fe80::1".to_owned(), "nfs4.2".to_owned())));
    }

    #[test]
    fn a_client_that_leaves_while_it_is_looked_at_is_none() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/fs/nfsd/clients/1")).unwrap();
        assert_eq!(look(&Host::at(root.path())).unwrap(), Some((Known::new(), 0)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_an_address_is_one(text in "(address: |minor version: |\"|:|[0-9.]{0,9}|\\[|\\]|\n|.){0,40}") {
            if let Some((address, _)) = parse(&text) {
                prop_assert!(address.parse::<std::net::IpAddr>().is_ok());
            }
        }
    }
}
