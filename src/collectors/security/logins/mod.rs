//! Logins as a domain, good and bad: by sshd, smbd, login, su and sudo, as they say in the journal.
//!
//! What was said while the agent was down is read at its next start, as far as journald still has it. Logins that came before the
//! installation are no news. That the journal may not be read is said by `rodent status`, with what would help.

mod fold;
mod line;

use crate::order::Gather as _;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use self::{
    fold::{Failures, Fold, Told},
    line::{Attempt, Line},
};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    host::{
        Host, account_names,
        clock::Clock,
        journal::{self, JournalLook, JournalPlaces, JournalRecord, JournalSight, JournalWatch},
    },
    schema::events::{SecurityAuthPayload, security_auth_payload::SecurityAuthOperation as Operation},
};

/// How often the journal is looked at although nothing tells that something has come: failures that are over are told then.
const INTERVAL: Duration = Duration::from_secs(15);
/// Between two looks where one was not enough.
const MORE: Duration = Duration::from_millis(50);
/// Connections of which a failure was told, so that their end is no second one. Older ones are forgotten: then it counts twice.
const CONNECTIONS_MAX: usize = 512;
const COMPONENT: &str = "logins";

/// How far the journal is read, and what failed there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::collectors::security) struct Known {
    places: JournalPlaces,
    fold: Fold,
}

/// The look at them.
#[derive(Default)]
pub(in crate::collectors::security) struct Logins {
    /// Further than what is remembered: that goes on when there is something to tell.
    places: Option<JournalPlaces>,
    connections: VecDeque<String>,
    told: Vec<Told>,
    watch: JournalWatch,
    has_more: bool,
    said_unseen: bool,
}

impl Logins {
    /// Takes in what was said.
    fn take(&mut self, fold: &mut Fold, records: Vec<JournalRecord>, owners: &BTreeMap<u32, String>, now: i64) {
        self.told.clear();
        let owner = |uid: u32| owners.get(&uid).cloned().unwrap_or_else(|| format!("uid {uid}"));
        for record in records {
            match line::of(&record, owner) {
                Some(Line::Attempt(attempt, connection)) => {
                    if !connection.is_empty() {
                        self.connected(connection);
                    }
                    fold.take(attempt, &mut self.told);
                }
                Some(Line::Closed(attempt, connection)) if !self.connections.contains(&connection) => {
                    self.connected(connection);
                    fold.take(attempt, &mut self.told);
                }
                Some(Line::Left(attempt)) => fold.left(attempt, &mut self.told),
                _ => {}
            }
        }
        // Where there is more to read, nobody is known to be quiet now.
        if !self.has_more {
            fold.settle(now, &mut self.told);
        }
    }

    fn connected(&mut self, connection: String) {
        if !self.connections.contains(&connection) {
            if self.connections.len() >= CONNECTIONS_MAX {
                self.connections.pop_front();
            }
            self.connections.push_back(connection);
        }
    }

    fn note_unseen(&mut self, context: &Context, sees: bool) {
        context.sight.is_not_meant_to_see("logins", if sees { "" } else { journal::CLOSED });
        if !sees && !self.said_unseen {
            tracing::info!(why = journal::CLOSED, "logins are not seen");
        }
        self.said_unseen = !sees;
    }
}

