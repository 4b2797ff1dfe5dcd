use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::{
    Address, Binding, Connection, Error, Inbox, Prefetch, Published, Session, Settlement, Subscription,
    Topology,
};
use celeriac_protocol::Message;
use tokio::sync::mpsc;

use crate::SqliteTransport;
use crate::engine::Handle;
use crate::store::Parcel;

/// A connection; when it and its sessions are dropped it closes.
pub(crate) struct SqliteConnection {
    engine: Arc<Handle>,
}

/// A session; when it is dropped it closes.
struct SqliteSession {
    engine: Arc<Handle>,
    id: u64,
}

impl SqliteConnection {
    pub async fn open(transport: &SqliteTransport) -> Result<Self, Error> {
        let engine = Handle::open(transport).await?;
        Ok(SqliteConnection { engine: Arc::new(engine) })
    }
}

#[async_trait]
impl Connection for SqliteConnection {
    async fn declare(&self, topology: &Topology) -> Result<(), Error> {
        let topology = topology.clone();
        self.engine.call(move |tx| tx.declare(&topology)).await
    }

    async fn publish(&self, address: &Address, message: Message) -> Result<Published, Error> {
        // Here, not on the database thread, is where JSON is written.
        let parcel = Parcel::new(address.clone(), message)?;
        self.engine.call(move |tx| tx.publish(&parcel)).await
    }

    async fn open_session(&self, prefetch: Prefetch) -> Result<(Arc<dyn Session>, Inbox), Error> {
        countable(prefetch)?;
        let (sender, inbox) = mpsc::unbounded_channel();
        let id = self.engine.open_session(prefetch, sender)?;
        Ok((Arc::new(SqliteSession { engine: self.engine.clone(), id }), inbox))
    }

    async fn queue_len(&self, queue: &str) -> Result<u64, Error> {
        let queue = queue.to_owned();
        self.engine.call(move |tx| tx.queue_len(&queue)).await
    }

    async fn purge(&self, queue: &str) -> Result<u64, Error> {
        let queue = queue.to_owned();
        self.engine.call(move |tx| tx.purge(&queue)).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        let queue = queue.to_owned();
        self.engine.call(move |tx| tx.delete_queue_named(&queue)).await
    }

    async fn bindings(&self) -> Result<Vec<Binding>, Error> {
        self.engine.call(|tx| tx.bindings()).await
    }

    async fn closed(&self) -> Error {
        self.engine.closed().await
    }

    async fn close(&self) {
        self.engine.close().await;
    }
}

impl Drop for SqliteConnection {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

#[async_trait]
impl Session for SqliteSession {
    async fn subscribe(&self, subscription: &Subscription) -> Result<(), Error> {
        let (id, subscription) = (self.id, subscription.clone());
        self.engine.call(move |tx| tx.subscribe(id, &subscription)).await
    }

    async fn unsubscribe(&self, queue: &str) -> Result<(), Error> {
        let (id, queue) = (self.id, queue.to_owned());
        self.engine.call(move |tx| tx.unsubscribe(id, &queue)).await
    }

    async fn set_prefetch(&self, prefetch: Prefetch) -> Result<(), Error> {
        countable(prefetch)?;
        let id = self.id;
        self.engine.call(move |tx| tx.set_prefetch(id, prefetch)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), Error> {
        let (id, settlements) = (self.id, settlements.to_vec());
        self.engine.call(move |tx| tx.settle(id, &settlements)).await
    }

    async fn close(&self) {
        let id = self.id;
        let _ = self.engine.call(move |tx| tx.close_session(id)).await;
    }
}

impl Drop for SqliteSession {
    fn drop(&mut self) {
        let id = self.id;
        self.engine.cast(move |tx| tx.close_session(id));
    }
}

fn countable(prefetch: Prefetch) -> Result<(), Error> {
    match prefetch {
        Prefetch::Nothing => {
            Err(Error::Unsupported { transport: "sqlite", what: "a prefetch count of nothing" })
        }
        _ => Ok(()),
    }
}
