//! The connection that replies go out by.

use std::sync::Arc;

use celeriac_broker::{Address, Connection, Error as BrokerError, Transport};
use celeriac_protocol::Message;
use tokio::sync::Mutex;

use super::{closed, unavailable};
use crate::{Error, backoff};

pub(super) struct Publisher {
    transport: Arc<dyn Transport>,
    state: Mutex<State>,
}

enum State {
    Idle,
    Up(Arc<dyn Connection>),
    Closed,
}

impl Publisher {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Publisher { transport, state: Mutex::new(State::Idle) }
    }

    /// Sends a reply, again after a loss. A caller that has gone is no error.
    pub(super) async fn publish(&self, queue: &str, message: Message) -> Result<(), Error> {
        let address = Address::queue(queue);
        let mut retry = 0;
        loop {
            let error = match self.try_publish(&address, message.clone()).await? {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if retry >= backoff::MAX_RETRIES || !error.is_recoverable() {
                return Err(unavailable(error));
            }
            tokio::time::sleep(backoff::delay(retry)).await;
            retry += 1;
        }
    }

    async fn try_publish(
        &self,
        address: &Address,
        message: Message,
    ) -> Result<Result<(), BrokerError>, Error> {
        let connection = {
            let mut state = self.state.lock().await;
            match &*state {
                State::Up(connection) => Arc::clone(connection),
                State::Closed => return Err(closed()),
                State::Idle => match self.transport.connect().await {
                    Ok(connection) => {
                        *state = State::Up(Arc::clone(&connection));
                        connection
                    }
                    Err(error) => return Ok(Err(error)),
                },
            }
        };
        let published = connection.publish(address, message).await;
        if matches!(published, Err(BrokerError::Lost(_))) {
            let mut state = self.state.lock().await;
            if matches!(&*state, State::Up(current) if Arc::ptr_eq(current, &connection)) {
                *state = State::Idle;
            }
        }
        Ok(published.map(drop))
    }

    pub(super) async fn close(&self) {
        let state = std::mem::replace(&mut *self.state.lock().await, State::Closed);
        if let State::Up(connection) = state {
            connection.close().await;
        }
    }
}
