//! Certificates as a domain: how near the end of each is, of the files and directories that the configuration names.
//!
//! Of a file its first certificate counts, which is that of the service; those behind it are of who has signed it. A file that
//! cannot be read, or has none, is a blind spot by its name. What another setting left out has neither come nor gone.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    files,
    host::{Host, clock::Clock},
    schema::events::{
        SecurityCertificatePayload, security_certificate_payload::SecurityCertificateOperation as Operation,
    },
    tls,
};

/// What renews certificates does so by the day.
const INTERVAL: Duration = Duration::from_secs(600);
const DAY: i64 = 24 * 3600;
/// A chain has some ten KiB.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// The most files that are followed; that there are more is a blind spot.
const FILES_MAX: usize = 256;
/// Of a directory: what is taken for a certificate, beside keys and requests.
const ENDINGS: [&str; 4] = ["pem", "crt", "cer", "cert"];
const COMPONENT: &str = "certificates";
/// Blind spots begin so; the path follows.
const PREFIX: &str = "certificate ";

/// By path.
type Known = BTreeMap<String, Certificate>;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Certificate {
    /// The beginning of its SHA-256: another one is a new certificate.
    print: u64,
    /// Unix seconds.
    from: i64,
    until: i64,
    stage: Stage,
}

/// How near its end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Stage {
    Far,
    Month,
    Week,
    Day,
    Over,
}

impl Stage {
    fn of(left: i64) -> Stage {
        match left {
            ..=0 => Stage::Over,
            _ if left <= DAY => Stage::Day,
            _ if left <= 7 * DAY => Stage::Week,
            _ if left <= 30 * DAY => Stage::Month,
            _ => Stage::Far,
        }
    }
}

/// The look at them.
pub(super) struct Certificates {
    paths: Vec<PathBuf>,
    /// Unix seconds of the last look.
    now: i64,
}

/// What a look at the files finds: certificates, and why others are not seen.
#[derive(Default)]
struct Looked {
    known: Known,
    unseen: BTreeMap<String, String>,
    beyond: usize,
}

impl Certificates {
    pub(super) fn new(paths: Vec<PathBuf>) -> Certificates {
        Certificates { paths, now: 0 }
    }
}

impl Domain for Certificates {
    const NAME: &'static str = "certificates";
    type Known = Known;
    type Choice = Vec<PathBuf>;

    fn choice(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }

