//! The accounts as a domain: read when their directory tells of a change, and now and then, for they may lie behind links.

use std::{future::pending, io, time::Duration};

use tokio::time::timeout;

use super::{
    account_changes,
    accounts::{self, Accounts, DIRECTORY, FILES},
};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    host::directory_watch::DirectoryWatch,
    telemetry::ErrorChain,
};

/// How often the accounts are looked at although nothing was seen to change.
const INTERVAL: Duration = Duration::from_secs(60);
/// Programs rewrite several files in a row: they are read when this long nothing has changed.
const QUIET: Duration = Duration::from_millis(100);
/// But no later than this.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// When to look again at files that are being rewritten.
const UNREADY_RETRY: Duration = Duration::from_secs(1);
/// What is missing without the right to read `/etc/shadow`, which the unit does not give (docs/systemd.md).
const UNSEEN: &str = "locked accounts and changed passwords are not seen";

pub(super) struct AccountWatch {
    directory: Option<DirectoryWatch>,
    /// The files were not whole.
    is_unready: bool,
    said_unseen: bool,
}

impl AccountWatch {
    pub(super) fn new(context: &Context) -> AccountWatch {
        let directory = DirectoryWatch::open(&context.host.path(DIRECTORY)).inspect_err(
            |error| tracing::warn!(%error, "{DIRECTORY} cannot be watched; accounts are read once a minute"),
        );
        AccountWatch { directory: directory.ok(), is_unready: false, said_unseen: false }
    }

    fn note_unseen(&mut self, context: &Context, sees_passwords: bool) {
        context.sight.is_not_meant_to_see("passwords of accounts", if sees_passwords { "" } else { UNSEEN });
        if !sees_passwords && !self.said_unseen {
            tracing::info!(why = "/etc/shadow may not be read", "{UNSEEN}");
        }
        self.said_unseen = !sees_passwords;
    }
}

impl Domain for AccountWatch {
    const NAME: &'static str = "accounts";
    type Known = Accounts;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Accounts>) -> Result<Option<Accounts>, CollectError> {
        let looked = match context.look("look at the accounts", |host| Ok(accounts::look(host))).await? {
            Ok(looked) => looked,
            Err(unready) => {
                if !self.is_unready {
                    tracing::debug!(error = %ErrorChain(&unready), "the accounts are looked at again in a moment");
                }
                self.is_unready = true;
                return Ok(None);
            }
        };
        self.is_unready = false;
        self.note_unseen(context, looked.sees_passwords);
        let mut after = looked.accounts;
        before.into_iter().for_each(|before| after.follow(before));
        Ok(Some(after))
    }

    fn first_sight(&self, _: &Accounts) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, before: &Accounts, after: &Accounts) -> Vec<Finding> {
        account_changes::diff(before, after)
    }

    fn inventory(&self, known: &Accounts) -> String {
        account_changes::inventory(known)
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        let wait = if self.is_unready { UNREADY_RETRY } else { Duration::MAX };
        let touched = timeout(wait, touched(&mut self.directory)).await.unwrap_or(Ok(()));
        touched.map_err(|error| CollectError::failed(format!("watch {DIRECTORY}"), error))
    }
}

/// Waits until one of the files has changed, and all have been left alone for a moment.
async fn touched(directory: &mut Option<DirectoryWatch>) -> io::Result<()> {
    let Some(directory) = directory else { return pending().await };
    while !directory.changed().await?.touches(FILES) {}
    directory.settle(FILES, QUIET, SETTLE_MAX).await
}
