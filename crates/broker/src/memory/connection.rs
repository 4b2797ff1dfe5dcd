use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::Message;
use tokio::sync::{mpsc, watch};

use super::MemoryTransport;
use super::broker::{Broker, State};
use super::consumers::{SessionState, session_closed};
use crate::{
    Address, Binding, Connection, Error, Inbox, Prefetch, Published, Session, Settlement, Subscription,
    Topology, Transport,
};

/// A connection; dropping it closes it.
pub(super) struct MemoryConnection {
    broker: Arc<Broker>,
    id: u64,
    closed: watch::Receiver<Option<Error>>,
}

/// A session; dropping it closes it.
struct MemorySession {
    broker: Arc<Broker>,
    id: u64,
}

impl MemoryConnection {
    pub fn open(transport: &MemoryTransport) -> Result<Arc<dyn Connection>, Error> {
        let broker = transport.broker.clone();
        let (id, closed) = {
            let mut state = broker.lock();
            if state.down {
                let reason = "the broker is down".to_owned();
                return Err(Error::Connect { broker: transport.display_url(), reason });
            }
            state.connect()
        };
        tokio::spawn(broker.clone().keep_time(closed.clone()));
        Ok(Arc::new(MemoryConnection { broker, id, closed }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.broker.lock();
        state.check(self.id)?;
        act(&mut state)
    }

    fn disconnect(&self) {
        self.broker.lock().disconnect(self.id, Error::Lost("closed by this side".to_owned()), false);
    }
}

#[async_trait]
impl Connection for MemoryConnection {
    async fn declare(&self, topology: &Topology) -> Result<(), Error> {
        self.with(|state| state.declare(self.id, topology))
    }

    async fn publish(&self, address: &Address, message: Message) -> Result<Published, Error> {
        self.with(|state| state.publish(address, message))
    }

    async fn open_session(&self, prefetch: Prefetch) -> Result<(Arc<dyn Session>, Inbox), Error> {
        let (sender, inbox) = mpsc::unbounded_channel();
        let id = self.with(|state| {
            let id = state.next_id();
            state.sessions.insert(id, SessionState::new(self.id, prefetch, sender));
            Ok(id)
        })?;
        Ok((Arc::new(MemorySession { broker: self.broker.clone(), id }), inbox))
    }

    async fn queue_len(&self, queue: &str) -> Result<u64, Error> {
        self.with(|state| match state.queues.get(queue) {
            Some(found) => Ok(found.len() as u64),
            None => Err(Error::NotFound(format!("queue {queue}"))),
        })
    }

    async fn purge(&self, queue: &str) -> Result<u64, Error> {
        self.with(|state| match state.queues.get_mut(queue) {
            Some(found) => Ok(found.purge() as u64),
            None => Err(Error::NotFound(format!("queue {queue}"))),
        })
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        self.with(|state| {
            state.delete_queue(queue);
            Ok(())
        })
    }

    async fn bindings(&self) -> Result<Vec<Binding>, Error> {
        self.with(|state| Ok(state.bindings()))
    }

    async fn closed(&self) -> Error {
        let mut closed = self.closed.clone();
        match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_else(session_closed),
            Err(_) => session_closed(),
        }
    }

    async fn close(&self) {
        self.disconnect();
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.disconnect();
    }
}

#[async_trait]
impl Session for MemorySession {
    async fn subscribe(&self, subscription: &Subscription) -> Result<(), Error> {
        self.broker.lock().subscribe(self.id, subscription)
    }

    async fn unsubscribe(&self, queue: &str) -> Result<(), Error> {
        self.broker.lock().unsubscribe(self.id, queue)
    }

    async fn set_prefetch(&self, prefetch: Prefetch) -> Result<(), Error> {
        self.broker.lock().set_prefetch(self.id, prefetch)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), Error> {
        self.broker.lock().settle(self.id, settlements)
    }

    async fn close(&self) {
        self.broker.lock().close_session(self.id, None);
    }
}

impl Drop for MemorySession {
    fn drop(&mut self) {
        self.broker.lock().close_session(self.id, None);
    }
}