    /// A path that was named then, or lies in a directory that was.
    fn split(known: Known, choice: &Vec<PathBuf>) -> (Known, Option<Known>) {
        let is_chosen = |path: &str| {
            choice.iter().any(|chosen| {
                let path = Path::new(path);
                path == chosen || path.parent() == Some(chosen)
            })
        };
        let (taken, left_out) = known.into_iter().partition(|(path, _)| is_chosen(path));
        (taken, Some(left_out))
    }

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        if self.paths.is_empty() && before.is_none_or(BTreeMap::is_empty) {
            return Err(CollectError::Absent("collectors.security.certificates names none".to_owned()));
        }
        self.now = Clock::of(&context.host).unix_milliseconds() / 1000;
        let (paths, now) = (self.paths.clone(), self.now);
        let mut looked = context.look("look at the certificates", move |host| Ok(look(host, &paths, now))).await?;
        for (path, why) in &looked.unseen {
            context.is_blind(&format!("{PREFIX}{path}"), why).await?;
        }
        // What cannot be seen now is not gone.
        for (path, was) in before.into_iter().flatten() {
            if looked.is_unseen(path) {
                looked.known.entry(path.clone()).or_insert_with(|| was.clone());
            }
        }
        context.sees_gone(PREFIX, |path| looked.unseen.contains_key(path)).await?;
        let beyond =
            (looked.beyond > 0).then(|| format!("more than {FILES_MAX} are named, {} are left", looked.beyond));
        context.note("all certificates", beyond).await?;
        Ok(Some(looked.known))
    }

    fn first_sight(&self, known: &Known) -> Vec<Finding> {
        let near = known.iter().filter(|(_, it)| it.stage > Stage::Far);
        near.map(|(path, it)| self.nears(path, it)).collect()
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (path, was) in before.iter().filter(|(path, _)| !after.contains_key(*path)) {
            findings.push(finding(Level::Info, path, was, Operation::Removed, "removed"));
        }
        for (path, is) in after {
            match before.get(path) {
                Some(was) if was.print == is.print => {
                    if was.stage < is.stage {
                        findings.push(self.nears(path, is));
                    } else if was.stage > is.stage {
                        // The clock was wrong, or is now.
                        findings.push(finding(Level::Info, path, is, Operation::Valid, "valid"));
                        findings.extend((is.stage > Stage::Far).then(|| self.nears(path, is)));
                    }
                    continue;
                }
                Some(_) => findings.push(finding(Level::Info, path, is, Operation::Renewed, "renewed")),
                None => findings.push(finding(Level::Info, path, is, Operation::Installed, "installed")),
            }
            findings.extend((is.stage > Stage::Far).then(|| self.nears(path, is)));
        }
        findings
    }

    fn inventory(&self, known: &Known) -> String {
        if known.is_empty() { String::new() } else { format!("certificates: {}", known.len()) }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

impl Certificates {
    /// That it ends soon, or has.
    fn nears(&self, path: &str, it: &Certificate) -> Finding {
        let (level, operation, action) = match it.stage {
            Stage::Over => (Level::Error, Operation::Expired, "expired"),
            Stage::Day => (Level::Error, Operation::ExpiresSoon, "1 day"),
            Stage::Week => (Level::Warn, Operation::ExpiresSoon, "7 days"),
            Stage::Month | Stage::Far => (Level::Warn, Operation::ExpiresSoon, "30 days"),
        };
        let days_left = u32::try_from((it.until - self.now).max(0) / DAY).unwrap_or_default();
        let payload = SecurityCertificatePayload { days_left, ..payload(path, it, operation) };
        Finding::new(level, payload, COMPONENT, action)
    }
}

/// The path is what a person renews; a name may be in several.
fn payload(path: &str, it: &Certificate, operation: Operation) -> SecurityCertificatePayload {
    SecurityCertificatePayload {
        cert_id: path.to_owned(),
        issued_time: it.from,
        expiry_time: it.until,
        operation: operation.into(),
        ..Default::default()
    }
}

fn finding(level: Level, path: &str, it: &Certificate, operation: Operation, action: &str) -> Finding {
    Finding::new(level, payload(path, it, operation), COMPONENT, action)
}

fn look(host: &Host, paths: &[PathBuf], now: i64) -> Looked {
    let mut looked = Looked::default();
    for path in paths {
        let text = path.to_string_lossy();
        let place = host.path(&text);
        if place.is_dir() {
            match host.names(&text) {
                Ok(names) => {
                    for name in names.iter().filter(|name| is_certificate(name)) {
                        looked.take(host, &format!("{}/{name}", text.trim_end_matches('/')), now, false);
                    }
                }
                Err(error) => drop(looked.unseen.insert(text.into_owned(), error.to_string())),
            }
        } else {
            looked.take(host, &text, now, true);
        }
    }
    looked
}

fn is_certificate(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

impl Looked {
    /// Whether it is not seen, or the directory in which it lies.
    fn is_unseen(&self, path: &str) -> bool {
        let path = Path::new(path);
        self.unseen.keys().map(Path::new).any(|unseen| path == unseen || path.parent() == Some(unseen))
    }

    /// What has no certificate is unseen only where it was named.
    fn take(&mut self, host: &Host, path: &str, now: i64, is_named: bool) {
        if self.known.len() + self.unseen.len() >= FILES_MAX {
            self.beyond += 1;
            return;
        }
        match read(&host.path(path)) {
            Ok(bytes) => match certificate(&bytes, now) {
                Some(certificate) => drop(self.known.insert(path.to_owned(), certificate)),
                None if is_named => drop(self.unseen.insert(path.to_owned(), "no certificate in it".to_owned())),
                None => {}
            },
            // It has gone between the look at the directory and this.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => {}
            Err(error) => drop(self.unseen.insert(path.to_owned(), error.to_string())),
        }
    }
}

/// A pipe that somebody has put there is not waited for.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    files::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The first of a file, in PEM or DER. One that is cut off at the bound is none unless what counts stands before it.
fn certificate(bytes: &[u8], now: i64) -> Option<Certificate> {
    let chain = tls::certificates_of(bytes);
    let first = chain.as_ref().and_then(|chain| chain.first()).map_or(bytes, |first| first.as_ref());
    let (from, until) = tls::validity(first)?;
    let print = digest(&SHA256, first).as_ref().first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first));
    let (from, until) = (seconds(from), seconds(until));
    Some(Certificate { print, from, until, stage: Stage::of(until.saturating_sub(now)) })
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    }
}

#[cfg(test)]
mod tests;
