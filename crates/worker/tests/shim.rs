//! A transport between the worker and the one in memory, with faults that a real broker has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{
    Address, Binding, Capabilities, Connection, Error, Inbox, MemoryTransport, Prefetch, Published, Session,
    Settlement, Subscription, Topology, Transport,
};
use celeriac_protocol::Message;

/// A broker with a fault.
#[derive(Debug)]
pub struct Shim {
    inner: MemoryTransport,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    forgets: AtomicBool,
    stalls: AtomicBool,
    lags: AtomicBool,
}

impl Shim {
    /// Forgets the first consumer that it is asked for, and says it consumes.
    pub fn forgetful(inner: MemoryTransport) -> Self {
        let faults = Faults { forgets: true.into(), ..Faults::default() };
        Shim { inner, faults: Arc::new(faults) }
    }

    /// Takes no message until [`flow`](Self::flow), as a broker that is short of memory.
    pub fn stalling(inner: MemoryTransport) -> Self {
        let shim = Shim { inner, faults: Arc::default() };
        shim.stall();
        shim
    }

    /// Takes a while to settle anything.
    pub fn lagging(inner: MemoryTransport) -> Self {
        let faults = Faults { lags: true.into(), ..Faults::default() };
        Shim { inner, faults: Arc::new(faults) }
    }

    pub fn stall(&self) {
        self.faults.stalls.store(true, Ordering::Relaxed);
    }

    /// Takes the messages that are published from now on.
    pub fn flow(&self) {
        self.faults.stalls.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl Transport for Shim {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn display_url(&self) -> String {
        self.inner.display_url()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Error> {
        let inner = self.inner.connect().await?;
        Ok(Arc::new(ShimConnection { inner, faults: self.faults.clone() }))
    }
}

struct ShimConnection {
    inner: Arc<dyn Connection>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Connection for ShimConnection {
    async fn declare(&self, topology: &Topology) -> Result<(), Error> {
        self.inner.declare(topology).await
    }

    async fn publish(&self, address: &Address, message: Message) -> Result<Published, Error> {
        if self.faults.stalls.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.inner.publish(address, message).await
    }

    async fn open_session(&self, prefetch: Prefetch) -> Result<(Arc<dyn Session>, Inbox), Error> {
        let (inner, inbox) = self.inner.open_session(prefetch).await?;
        Ok((Arc::new(ShimSession { inner, faults: self.faults.clone() }), inbox))
    }

    async fn queue_len(&self, queue: &str) -> Result<u64, Error> {
        self.inner.queue_len(queue).await
    }

    async fn purge(&self, queue: &str) -> Result<u64, Error> {
        self.inner.purge(queue).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        self.inner.delete_queue(queue).await
    }

    async fn bindings(&self) -> Result<Vec<Binding>, Error> {
        self.inner.bindings().await
    }

    async fn closed(&self) -> Error {
        self.inner.closed().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct ShimSession {
    inner: Arc<dyn Session>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Session for ShimSession {
    async fn subscribe(&self, subscription: &Subscription) -> Result<(), Error> {
        if self.faults.forgets.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        self.inner.subscribe(subscription).await
    }

    async fn unsubscribe(&self, queue: &str) -> Result<(), Error> {
        self.inner.unsubscribe(queue).await
    }

    async fn set_prefetch(&self, prefetch: Prefetch) -> Result<(), Error> {
        self.inner.set_prefetch(prefetch).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), Error> {
        if self.faults.lags.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.inner.settle(settlements).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
