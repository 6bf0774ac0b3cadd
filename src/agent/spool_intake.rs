//! Takes in what hooks left in the spool while the agent was away.
//!
//! Always holds: a file goes only after the log has its event, so a crash between the two gives the same event, with the
//! same identifier, twice, and never none. What is no event is put aside and told of, once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    pipeline::{Durability, EmitError, Emitter, Origin},
    spool::{Spool, SpoolError},
    telemetry::ErrorChain,
};

/// Between two looks: so late at most is an event that a hook could not give to a busy agent.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// Looks at once and then each `interval` until `shutdown`.
pub(super) async fn run(spool: Spool, interval: Duration, emitter: Emitter, shutdown: CancellationToken) {
    let intake = Intake { spool, emitter, shutdown: shutdown.clone() };
    let mut trouble = String::new();
    loop {
        // Not dropped in the middle of a file: its event would be in the log and the file still there.
        let ended = intake.look().await;
        let told = ended.err().map(|error| ErrorChain(&error).to_string()).unwrap_or_default();
        if !told.is_empty() && told != trouble {
            tracing::warn!(error = told, "what hooks left for the agent cannot be taken in");
        }
        trouble = told;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

struct Intake {
    spool: Spool,
    emitter: Emitter,
    shutdown: CancellationToken,
}

impl Intake {
    async fn look(&self) -> Result<(), SpoolError> {
        let names = self.blocking(|spool| spool.make().and_then(|()| spool.list())).await?;
        let mut taken: u64 = 0;
        for name in names {
            if self.shutdown.is_cancelled() {
                break;
            }
            match self.take(name).await? {
                Taken::Yes => taken += 1,
                Taken::Aside => {}
                // The log has said why itself.
                Taken::Later => break,
            }
        }
        if taken > 0 {
            tracing::info!(events = taken, "took in what hooks left while the agent was away");
        }
        Ok(())
    }

    async fn take(&self, name: String) -> Result<Taken, SpoolError> {
        let left = match self
            .blocking({
                let name = name.clone();
                move |spool| spool.read(&name)
            })
            .await
        {
            Ok(left) => left,
            Err(error @ SpoolError::Untrusted { .. }) => {
                let why = ErrorChain(&error).to_string();
                return self.set_aside(name, why).await;
            }
            Err(error) => return Err(error),
        };
        let origin = Origin { uid: left.uid, gid: left.gid };
        match self.emitter.submit(vec![left.event.into()], origin, Durability::Committed).await {
            Ok(_) => {
                self.blocking(move |spool| spool.remove(&name)).await?;
                Ok(Taken::Yes)
            }
            Err(EmitError::Refused(why)) => self.set_aside(name, why).await,
            Err(EmitError::Unavailable(_)) => Ok(Taken::Later),
        }
    }

    async fn set_aside(&self, name: String, why: String) -> Result<Taken, SpoolError> {
        tracing::error!(file = name, why, "a file in the spool is no event, and is put aside");
        self.blocking(move |spool| spool.set_aside(&name)).await?;
        Ok(Taken::Aside)
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

/// What became of a file.
enum Taken {
    Yes,
    Aside,
    Later,
}
