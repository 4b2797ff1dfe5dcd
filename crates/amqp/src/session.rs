use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicNackArguments, BasicQosArguments,
    BasicRejectArguments, Channel, ConsumerMessage,
};
use amqprs::connection::Connection as Client;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use celeriac_broker::{Delivery, Error, Event, Inbox, Prefetch, Session, Settlement, Subscription};
use tokio::sync::{Mutex, mpsc, watch};

use crate::connection::{Reason, closed_channel, lost};
use crate::convert;
use crate::io::{self, OnIo};

/// How many deliveries are taken from the client library at once.
const BATCH: usize = 256;

/// One channel that consumes.
pub(crate) struct AmqpSession(Arc<Inner>);

struct Inner {
    channel: Mutex<Option<OnIo<Channel>>>,
    reason: Reason,
    /// The inbox ends with the session: its other senders are the channel's.
    events: std::sync::Mutex<Option<mpsc::UnboundedSender<Event>>>,
    consumers: Consumers,
    /// Held while consumers or the prefetch count change.
    prefetch: Mutex<Prefetch>,
    next_tag: AtomicU64,
}

/// By queue, what it was consumed with and its consumer tag.
#[derive(Clone, Default)]
struct Consumers(Arc<std::sync::Mutex<HashMap<String, (Subscription, String)>>>);

impl Consumers {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Subscription, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AmqpSession {
    pub(crate) async fn open(
        client: Client,
        mut fate: watch::Receiver<Option<Error>>,
        prefetch: Prefetch,
    ) -> Result<(Self, Inbox), Error> {
        let (events, inbox) = mpsc::unbounded_channel();
        let (reason, sender) = (Reason::default(), events.clone());
        let (known, consumers) = (reason.clone(), Consumers::default());
        let consuming = consumers.clone();
        let channel = io::run(async move {
            let channel = client.open_channel(None).await.map_err(lost)?;
            channel
                .register_callback(Watch { reason: known, events: sender, consuming })
                .await
                .map_err(lost)?;
            Ok(channel)
        })
        .await?;
        let watched = events.downgrade();
        io::spawn(async move {
            let error = fate.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
            if let (Some(error), Some(events)) = (error, watched.upgrade()) {
                let _ = events.send(Event::Lost(error));
            }
        });
        let inner = Inner {
            channel: Mutex::new(Some(OnIo::new(channel))),
            reason,
            events: std::sync::Mutex::new(Some(events)),
            consumers,
            prefetch: Mutex::new(prefetch),
            next_tag: AtomicU64::new(1),
        };
        let session = AmqpSession(Arc::new(inner));
        let inner = session.0.clone();
        io::run(async move { inner.qos(prefetch).await }).await?;
        Ok((session, inbox))
    }
}

impl Inner {
    async fn qos(&self, prefetch: Prefetch) -> Result<(), Error> {
        let (count, whole_channel) = match prefetch {
            Prefetch::Unlimited => (0, true),
            Prefetch::Session(count) => (count, true),
            // RabbitMQ's meaning of `global = false`: for each consumer that follows.
            Prefetch::Queue(count) => (count, false),
            Prefetch::Nothing => {
                return Err(Error::Unsupported { transport: "amqp", what: "a prefetch count of nothing" });
            }
        };
        let slot = self.channel.lock().await;
        let channel = open(&slot)?;
        let arguments = BasicQosArguments::new(0, count, whole_channel);
        channel.basic_qos(arguments).await.map_err(|error| self.reason.or(error))
    }

    async fn consume(&self, subscription: &Subscription) -> Result<(), Error> {
        let tag = format!("celeriac-{}", self.next_tag.fetch_add(1, Ordering::Relaxed));
        let mut arguments = BasicConsumeArguments::new(&subscription.queue, &tag);
        arguments.exclusive(subscription.exclusive).auto_ack(subscription.no_ack);
        arguments.arguments(convert::consumer_arguments(subscription)?);
        let slot = self.channel.lock().await;
        let channel = open(&slot)?;
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let events = events.ok_or_else(|| Error::Lost("the session was closed".to_owned()))?;
        let started = channel.basic_consume_rx(arguments).await;
        let (tag, deliveries) = started.map_err(|error| self.reason.or(error))?;
        self.consumers.lock().insert(subscription.queue.clone(), (subscription.clone(), tag));
        io::spawn(forward(deliveries, subscription.queue.as_str().into(), events));
        Ok(())
    }

