//! Sending tasks.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Address, Line, Published, Topology};
use celeriac_protocol::codec::{Compression, Serializer};
use celeriac_protocol::{LamportClock, Message, TaskMessage};
use chrono::Utc;

use crate::backoff::Backoff;
use crate::call::{Call, CallOptions, Expires};
use crate::error::SendError;
use crate::pidbox::EventSettings;
use crate::queues::Queues;
use crate::sent;

/// What a producer needs to know.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// The queues that are known, and the one that calls go to by default.
    pub queues: Queues,
    /// `task_serializer`.
    pub serializer: Serializer,
    /// `task_compression`.
    pub compression: Option<Compression>,
    /// Who sends, `gen123@host`.
    pub origin: String,
    /// `task_publish_retry_policy`'s `max_retries`: how often a call that could not be sent is tried again.
    pub max_retries: u32,
    /// `task_default_priority`.
    pub priority: Option<u8>,
    /// How each call that was sent is told of, if it is (`task_send_sent_event`).
    pub sent_events: Option<EventSettings>,
}

/// Sends calls.
pub struct Producer {
    line: Arc<Line>,
    settings: ProducerSettings,
    clock: Arc<LamportClock>,
}

impl Producer {
    /// A producer that sends by this line.
    pub fn new(line: Arc<Line>, settings: ProducerSettings) -> Self {
        let capabilities = line.transport().capabilities();
        let sent_events = settings.sent_events.map(|events| events.suited(capabilities));
        let settings = ProducerSettings { sent_events, ..settings };
        Producer { line, settings, clock: Arc::default() }
    }

    /// What it sends by.
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// What it was made with.
    pub fn settings(&self) -> &ProducerSettings {
        &self.settings
    }

    /// The logical clock of the program that it sends for.
    pub fn clock(&self) -> &Arc<LamportClock> {
        &self.clock
    }

    /// Sends a call under an id; returns when the broker has taken it over.
    ///
    /// # Errors
    /// [`SendError::Encode`]: nothing was sent. [`SendError::Broker`]: after the retries, it may or may not have
    /// been sent.
    pub async fn send(&self, id: String, call: Call) -> Result<(), SendError> {
        let (message, route) = self.message(id, call)?;
        self.deliver(route, message).await
    }

    fn message(&self, id: String, mut call: Call) -> Result<(TaskMessage, Route), SendError> {
        let unknown = |kind: &str, name: &str| SendError::Encode(format!("{kind} {name:?} is not known"));
        let options = &mut call.options;
        let serializer = match options.serializer.take() {
            None => self.settings.serializer,
            Some(name) => Serializer::from_name(&name).ok_or_else(|| unknown("serializer", &name))?,
        };
        let compression = match options.compression.take() {
            None => self.settings.compression,
            Some(name) => Some(Compression::from_name(&name).ok_or_else(|| unknown("compression", &name))?),
        };
        let route = self.route(options);
        let (priority, reply_to) = (options.priority.or(self.settings.priority), options.reply_to.take());
        let now = Utc::now();
        let left = options.expires.map(|expires| match expires {
            Expires::After(time) => time,
            Expires::At(time) => (time - now).to_std().unwrap_or_default(),
        });
        let (headers, body) = call.into_parts(id, now, &self.settings.origin);
        let mut task = TaskMessage::new(headers, &body, serializer, compression)
            .map_err(|error| SendError::Encode(error.to_string()))?;
        task.properties.priority = priority;
        task.properties.reply_to = Some(reply_to.unwrap_or_default());
        // The broker drops it by itself where it can (`celery/app/amqp.py` passes `expires` as expiration).
        task.properties.expiration = left.and_then(expiration);
        Ok((task, route))
    }

    fn route(&self, options: &mut CallOptions) -> Route {
        if let Some(exchange) = options.exchange.take().filter(|exchange| !exchange.is_empty()) {
            let key = options.routing_key.take().unwrap_or_else(|| self.settings.queues.default.clone());
            return Route { address: Address::exchange(exchange, key), queue: None };
        }
        let name = options.queue.take().or_else(|| options.routing_key.take());
        let queue = self.settings.queues.queue(name.as_deref());
        Route { address: Address::queue(queue.name()), queue: Some(queue.topology()) }
    }

    /// Publishes a task message that exists already, where it came from or to a queue.
    pub(crate) async fn forward(&self, address: Address, task: TaskMessage) -> Result<(), SendError> {
        self.deliver(Route { address, queue: None }, task).await
    }

    async fn deliver(&self, route: Route, task: TaskMessage) -> Result<(), SendError> {
        let events = self.settings.sent_events.as_ref();
        let told = events.map(|events| (events, sent::fields(&task.headers, &route.address)));
        self.publish(&route, task.into_message()).await?;
        if let Some((events, fields)) = told {
            sent::publish(&self.line, events, &self.settings.origin, &self.clock, fields).await;
        }
        Ok(())
    }

    async fn publish(&self, route: &Route, message: Message) -> Result<(), SendError> {
        // kombu's default: at once, then after 0.2 s more each time.
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut tries = 0;
        loop {
            match self.attempt(route, message.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_recoverable() && tries < self.settings.max_retries => {
                    tracing::debug!("cannot send yet: {error}");
                    tries += 1;
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(error) => return Err(SendError::Broker(error)),
            }
        }
    }

    async fn attempt(&self, route: &Route, message: Message) -> Result<Published, celeriac_broker::Error> {
        match &route.queue {
            Some(queue) => self.line.publish_to(queue, &route.address, message).await,
            None => self.line.publish(&route.address, message).await,
        }
    }
}

/// A message's time to live. RabbitMQ refuses more than some 49 days; such a task is kept, and expires at the worker.
pub(crate) fn expiration(left: Duration) -> Option<String> {
    let millis = u32::try_from(left.as_millis()).ok()?;
    Some(millis.max(1).to_string())
}

/// Where a message goes, and what must exist before.
struct Route {
    address: Address,
    queue: Option<Topology>,
}
