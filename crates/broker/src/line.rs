use std::sync::Arc;

use celeriac_protocol::Message;
use tokio::sync::Mutex;

use crate::{Address, Connection, Error, Published, Transport};

/// The connection that a program publishes by, shared by all that it sends: opened when first needed, and again
/// after a loss.
pub struct Line {
    transport: Arc<dyn Transport>,
    connection: Mutex<Option<Arc<dyn Connection>>>,
}

impl Line {
    /// A line to a broker; nothing is opened.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Line { transport, connection: Mutex::default() }
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
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let connection = self.transport.connect().await?;
        *slot = Some(connection.clone());
        Ok(connection)
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

    /// Forgets a connection that an outcome shows to be lost, unless another one is open already.
    pub async fn notice<T: Sync>(&self, connection: &Arc<dyn Connection>, outcome: &Result<T, Error>) {
        if !matches!(outcome, Err(Error::Lost(_))) {
            return;
        }
        let mut slot = self.connection.lock().await;
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            *slot = None;
        }
    }

    /// Closes the connection; whoever publishes later opens another.
    pub async fn close(&self) {
        let connection = self.connection.lock().await.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }
}
