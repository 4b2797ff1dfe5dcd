//! A session: a task of its own that takes messages, settles and renews, one script at a time. What several callers ask
//! for meanwhile goes with the next one.

mod driver;
mod state;
mod turn;

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::{Error, Inbox, Prefetch, Session, Settlement, Subscription};
use tokio::sync::{mpsc, oneshot};

use self::driver::{Driver, Order};
use crate::hub::Hub;

/// The handle; when it is dropped the session closes.
pub(crate) struct RedisSession {
    orders: mpsc::UnboundedSender<Order>,
    hub: Arc<Hub>,
}

impl RedisSession {
    pub fn open(hub: &Arc<Hub>, prefetch: Prefetch) -> (Self, Inbox) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let (orders, waiting) = mpsc::unbounded_channel();
        hub.io.spawn(Driver::new(hub.clone(), prefetch, sender).run(waiting));
        (RedisSession { orders, hub: hub.clone() }, inbox)
    }

    /// Asks for something and waits for the answer; who gives up waiting does not stop it.
    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Order,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.orders.send(order(reply)).is_ok();
        let answer = if sent { answer.await.ok() } else { None };
        let closed = || Err(Error::Lost("the session is closed".to_owned()));
        answer.unwrap_or_else(|| self.hub.check().map_or_else(Err, |()| closed()))
    }
}

#[async_trait]
impl Session for RedisSession {
    async fn subscribe(&self, subscription: &Subscription) -> Result<(), Error> {
        if subscription.offset.is_some() {
            return Err(Error::Unsupported { transport: "redis", what: "read from an offset" });
        }
        self.order(|reply| Order::Subscribe(subscription.clone(), reply)).await
    }

    async fn unsubscribe(&self, queue: &str) -> Result<(), Error> {
        self.order(|reply| Order::Unsubscribe(queue.to_owned(), reply)).await
    }

    async fn set_prefetch(&self, prefetch: Prefetch) -> Result<(), Error> {
        self.order(|reply| Order::Prefetch(prefetch, reply)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), Error> {
        self.order(|reply| Order::Settle(settlements.to_vec(), reply)).await
    }

    async fn close(&self) {
        let _ = self.order(Order::Close).await;
    }
}
