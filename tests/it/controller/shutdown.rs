//! How a controller stops: what it took is answered, what comes later is not.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rodent::controller::store::{Arrival, EventPage, MemoryStore, Node, Query, Receipt, Store, StoreError, Tail};
use tokio::sync::{Notify, watch};

use super::peer::{Controller, batch, token};

/// A store that stands still until it is opened, and fails when it is broken.
pub(super) struct Gate {
    store: MemoryStore,
    entered: Notify,
    open: watch::Sender<bool>,
    pub(super) broken: AtomicBool,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            store: MemoryStore::default(),
            entered: Notify::new(),
            open: watch::Sender::new(false),
            broken: AtomicBool::new(false),
        }
    }
}

impl Gate {
    pub(super) fn opened() -> Gate {
        let gate = Gate::default();
        gate.open();
        gate
    }

    pub(super) fn open(&self) {
        self.open.send_replace(true);
    }
}

#[tonic::async_trait]
impl Store for Gate {
    async fn store(&self, arrival: Arrival) -> Result<Receipt, StoreError> {
        self.entered.notify_one();
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the gate is there");
        if self.broken.load(Ordering::Relaxed) {
            let source = Arc::new(io::Error::from(io::ErrorKind::StorageFull));
            return Err(StoreError::Io { action: "write", path: PathBuf::from("events"), source });
        }
        self.store.store(arrival).await
    }
    async fn query(&self, query: &Query) -> Result<EventPage, StoreError> {
        self.store.query(query).await
    }
    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.store.nodes().await
    }
    fn tail(&self) -> Tail {
        self.store.tail()
    }
    fn about(&self) -> String {
        self.store.about()
    }
    async fn close(&self) {
        self.store.close().await;
    }
}

#[tokio::test]
async fn a_batch_under_way_is_stored_and_answered_before_the_end() {
    let gate = Arc::new(Gate::default());
    let controller = Controller::start(Arc::clone(&gate) as Arc<dyn Store>).await;
    let (address, agent) = (controller.address, controller.agent(&token("nas-1")).await);
    let batch = batch(1, 1);
    let (answer, (), ()) = tokio::join!(
        agent.send(&batch),
        async {
            gate.entered.notified().await;
            controller.stop().await;
        },
        async {
            // The controller was told to stop when nobody is let in any more.
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            gate.open();
        }
    );
    assert!(answer.expect("answered").success);
    assert_eq!(gate.nodes().await.expect("nodes")[0].events, 1);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn under_load_whatever_was_answered_for_is_stored_and_repeating_the_rest_does_no_harm() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || -> Arc<dyn Store> {
        let store = rodent::controller::store::SqliteStore::open(&directory.path().join("events.db"));
        Arc::new(store.expect("a store"))
    };
    const NODES: u64 = 8;
    use std::{collections::HashSet, sync::atomic::AtomicU64};
    let (controller, sent) = (Controller::start(open()).await, Arc::new(AtomicU64::new(0)));
    let address = controller.address;
    let drive = |node: u64| {
        let sent = Arc::clone(&sent);
        async move {
            let agent = super::peer::Agent::connect(address, &token(&format!("nas-{node}"))).await;
            let mut answered = Vec::new();
            for first in (1..).step_by(10) {
                match agent.send(&batch(first, 10)).await {
                    Ok(answer) => answered.push((answer.success, first)),
                    Err(_) => break,
                }
                sent.fetch_add(1, Ordering::Relaxed);
            }
            answered
        }
    };
    let stop = async {
        while sent.load(Ordering::Relaxed) < NODES * 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        controller.stop().await;
    };
    let (answered, ()) = tokio::join!(futures_util::future::join_all((0..NODES).map(drive)), stop);
    let controller = Controller::start(open()).await;
    for (node, answered) in (0..).zip(answered) {
        let node = format!("nas-{node}");
        let agent = controller.agent(&token(&node)).await;
        let mut last = 0;
        for (success, first) in answered {
            assert!(success);
            let repeat = agent.send(&batch(first, 10)).await.expect("a repeat");
            assert_eq!(repeat.message, "0 stored, 10 repeated", "{node} {first}: what was answered for is there");
            last = first;
        }
        // The one that the end of the controller cut off: stored or not, its repeat settles it.
        agent.send(&batch(last + 10, 10)).await.expect("stored once");
    }
    let stored = controller.stored().await.events;
    let ids: HashSet<_> =
        stored.iter().map(|e| (e.node.clone(), e.view().expect("an event").id().to_owned())).collect();
    assert_eq!(ids.len(), stored.len(), "nothing twice");
    controller.stop().await;
}
