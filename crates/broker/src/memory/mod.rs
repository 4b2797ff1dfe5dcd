//! A broker inside this process: for unit tests, and for programs whose client and worker are one.
//!
//! Nothing outlives the process. Everything else is as on RabbitMQ: exchanges, priorities, expiry, dead letters,
//! prefetch, redelivery. Time is tokio's, so a test that pauses it controls expiry.

mod broker;
mod connection;
mod consumers;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;

use self::broker::Broker;
use self::connection::MemoryConnection;
use crate::{Capabilities, Connection, Error, Transport};

/// The named brokers of this process; they live as long as it does.
static BROKERS: LazyLock<Mutex<HashMap<String, Arc<Broker>>>> = LazyLock::new(Mutex::default);

/// A broker in memory. Clones reach the same broker.
#[derive(Clone)]
pub struct MemoryTransport {
    name: String,
    broker: Arc<Broker>,
}

impl MemoryTransport {
    /// A new broker that only this transport and its clones reach.
    pub fn new() -> Self {
        MemoryTransport { name: String::new(), broker: Arc::default() }
    }

    /// The broker of that name in this process, for `memory://name`. The first caller creates it, and it is kept
    /// until the process ends.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let mut brokers = BROKERS.lock().unwrap_or_else(PoisonError::into_inner);
        let broker = brokers.entry(name.clone()).or_default().clone();
        MemoryTransport { name, broker }
    }

    /// Breaks every connection, as the loss of a broker does. Queues and messages stay, deliveries go back.
    pub fn sever(&self) {
        self.broker.lock().sever("the broker closed the connection");
    }

    /// Takes the broker down: every connection breaks and none can be made until [`resume`](Self::resume).
    pub fn halt(&self) {
        let mut state = self.broker.lock();
        state.down = true;
        state.sever("the broker went down");
    }

    /// Ends what [`halt`](Self::halt) began.
    pub fn resume(&self) {
        self.broker.lock().down = false;
    }
}

impl Default for MemoryTransport {
    fn default() -> Self {
        MemoryTransport::new()
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryTransport({})", self.display_url())
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn display_url(&self) -> String {
        format!("memory://{}", self.name)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            priorities: true,
            expiry: true,
            dead_letters: true,
            quorum_queues: false,
            streams: false,
            durable: false,
            fanout_queues: true,
            kept_places: true,
        }
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Error> {
        MemoryConnection::open(self)
    }
}
