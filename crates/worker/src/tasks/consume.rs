//! Queues that begin to be consumed.

use celeriac_broker::{Connection, Error, QueueKind, Session, Subscription};

use crate::consumer::{Consumer, lock};
use crate::queues::TaskQueue;

/// Declares a queue and takes what comes from it.
pub(super) async fn consume(
    connection: &dyn Connection,
    session: &dyn Session,
    queue: &TaskQueue,
) -> Result<(), Error> {
    connection.declare(&queue.topology()).await?;
    session.subscribe(&Subscription::new(queue.name())).await
}

/// Quorum queues know no count for a whole session (`celery/worker/consumer/tasks.py`).
pub(super) fn needs_own_count(queue: &TaskQueue) -> bool {
    queue.queue.kind != QueueKind::Classic
}

/// Whether a consumer may be started anew, and its messages given back, without harm: a quorum queue counts how often they
/// come back, and of consumers in a row the next one would get the queue.
pub(super) fn is_plain(queue: &TaskQueue) -> bool {
    let is_single =
        queue.queue.arguments.get("x-single-active-consumer").is_some_and(|value| *value != false.into());
    !needs_own_count(queue) && !is_single
}

/// Whether each queue gets a count of its own. RabbitMQ takes much longer over a count for a session, which one queue
/// alone does not need as long as its count seldom changes.
pub(super) fn have_own_counts(queues: &[TaskQueue]) -> bool {
    queues.len() == 1 || queues.iter().any(needs_own_count)
}

/// Whether the worker was started to consume a queue: without it, it makes no sense.
pub(super) fn is_configured(consumer: &Consumer, queue: &TaskQueue) -> bool {
    consumer.settings.consumed().iter().any(|name| name == queue.name())
}

/// A queue that remote control added cannot be consumed: it must not take the others down.
pub(super) fn forget(consumer: &Consumer, queue: &TaskQueue, error: &Error) {
    tracing::error!("Cannot consume from {}: {error}", queue.name());
    lock(&consumer.queues).retain(|known| known.name() != queue.name());
}
