//! A transport between the worker and the one in memory, with faults that a real broker has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{
    Address, Binding, Capabilities, Connection, Error, Inbox, MemoryTransport, Prefetch, Published, Session,
    Settlement, Subscription, Topology, Transport,
};
use celeriac_protocol::Message;
use tokio::sync::watch;

/// A broker with a fault.
pub struct Shim {
    inner: MemoryTransport,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    forgets: AtomicBool,
    stalls: AtomicBool,
    lags: AtomicBool,
    is_busy: bool,
    holds: watch::Sender<bool>,
    refuses: Mutex<Option<Refused>>,
    dead: AtomicBool,
    connections: Mutex<Vec<Arc<dyn Connection>>>,
    keeps_no_places: bool,
    is_full: bool,
    seen: Mutex<Vec<String>>,
}

/// What nobody may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Declare the cluster's exchange.
    Declare,
    /// Publish on it.
    Publish,
    /// Have a queue for the events of others.
    Hear,
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

    /// Takes half a second to declare a queue, as one on which many start.
    pub fn busy(inner: MemoryTransport) -> Self {
        Shim { inner, faults: Arc::new(Faults { is_busy: true, ..Faults::default() }) }
    }

    /// Accepts no message, as a Redis that is full.
    pub fn full(inner: MemoryTransport) -> Self {
        Shim { inner, faults: Arc::new(Faults { is_full: true, ..Faults::default() }) }
    }

    /// Knows no kept places, as most brokers.
    pub fn plain(inner: MemoryTransport) -> Self {
        Shim { inner, faults: Arc::new(Faults { keeps_no_places: true, ..Faults::default() }) }
    }

    /// What was asked of it, each thing once, in the order of the first time.
    pub fn seen(&self) -> Vec<String> {
        self.faults.seen.lock().unwrap().clone()
    }

    pub fn stall(&self) {
        self.faults.stalls.store(true, Ordering::Relaxed);
    }

    /// A broker without a fault, so far.
    pub fn sound(inner: MemoryTransport) -> Self {
        Shim { inner, faults: Arc::default() }
    }

    /// Lets nobody use the cluster's exchange.
    pub fn refuse(&self, what: Refused) {
        *self.faults.refuses.lock().unwrap() = Some(what);
    }

    /// Takes no message until it is to [`release`](Self::release) those that wait.
    pub fn hold(&self) {
        self.faults.holds.send_replace(true);
    }

    pub fn release(&self) {
        self.faults.holds.send_replace(false);
    }

    /// The worker that uses it is gone, as by SIGKILL: nothing of it is heard any more.
    pub async fn kill(&self) {
        self.faults.dead.store(true, Ordering::Relaxed);
        let connections = std::mem::take(&mut *self.faults.connections.lock().unwrap());
        for connection in connections {
            connection.close().await;
        }
    }

    /// Takes the messages that are published from now on.
    pub fn flow(&self) {
        self.faults.stalls.store(false, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Shim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shim").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Faults {
    fn see(&self, what: String) {
        let mut seen = self.seen.lock().unwrap();
        if !seen.contains(&what) {
            seen.push(what);
        }
    }

    fn check(&self, what: Refused, name: &str) -> Result<(), Error> {
        let concerned = if what == Refused::Hear { "celeryev." } else { "celeriac.cluster." };
        if name.starts_with(concerned) && *self.refuses.lock().unwrap() == Some(what) {
            return Err(Error::AccessRefused { broker: "shim".to_owned(), reason: name.to_owned() });
        }
        Ok(())
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
        let inner = self.inner.capabilities();
        Capabilities { kept_places: inner.kept_places && !self.faults.keeps_no_places, ..inner }
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Error> {
        if self.faults.dead.load(Ordering::Relaxed) {
            return Err(Error::Connect { broker: "shim".to_owned(), reason: "dead".to_owned() });
        }
        let inner = self.inner.connect().await?;
        self.faults.see("connect".to_owned());
        self.faults.connections.lock().unwrap().push(inner.clone());
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
        for exchange in &topology.exchanges {
            self.faults.check(Refused::Declare, &exchange.name)?;
        }
        for queue in &topology.queues {
            self.faults.check(Refused::Hear, &queue.name)?;
        }
        if self.faults.is_busy && !topology.queues.is_empty() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.inner.declare(topology).await
    }

    async fn publish(&self, address: &Address, message: Message) -> Result<Published, Error> {
        if self.faults.stalls.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        if self.faults.is_full {
            return Err(Error::NotAccepted("full".to_owned()));
        }
        self.faults.check(Refused::Publish, &address.exchange)?;
        let mut holds = self.faults.holds.subscribe();
        let _ = holds.wait_for(|holds| !holds).await;
        self.faults.see(format!("publish {} {}", address.exchange, address.routing_key));
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
        self.faults.see(format!("consume {}", subscription.queue));
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
