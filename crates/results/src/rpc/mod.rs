//! The rpc store: results are replies to a queue of the caller (`celery/backends/rpc.py`).

mod consumer;
mod publisher;
mod replies;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use celeriac_broker::Line;
use celeriac_protocol::codec;
use celeriac_protocol::{Message, Properties, TaskMeta};
use uuid::Uuid;

use self::consumer::Consumer;
use self::replies::Replies;
use crate::watchers::{Notice, Watchers};
use crate::{Error, ReplyTo, ResultStore, Settings};

/// Results as messages. A result can be had by the caller alone, and only while it listens: its queue goes with
/// its connection, as Celery declares it.
///
/// A caller's store opens one connection to consume; a store that answers does so by the line that it is given.
pub struct RpcStore {
    settings: Arc<Settings>,
    queue: String,
    line: Arc<Line>,
    consumer: Consumer,
    replies: Arc<Replies>,
    watchers: Arc<Watchers>,
}

impl RpcStore {
    /// A store with a reply queue of its own. Nothing is opened before it is needed.
    pub fn new(line: Arc<Line>, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let queue = Uuid::new_v4().to_string();
        let (replies, watchers) = (Arc::new(Replies::default()), Watchers::new());
        let consumer = Consumer::new(consumer::Run {
            transport: Arc::clone(line.transport()),
            queue: queue.clone(),
            settings: Arc::clone(&settings),
            replies: Arc::clone(&replies),
            watchers: Arc::clone(&watchers),
            connection: Mutex::default(),
        });
        RpcStore { line, settings, queue, consumer, replies, watchers }
    }
}

#[async_trait]
impl ResultStore for RpcStore {
    fn name(&self) -> &'static str {
        "rpc"
    }

    fn display_url(&self) -> String {
        "rpc://".to_owned()
    }

    async fn store(&self, meta: &TaskMeta, reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        // Nobody asked to be told.
        let Some(reply_to) = reply_to.filter(|reply_to| !reply_to.queue.is_empty()) else { return Ok(()) };
        let body = codec::encode(&meta.to_reply(), self.settings.serializer, None)
            .map_err(|error| Error::Encode { id: meta.id.clone(), reason: error.to_string() })?;
        let correlation_id =
            if reply_to.correlation_id.is_empty() { &meta.id } else { &reply_to.correlation_id };
        let properties = Properties {
            content_type: Some(body.content_type),
            content_encoding: Some(body.content_encoding),
            delivery_mode: Some(if self.settings.persistent { 2 } else { 1 }),
            priority: Some(0),
            correlation_id: Some(correlation_id.clone()),
            ..Properties::default()
        };
        let message = Message { properties, body: body.data, ..Message::default() };
        publisher::publish(&self.line, &reply_to.queue, message).await
    }

    async fn expect(&self, id: &str) -> Result<(), Error> {
        self.replies.expect(id);
        self.consumer.ready().await
    }

    /// What has arrived; a task that nobody expected here is pending.
    async fn fetch(&self, id: &str) -> Result<TaskMeta, Error> {
        self.replies.fetch(id).unwrap_or_else(|| Ok(TaskMeta::pending(id)))
    }

    async fn wait(&self, id: &str) -> Result<TaskMeta, Error> {
        self.expect(id).await?;
        self.watchers.watch(id).ready(self).await
    }

    async fn forget(&self, id: &str) -> Result<(), Error> {
        self.replies.forget(id);
        Ok(())
    }

    fn reply_to(&self) -> Option<String> {
        Some(self.queue.clone())
    }

    async fn close(&self) {
        self.consumer.stop().await;
        self.watchers.notify_all(&Notice::Failed(closed()));
    }
}

fn closed() -> Error {
    unavailable("it was closed")
}

fn unavailable(reason: impl ToString) -> Error {
    Error::Unavailable { store: "rpc://".to_owned(), reason: reason.to_string() }
}