    async fn cancel(&self, tag: &str) -> Result<(), Error> {
        let slot = self.channel.lock().await;
        let cancelled = open(&slot)?.basic_cancel(BasicCancelArguments::new(tag)).await;
        cancelled.map(drop).map_err(|error| self.reason.or(error))
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<(), Error> {
        convert::short("the queue's name", &subscription.queue)?;
        let _changing = self.prefetch.lock().await;
        if self.consumers.lock().contains_key(&subscription.queue) {
            return Ok(());
        }
        self.consume(subscription).await
    }

    async fn unsubscribe(&self, queue: &str) -> Result<(), Error> {
        let _changing = self.prefetch.lock().await;
        let known = self.consumers.lock().remove(queue);
        match known {
            Some((_, tag)) => self.cancel(&tag).await,
            None => Ok(()),
        }
    }

    async fn set_prefetch(&self, prefetch: Prefetch) -> Result<(), Error> {
        let mut current = self.prefetch.lock().await;
        if *current == prefetch {
            return Ok(());
        }
        if ![*current, prefetch].iter().any(|kind| matches!(kind, Prefetch::Queue(_))) {
            self.qos(prefetch).await?;
            *current = prefetch;
            return Ok(());
        }
        // A consumer keeps the count that it started with: start each anew. The count of each must not hold beside the
        // channel's, and quorum queues refuse a channel that has one.
        let consumers: Vec<_> = self.consumers.lock().values().cloned().collect();
        let is_session = matches!(*current, Prefetch::Session(_));
        // A queue may go with its last consumer, so the old one stays until the new one is there; but not where the channel
        // has a count, since the two would get more than the new count says, nor of a stream, which each would read.
        let (first, then): (Vec<_>, Vec<_>) = consumers.iter().partition(|(subscription, _)| {
            is_session || subscription.exclusive || subscription.offset.is_some()
        });
        for (_, tag) in first {
            self.cancel(tag).await?;
        }
        match (*current, prefetch) {
            (Prefetch::Session(_), _) => self.qos(Prefetch::Unlimited).await?,
            (_, Prefetch::Queue(_)) => {}
            _ => self.qos(Prefetch::Queue(0)).await?,
        }
        self.qos(prefetch).await?;
        *current = prefetch;
        for (subscription, _) in &consumers {
            // It was consumed a moment ago: whatever is wrong now, a connection that begins anew sees to it.
            self.consume(subscription).await.map_err(|error| Error::Lost(error.to_string()))?;
        }
        for (_, tag) in then {
            self.cancel(tag).await?;
        }
        Ok(())
    }
}

fn open(slot: &Option<OnIo<Channel>>) -> Result<&Channel, Error> {
    slot.as_deref().ok_or_else(|| Error::Lost("the session was closed".to_owned()))
}

async fn forward(
    mut deliveries: mpsc::UnboundedReceiver<ConsumerMessage>,
    queue: Arc<str>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while deliveries.recv_many(&mut batch, BATCH).await > 0 {
        for message in batch.drain(..) {
            // The library always fills these three; what is not whole cannot be settled either.
            let (Some(deliver), Some(properties)) = (message.deliver, message.basic_properties) else {
                continue;
            };
            let delivery = Delivery {
                tag: deliver.delivery_tag(),
                redelivered: deliver.redelivered(),
                exchange: deliver.exchange().clone(),
                routing_key: deliver.routing_key().clone(),
                queue: queue.clone(),
                message: convert::message(&properties, message.content.unwrap_or_default()),
            };
            if events.send(Event::Delivery(delivery)).is_err() {
                return;
            }
        }
    }
}

#[async_trait]
impl Session for AmqpSession {
    async fn subscribe(&self, subscription: &Subscription) -> Result<(), Error> {
        let subscription = subscription.clone();
        let inner = self.0.clone();
        io::run(async move { inner.subscribe(&subscription).await }).await
    }

    async fn unsubscribe(&self, queue: &str) -> Result<(), Error> {
        let queue = queue.to_owned();
        let inner = self.0.clone();
        io::run(async move { inner.unsubscribe(&queue).await }).await
    }

    async fn set_prefetch(&self, prefetch: Prefetch) -> Result<(), Error> {
        let inner = self.0.clone();
        io::run(async move { inner.set_prefetch(prefetch).await }).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), Error> {
        let slot = self.0.channel.lock().await;
        let channel = open(&slot)?;
        for settlement in settlements {
            match *settlement {
                // There are no places to keep: the caller must not ask for them.
                Settlement::Ack(tag) | Settlement::Keep(tag) => {
                    channel.basic_ack(BasicAckArguments::new(tag, false)).await
                }
                Settlement::AckThrough(tag) => channel.basic_ack(BasicAckArguments::new(tag, true)).await,
                Settlement::Requeue(tag) => {
                    channel.basic_nack(BasicNackArguments::new(tag, false, true)).await
                }
                Settlement::Reject(tag) => channel.basic_reject(BasicRejectArguments::new(tag, false)).await,
            }
            .map_err(|error| self.0.reason.or(error))?;
        }
        Ok(())
    }

    async fn close(&self) {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(channel) = self.0.channel.lock().await.take().and_then(OnIo::into_inner) {
            let closing = io::run(async move { channel.close().await.map_err(lost) });
            let _ = tokio::time::timeout(std::time::Duration::from_secs(5), closing).await;
        }
    }
}

/// Passes on what the broker says of the channel.
struct Watch {
    reason: Reason,
    events: mpsc::UnboundedSender<Event>,
    consuming: Consumers,
}

#[async_trait]
impl ChannelCallback for Watch {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        // For an open session any reason is a loss: an acknowledgement that took too long is a 406 too.
        let _ = self.events.send(Event::Lost(Error::Lost(close.reply_text().clone())));
        self.reason.set(closed_channel(close));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Result<(), amqprs::error::Error> {
        let gone = self.consuming.lock().extract_if(|_, (_, tag)| tag == cancel.consumer_tag()).next();
        if let Some((queue, _)) = gone {
            let _ = self.events.send(Event::Cancelled { queue });
        }
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