impl Domain for Logins {
    const NAME: &'static str = "logins";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        self.told.clear();
        let mut places = self.places.clone().or_else(|| Some(before?.places.clone())).unwrap_or_default();
        let is_new = places == JournalPlaces::default();
        let mut watch = std::mem::take(&mut self.watch);
        let look = move |host: &Host| {
            let sight = watch.look(host, &mut places, &line::programs())?;
            let owners = match &sight {
                JournalSight::Open(look) => owners(host, look),
                JournalSight::Absent | JournalSight::Closed => BTreeMap::new(),
            };
            Ok((sight, owners, places, watch))
        };
        let (sight, owners, places, watch) = context.look("read the journal", look).await?;
        self.watch = watch;
        self.note_unseen(context, !matches!(sight, JournalSight::Closed));
        let look = match sight {
            JournalSight::Open(look) => look,
            JournalSight::Absent if is_new => return Err(CollectError::Absent("there is no journal".to_owned())),
            JournalSight::Absent | JournalSight::Closed => return Ok(None),
        };
        self.has_more = look.has_more;
        let why = format!("there are more than {} of users' files in the journal", journal::FILES_MAX);
        context.note("su and sudo of some users", (look.beyond > 0).then_some(why)).await?;
        let mut known = before.cloned().unwrap_or_else(|| Known { places: places.clone(), ..Known::default() });
        let now = Clock::of(&context.host).unix_milliseconds();
        self.take(&mut known.fold, look.records, &owners, now);
        // What is remembered is written to the disk: not for every message that is none of ours.
        // What is told is told once, also where it is over by now and so nothing is left of it in the fold.
        let is_news = !self.told.is_empty() || before.is_some_and(|before| before.fold != known.fold);
        if is_news || places.is_far_from(&known.places) {
            known.places = places.clone();
        }
        self.places = Some(places);
        Ok(Some(known))
    }

    /// What came before the installation is no news; what goes on is.
    fn first_sight(&self, known: &Known) -> Vec<Finding> {
        known.fold.standing().iter().map(finding).collect()
    }

    fn diff(&self, _: &Known, _: &Known) -> Vec<Finding> {
        self.told.iter().map(finding).collect()
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        if self.has_more {
            sleep(MORE).await
        } else {
            self.watch.changed().await
        }
        Ok(())
    }
}

/// The names of those who have spoken, where the machine itself knows them.
fn owners(host: &Host, look: &JournalLook) -> BTreeMap<u32, String> {
    let uids: BTreeSet<u32> = look.records.iter().map(|record| record.uid).filter(|uid| *uid != 0).gather();
    account_names::names(host, account_names::PASSWD, &uids)
}

fn finding(told: &Told) -> Finding {
    match told {
        Told::Failed(attempt) => {
            let payload = SecurityAuthPayload {
                operation: Operation::LoginFailed.into(),
                reason: attempt.reason.clone(),
                ..payload(attempt)
            };
            Finding::new(Level::Warn, payload, COMPONENT, "failed")
        }
        Told::LoggedIn(attempt, failures, like_it) => {
            // Whoever tried again and again has got in.
            let level = if *failures > 0 { Level::Error } else { Level::Info };
            let payload = SecurityAuthPayload {
                operation: Operation::LoginSuccess.into(),
                failures: *failures,
                like_it: *like_it,
                ..payload(attempt)
            };
            Finding::new(level, payload, COMPONENT, "logged in")
        }
        Told::LoggedOut(attempt) => {
            let payload = SecurityAuthPayload { operation: Operation::Logout.into(), ..payload(attempt) };
            Finding::new(Level::Info, payload, COMPONENT, "logged out")
        }
        Told::Begins(failures) => brute_force(Level::Warn, failures, Operation::BruteForce, "brute force"),
        Told::Ceased(failures) => brute_force(Level::Info, failures, Operation::BruteForceCeased, "ceased"),
    }
}

fn payload(attempt: &Attempt) -> SecurityAuthPayload {
    SecurityAuthPayload {
        username: attempt.user.clone(),
        method: attempt.method.clone(),
        source_ip: attempt.source.clone(),
        target_user: attempt.target.clone(),
        ..Default::default()
    }
}

/// Its subject is the source, also where it tries one user alone.
fn brute_force(level: Level, failures: &Failures, operation: Operation, action: &str) -> Finding {
    let payload = SecurityAuthPayload {
        username: if failures.source.is_empty() { failures.user.clone() } else { String::new() },
        method: failures.method.clone(),
        source_ip: failures.source.clone(),
        failures: failures.count,
        first_at: failures.first,
        last_at: failures.last,
        operation: operation.into(),
        ..Default::default()
    };
    let user = if failures.source.is_empty() { "" } else { &failures.user };
    Finding::new(level, payload, COMPONENT, action).with("username", user)
}

#[cfg(test)]
mod tests;
