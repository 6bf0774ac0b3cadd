//! Which files are read, written, renamed and deleted on Samba's shares, and which it refuses, as a domain: from the lines of
//! `full_audit` in the journal, where smb.conf has it. What was said while the agent was down is read at its next start.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{
    audit::{self, Act, Audit},
    file_fold::{Counted, Fold},
    shares,
};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    host::{
        Host,
        clock::Clock,
        journal::{self, JournalLook, JournalPlaces, JournalSight, JournalWatch},
    },
    schema::events::{SharingFileAccessPayload, sharing_file_access_payload::SharingFileAccessOperation as Operation},
};

/// How often it is looked whether Samba is set to tell, and whether a window is over.
const INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks where one was not enough.
const MORE: Duration = Duration::from_millis(50);
const COMPONENT: &str = "files";

/// How far the journal is read, and what is counted since.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    places: JournalPlaces,
    fold: Fold,
}

/// The look at them.
#[derive(Default)]
pub(super) struct FileAccess {
    /// Further than what is remembered: that goes on when there is something to tell.
    ahead: Option<Known>,
    audit: Option<Audit>,
    /// When the configuration was read last.
    read: Option<Instant>,
    watch: JournalWatch,
    told: Vec<Counted>,
    has_more: bool,
}

impl Domain for FileAccess {
    const NAME: &'static str = "files on shares";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        self.told.clear();
        if self.read.is_none_or(|read| read.elapsed() >= INTERVAL) {
            let conf = context.look("read smb.conf", |host| Ok(shares::configuration(host))).await?;
            (self.audit, self.read) = (conf.as_ref().and_then(Audit::of), Some(Instant::now()));
        }
        if self.audit.is_none() {
            context.sight.is_not_meant_to_see(Self::NAME, "");
            // From now on nothing is audited: what comes when it is again begins there.
            (self.ahead, self.has_more) = (None, false);
            return Ok(before.map(|_| Known::default()));
        }
        let mut known = self.ahead.clone().or_else(|| before.cloned()).unwrap_or_default();
        let (mut places, mut watch) = (known.places.clone(), std::mem::take(&mut self.watch));
        let look = move |host: &Host| {
            let sight = watch.look(host, &mut places, audit::programs())?;
            Ok((sight, places, watch))
        };
        let (sight, places, watch) = context.look("read the journal", look).await?;
        self.watch = watch;
        let is_closed = matches!(sight, JournalSight::Closed);
        context.sight.is_not_meant_to_see(Self::NAME, if is_closed { journal::CLOSED } else { "" });
        let look = match sight {
            JournalSight::Open(look) => look,
            JournalSight::Absent => JournalLook::default(),
            JournalSight::Closed => return Ok(None),
        };
        self.has_more = look.has_more;
        known.places = places;
        self.take(&mut known.fold, &look, Clock::of(&context.host).unix_milliseconds());
        // Written to the disk when something is told: what only counts is counted again from there.
        let is_news = !self.told.is_empty() || before.is_none_or(|before| known.places.is_far_from(&before.places));
        self.ahead = Some(known.clone());
        Ok(if is_news { Some(known) } else { before.cloned() })
    }

    fn first_sight(&self, _: &Known) -> Vec<Finding> {
        self.told.iter().map(finding).collect()
    }

    fn diff(&self, _: &Known, _: &Known) -> Vec<Finding> {
        self.told.iter().map(finding).collect()
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        match (&self.audit, self.has_more) {
            (None, _) => pending().await,
            (Some(_), true) => sleep(MORE).await,
            (Some(_), false) => self.watch.changed().await,
        }
        Ok(())
    }
}

impl FileAccess {
    fn take(&mut self, fold: &mut Fold, look: &JournalLook, now: i64) {
        let Some(audit) = &mut self.audit else { return };
        for record in &look.records {
            if let Some((act, access)) = audit.access(record) {
                fold.take(act, access, &mut self.told);
            }
        }
        if !look.has_more && !fold.is_empty() {
            fold.settle(now, &mut self.told);
        }
    }
}

