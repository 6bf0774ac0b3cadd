//! Starts tasks and waits for them: the one place of the agent that does.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// The agent's tasks. Cheap to copy.
#[derive(Clone, Default)]
pub(super) struct Supervisor {
    tasks: TaskTracker,
}

impl Supervisor {
    /// Starts a task. A panic in it is logged with its name and ends only it.
    pub(super) fn start<T: Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let running = self.spawn(task);
        self.spawn(async move {
            running
                .await
                .inspect_err(|error| {
                    if error.is_panic() {
                        tracing::error!(task = name, "a task of the agent has panicked");
                    }
                })
                .ok()
        })
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the agent starts tasks")]
    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        tokio::spawn(self.tasks.track_future(task))
    }

    /// Waits until every task has ended, at most this long; gives whether they have.
    pub(super) async fn finished(&self, wait_max: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(wait_max, self.tasks.wait()).await.is_ok()
    }
}
