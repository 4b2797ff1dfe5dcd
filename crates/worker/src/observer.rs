//! Who hears of what the worker itself does, as Celery's signals tell it.

use async_trait::async_trait;
use celeriac_protocol::Message;

use crate::request::{Facts, Origin};

/// Is told as things happen. The worker waits for it, so that one that is slow slows down the worker, and no queue
/// between the two grows.
#[async_trait]
pub trait Observer: Send + Sync {
    /// Every step runs, at first or again after a loss of the broker.
    async fn ready(&self);

    /// A heartbeat is about to be sent, `worker-online` and `worker-offline` among them.
    async fn heartbeat(&self);

    /// A task was received that is not revoked.
    async fn received(&self, facts: &Facts);

    /// Whether it wants to hear of messages that are rejected: only then they are kept for it.
    fn minds_rejected(&self) -> bool;

    /// A message was rejected: it is no task, or an invalid one for this reason.
    async fn rejected(&self, message: Message, origin: &Origin, reason: Option<String>);
}
