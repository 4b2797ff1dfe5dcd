use std::collections::HashSet;
use std::sync::Arc;

use celeriac_protocol::Message;
use tokio::sync::Mutex;

use crate::{Address, Connection, Error, Published, Topology, Transport};

/// The connection that a program publishes by, shared by all that it sends: opened when first needed, and again
/// after a loss.
pub struct Line {
    transport: Arc<dyn Transport>,
    open: Mutex<Option<Open>>,
}

struct Open {
    connection: Arc<dyn Connection>,
    /// What was declared by this connection; what an earlier one declared may be gone.
    declared: HashSet<String>,
}

impl Line {
    /// A line to a broker; nothing is opened.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Line { transport, open: Mutex::default() }
    }

    /// The broker.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The connection, opened if there is none.
    ///
    /// # Errors
    /// Those of [`Transport::connect`].
    pub async fn connection(&self) -> Result<Arc<dyn Connection>, Error> {
        self.ready("").await.map(|(connection, _)| connection)
    }

    /// The connection, opened if there is none, and whether it has declared what is remembered by this name.
    async fn ready(&self, name: &str) -> Result<(Arc<dyn Connection>, bool), Error> {
        let mut slot = self.open.lock().await;
        if let Some(open) = &*slot {
            return Ok((open.connection.clone(), open.declared.contains(name)));
        }
        let connection = self.transport.connect().await?;
        *slot = Some(Open { connection: connection.clone(), declared: HashSet::new() });
        Ok((connection, false))
    }

    /// Publishes once. After a loss the next call opens another connection.
    ///
    /// # Errors
    /// Those of [`connection`](Self::connection) and [`Connection::publish`].
    pub async fn publish(&self, address: &Address, message: Message) -> Result<Published, Error> {
        let connection = self.connection().await?;
        let published = connection.publish(address, message).await;
        self.notice(&connection, &published).await;
        published
    }

    /// Publishes once what needs queues or exchanges, which are declared before, once for each connection.
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish) and [`Connection::declare`].
    pub async fn publish_to(
        &self,
        needs: &Topology,
        address: &Address,
        message: Message,
    ) -> Result<Published, Error> {
        let name = name(needs);
        let (connection, is_declared) = self.ready(name).await?;
        let published = async {
            if !is_declared {
                connection.declare(needs).await?;
                self.note_declared(&connection, name).await;
            }
            connection.publish(address, message).await
        }
        .await;
        self.notice(&connection, &published).await;
        published
    }

    /// Learns from an outcome: a connection that it shows to be lost is forgotten, unless another one is open
    /// already, and after any failure everything is declared again, since something may be gone.
    pub async fn notice<T: Sync>(&self, connection: &Arc<dyn Connection>, outcome: &Result<T, Error>) {
        let Err(error) = outcome else { return };
        let mut slot = self.open.lock().await;
        if let Some(open) = slot.as_mut().filter(|open| Arc::ptr_eq(&open.connection, connection)) {
            open.declared.clear();
            if matches!(error, Error::Lost(_)) {
                *slot = None;
            }
        }
    }

    /// Closes the connection; whoever publishes later opens another.
    pub async fn close(&self) {
        let open = self.open.lock().await.take();
        if let Some(open) = open {
            open.connection.close().await;
        }
    }

    async fn note_declared(&self, connection: &Arc<dyn Connection>, name: &str) {
        let mut slot = self.open.lock().await;
        if let Some(open) = slot.as_mut().filter(|open| Arc::ptr_eq(&open.connection, connection)) {
            open.declared.insert(name.to_owned());
        }
    }
}

/// What a topology is remembered by: its queue, or the exchange where there is no queue.
fn name(needs: &Topology) -> &str {
    let queue = needs.queues.first().map(|queue| queue.name.as_str());
    queue.or_else(|| needs.exchanges.first().map(|exchange| exchange.name.as_str())).unwrap_or_default()
}
