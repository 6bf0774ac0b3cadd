//! How a controller stops: what it took is answered, what comes later is not.

use std::{sync::Arc, time::Duration};

use rodent::controller::store::{Arrival, MemoryStore, Node, Page, Query, Receipt, Store, StoreError, Tail};
use tokio::sync::Notify;

use super::peer::{Controller, batch, token};

/// A store that takes its time.
#[derive(Default)]
struct Slow {
    store: MemoryStore,
    entered: Notify,
}

#[tonic::async_trait]
impl Store for Slow {
    async fn store(&self, arrival: Arrival) -> Result<Receipt, StoreError> {
        self.entered.notify_one();
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.store.store(arrival).await
    }
    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
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
    let slow = Arc::new(Slow::default());
    let controller = Controller::start(Arc::clone(&slow) as Arc<dyn Store>).await;
    let (address, agent) = (controller.address, controller.agent(&token("nas-1")).await);
    let batch = batch(1, 1);
    let (answer, ()) = tokio::join!(agent.send(&batch), async {
        slow.entered.notified().await;
        controller.stop().await;
    });
    assert!(answer.expect("answered").success);
    assert_eq!(slow.nodes().await.expect("nodes")[0].events, 1);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
