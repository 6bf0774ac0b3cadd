//! Takes in what hooks left in the spool while the agent was away.
//!
//! Always holds: a file goes only after its event is durable in the log, so a crash between the two gives the same event,
//! with the same identifier, twice, and never none; within one run no file is given to the log twice. A file that cannot be
//! read keeps no other waiting. What is no event is put aside and told of, once.

use std::{collections::BTreeMap, io, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    health::{BEAT, Conditions, Fault, round},
    pipeline::{EmitError, Emitter, Origin},
    schema::local::emit_request::Durability,
    spool::{FILES_MAX, Spool, SpoolError},
    telemetry::{ErrorChain, message},
};

/// Between two looks: so late at most is an event that a hook could not give to a busy agent.
/// Each wakes two threads.
pub(super) const INTERVAL: Duration = BEAT.saturating_mul(3);

/// Looks at once and then each `interval` until `shutdown`.
pub(super) async fn run(
    spool: Spool,
    interval: Duration,
    emitter: Emitter,
    conditions: Conditions,
    shutdown: CancellationToken,
) {
    let mut intake = Intake { spool, emitter, shutdown: shutdown.clone(), settled: BTreeMap::new() };
    loop {
        // Not dropped in the middle of a file: its event would be in the log and the file still there.
        let ended = intake.look().await;
        let trouble = ended.err().map(|error| {
            let text = format!("what hooks left for the agent cannot be taken in: {}", ErrorChain(&error));
            Fault::warning(text)
        });
        conditions.put(message::SPOOL_FAILS, trouble);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = round(interval) => {}
        }
    }
}

struct Intake {
    spool: Spool,
    emitter: Emitter,
    shutdown: CancellationToken,
    /// Files that are still there though the log has had a look at them, at most [`FILES_MAX`].
    settled: BTreeMap<String, Settled>,
}

/// What is left to do about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// The log has its event; the file goes when that is durable.
    Given,
    /// It is no event.
    Refused,
}

impl Intake {
    /// Goes on after a file in trouble; gives the first trouble.
    async fn look(&mut self) -> Result<(), SpoolError> {
        let names = self.blocking(|spool| spool.make().and_then(|()| spool.list())).await?;
        let mut trouble = self.finish(&names).await;
        let mut taken: u64 = 0;
        for name in names {
            if self.shutdown.is_cancelled() || self.settled.len() >= FILES_MAX {
                break;
            }
            if self.settled.contains_key(&name) {
                continue;
            }
            match self.take(name).await {
                Ok(Taken::Yes) => taken += 1,
                Ok(Taken::No) => {}
                // The log has said why itself.
                Ok(Taken::Later) => break,
                Err(error) => trouble = trouble.and(Err(error)),
            }
        }
        if taken > 0 {
            tracing::info!(events = taken, "took in what hooks left while the agent was away");
        }
        trouble
    }

    /// Does what is left to do about files of earlier looks.
    async fn finish(&mut self, names: &[String]) -> Result<(), SpoolError> {
        self.settled.retain(|name, _| names.binary_search(name).is_ok());
        let mut settled = self.settled.clone();
        if settled.values().any(|settled| *settled == Settled::Given) && !matches!(self.emitter.flush().await, Ok(None))
        {
            settled.retain(|_, settled| *settled == Settled::Refused);
        }
        let mut trouble = Ok(());
        for name in settled.into_keys() {
            trouble = trouble.and(self.clear_away(name).await);
        }
        trouble
    }

    async fn take(&mut self, name: String) -> Result<Taken, SpoolError> {
        let read = {
            let name = name.clone();
            self.blocking(move |spool| spool.read(&name)).await
        };
        let left = match read {
            Ok(left) => left,
            Err(error @ SpoolError::Untrusted { .. }) => {
                let why = ErrorChain(&error).to_string();
                return self.refuse(name, &why).await;
            }
            Err(error) if is_gone(&error) => return Ok(Taken::No),
            Err(error) => return Err(error),
        };
        let origin = Origin { uid: left.uid, gid: left.gid };
        let taken = match self.emitter.submit(vec![left.event.into()], origin, Durability::Committed).await {
            Ok(submission) => self.emitter.secure(submission.ends).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(only_in_memory) => {
                self.settled.insert(name.clone(), Settled::Given);
                // What is in memory only would be gone with the power, and the file is all there is on a disk.
                if only_in_memory.is_none() {
                    self.clear_away(name).await?;
                }
                Ok(Taken::Yes)
            }
            Err(EmitError::Refused(why)) => self.refuse(name, &why).await,
            Err(EmitError::Unavailable(_)) => Ok(Taken::Later),
        }
    }

    async fn refuse(&mut self, name: String, why: &str) -> Result<Taken, SpoolError> {
        tracing::error!(file = name, why, "a file in the spool is no event, and is put aside");
        self.settled.insert(name.clone(), Settled::Refused);
        self.clear_away(name).await?;
        Ok(Taken::No)
    }

    /// Takes a settled file away. It stays settled when that fails.
    async fn clear_away(&mut self, name: String) -> Result<(), SpoolError> {
        let Some(settled) = self.settled.get(&name).copied() else { return Ok(()) };
        let cleared = {
            let name = name.clone();
            self.blocking(move |spool| match settled {
                Settled::Given => spool.remove(&name),
                Settled::Refused => spool.set_aside(&name),
            })
            .await
        };
        match cleared {
            Err(error) if !is_gone(&error) => Err(error),
            _ => {
                self.settled.remove(&name);
                Ok(())
            }
        }
    }

    /// Files are read and written where waiting for the disk keeps nobody else.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let spool = self.spool.clone();
        tokio::task::spawn_blocking(move || work(&spool)).await.expect("looking into the spool does not panic")
    }
}

/// Whether somebody else has taken the file away.
fn is_gone(error: &SpoolError) -> bool {
    matches!(error, SpoolError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// What became of a file.
enum Taken {
    Yes,
    No,
    Later,
}