fn finding(told: &Counted) -> Finding {
    let (level, operation, action) = match told.act {
        Act::Read => (Level::Debug, Operation::Read, "read"),
        Act::Write => (Level::Debug, Operation::Write, "write"),
        Act::Rename => (Level::Info, Operation::Rename, "rename"),
        Act::Delete => (Level::Info, Operation::Delete, "delete"),
        Act::Denied => (Level::Warn, Operation::Denied, "denied"),
    };
    let payload = SharingFileAccessPayload {
        file_path: told.path(),
        username: told.user.clone(),
        operation_type: told.wanted.clone(),
        share_name: told.share.clone(),
        client_ip: told.address.clone(),
        new_path: told.new_path.clone(),
        like_it: told.beside(),
        operation: operation.into(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, action)
}

#[cfg(test)]
mod tests {
    use super::{
        audit::tests::{LINES, audit, said},
        *,
    };
    use crate::collectors::{
        finding::{lines, sentences},
        tests::Machine,
    };

    const CONF: &str = include_str!("../../../tests/fixtures/samba/smb.conf");

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn where_nothing_is_audited_any_more_it_begins_anew_when_something_is_again() {
        let machine = Machine::new();
        let (context, _log) = machine.ground("sharing").await;
        machine.write("etc/samba/smb.conf", "[data]\npath = /srv/data\n");
        let mut domain = FileAccess::default();
        assert_eq!(domain.look(&context, None).await.unwrap(), None);
        let mut fold = Fold::default();
        let deleted = said(1, "alice|10.0.0.7|pc|data|unlinkat|ok|/srv/a");
        let (act, access) = audit(CONF).unwrap().access(&deleted).unwrap();
        fold.take(act, access, &mut Vec::new());
        let before = Known { fold, ..Known::default() };
        assert_eq!(domain.look(&context, Some(&before)).await.unwrap(), Some(Known::default()));
    }

    #[test]
    fn a_name_with_what_nobody_sees_does_not_get_onto_a_screen() {
        let mut domain = FileAccess { audit: audit(CONF), ..FileAccess::default() };
        let evil = "a\u{1b}[2J\u{202e}b\nunlinkat|ok|/srv/other";
        let records = vec![said(1_000_000, &format!("{evil}|10.0.0.7|pc|data|renameat|ok|/srv/{evil}|/srv/{evil}"))];
        domain.take(&mut Fold::default(), &JournalLook { records, ..JournalLook::default() }, 1_000_000);
        let told = sentences(&domain.diff(&Known::default(), &Known::default()));
        assert!(told.iter().all(|told| told.chars().all(|c| !crate::visible::is_hidden(c))), "{told:?}");
        let records = vec![said(1_000_000, &format!("alice|10.0.0.7|pc|data|unlinkat|ok|/srv/{evil}"))];
        domain.told.clear();
        domain.take(&mut Fold::default(), &JournalLook { records, ..JournalLook::default() }, 1_000_000);
        let told = sentences(&domain.diff(&Known::default(), &Known::default()));
        let expected =
            "File /srv/a\\u{1b}[2J\\u{202e}b\\nunlinkat|ok|/srv/other was deleted by alice, share data, from 10.0.0.7";
        assert_eq!(told, [expected]);
    }

    #[test]
    fn accesses_are_told_with_user_share_and_address_once_and_a_busy_share_does_not_flood() {
        let mut domain = FileAccess { audit: audit(CONF), ..FileAccess::default() };
        let mut records: Vec<_> = LINES.lines().map(|line| said(1_000_000, line)).collect();
        let more = ["renameat|ok|/srv/data/a|/srv/data/b", "openat|fail (Permission denied)|w|/srv/data/no"];
        records.extend(more.map(|line| said(1_000_000, &format!("alice|10.0.0.7|pc|data|{line}"))));
        records.extend(
            (0..5000).map(|number| said(1_000_000, &format!("alice|10.0.0.7|pc|data|unlinkat|ok|/srv/data/{number}"))),
        );
        let mut fold = Fold::default();
        domain.take(&mut fold, &JournalLook { records, ..JournalLook::default() }, 1_000_000);
        let findings = domain.diff(&Known::default(), &Known::default());
        let expected = [
            "File /srv/data/u2.txt was deleted by alice, share data, from 127.0.0.1",
            "File /srv/data/keep.txt was written by alice, share data, from 127.0.0.1",
            "File /srv/data/a was renamed to /srv/data/b by alice, share data, from 10.0.0.7",
            "File /srv/data/no was refused to alice: write, share data, from 10.0.0.7",
        ];
        assert_eq!(sentences(&findings)[..4], expected);
        let levels: Vec<_> =
            lines(&findings)[..4].iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(levels, ["info", "debug", "info", "warn"]);
        assert!(findings.len() < 40, "{}", findings.len());
        domain.told.clear();
        domain.take(&mut fold, &JournalLook::default(), 10_000_000);
        let rest = sentences(&domain.diff(&Known::default(), &Known::default()));
        let last = "File /srv/data/* was deleted by alice, share data, from 10.0.0.7, accesses like it: 4,969";
        assert_eq!(rest, [last]);
    }
}
