use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{
    Channel, ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments, QueueDeleteArguments,
    QueuePurgeArguments,
};
use amqprs::connection::{Connection as Client, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use async_trait::async_trait;
use celeriac_broker::{
    Address, Binding, Connection, Error, ExchangeKind, Inbox, Prefetch, Published, Session, Topology,
};
use celeriac_protocol::Message;
use tokio::sync::watch;

use crate::convert;
use crate::io::{self, OnIo};
use crate::publisher::Publisher;
use crate::session::AmqpSession;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the client library says when something is gone; the reason proper comes by the callbacks.
pub(crate) fn lost(error: amqprs::error::Error) -> Error {
    Error::Lost(error.to_string())
}

/// The broker's reason for closing a channel (AMQP 0-9-1, reply codes).
pub(crate) fn closed_channel(close: CloseChannel) -> Error {
    let reason = close.reply_text().clone();
    match close.reply_code() {
        404 => Error::NotFound(reason),
        406 => Error::Precondition(reason),
        403 | 405 => Error::AccessRefused { broker: "this queue or exchange".to_owned(), reason },
        _ => Error::Lost(reason),
    }
}

/// Where a callback leaves the broker's reason, for whoever's call failed by it.
#[derive(Clone, Default)]
pub(crate) struct Reason(Arc<Mutex<Option<Error>>>);

impl Reason {
    pub(crate) fn set(&self, error: Error) {
        lock(&self.0).get_or_insert(error);
    }

    pub(crate) fn or(&self, error: amqprs::error::Error) -> Error {
        let known = lock(&self.0).clone();
        known.unwrap_or_else(|| lost(error))
    }
}

/// How long a channel that has declared something waits for more of it.
const SPARE: Duration = Duration::from_secs(10);

pub(crate) struct AmqpConnection(Arc<Inner>);

struct Inner {
    client: Client,
    /// A channel that waits to be used again: who starts declares a lot, and to open one is dear for the broker.
    spare: Arc<Mutex<Option<Scratch>>>,
    publisher: tokio::sync::Mutex<Option<Arc<Publisher>>>,
    fate: watch::Receiver<Option<Error>>,
    end: watch::Sender<Option<Error>>,
}

impl AmqpConnection {
    /// Opens a connection; runs on the I/O thread.
    pub(crate) async fn open(arguments: OpenConnectionArguments) -> Result<Self, amqprs::error::Error> {
        let client = Client::open(&arguments).await?;
        let reason = Reason::default();
        client.register_callback(Watch(reason.clone())).await?;
        let (end, fate) = watch::channel(None);
        let (watched, ended) = (client.clone(), end.clone());
        io::spawn(async move {
            // The library tells of the end only those who listen at that moment, after it is open no more: who listens
            // first and looks then misses none, and needs no clock.
            let mut ending = pin!(watched.listen_network_io_failure());
            let has_ended = poll_fn(|context| Poll::Ready(ending.as_mut().poll(context).is_ready())).await;
            if !has_ended && watched.is_open() {
                ending.await;
            }
            let cause = "the broker closed the connection or does not answer".to_owned();
            let error = reason.or(amqprs::error::Error::NetworkError(cause));
            ended.send_if_modified(|fate| fate.is_none() && fate.replace(error).is_none());
        });
        let (spare, publisher) = Default::default();
        Ok(AmqpConnection(Arc::new(Inner { client, spare, publisher, fate, end })))
    }
}

impl Inner {
    async fn publisher(&self) -> Result<Arc<Publisher>, Error> {
        let mut slot = self.publisher.lock().await;
        if let Some(publisher) = slot.as_ref().filter(|publisher| !publisher.is_closed()) {
            return Ok(publisher.clone());
        }
        if let Some(error) = self.fate.borrow().clone() {
            return Err(error);
        }
        let publisher = Arc::new(Publisher::open(self.client.clone()).await?);
        let (watched, mut fate) = (Arc::downgrade(&publisher), self.fate.clone());
        io::spawn(async move {
            if let Ok(error) = fate.wait_for(Option::is_some).await.map(|fate| fate.clone())
                && let (Some(publisher), Some(error)) = (watched.upgrade(), error)
            {
                publisher.fail(error);
            }
        });
        *slot = Some(publisher.clone());
        Ok(publisher)
    }

    /// A channel for one operation: an error closes it, and nothing else.
    async fn scratch(&self) -> Result<Scratch, Error> {
        if let Some(error) = self.fate.borrow().clone() {
            return Err(error);
        }
        let spare = lock(&self.spare).take();
        if let Some(scratch) = spare.filter(|scratch| scratch.channel.is_open()) {
            return Ok(scratch);
        }
        let channel = self.client.open_channel(None).await.map_err(lost)?;
        let reason = Reason::default();
        channel.register_callback(Watch(reason.clone())).await.map_err(lost)?;
        Ok(Scratch { channel: OnIo::new(channel), reason })
    }

    /// Keeps a channel for a while after an operation that went well.
    fn keep(&self, scratch: Scratch) {
        let (id, spare) = (scratch.channel.channel_id(), self.spare.clone());
        // One that was kept before is closed as it is dropped.
        drop(lock(&spare).replace(scratch));
        io::spawn(async move {
            tokio::time::sleep(SPARE).await;
            let is_same = |scratch: &mut Scratch| scratch.channel.channel_id() == id;
            drop(lock(&spare).take_if(is_same));
        });
    }

    async fn declare(&self, topology: &Topology) -> Result<(), Error> {
        let scratch = self.scratch().await?;
        let channel = &scratch.channel;
        for exchange in topology.exchanges.iter().filter(|exchange| !exchange.name.is_empty()) {
            convert::short("the exchange's name", &exchange.name)?;
            let kind = match exchange.kind {
                ExchangeKind::Direct => "direct",
                ExchangeKind::Topic => "topic",
                ExchangeKind::Fanout => "fanout",
            };
            let mut arguments = ExchangeDeclareArguments::new(&exchange.name, kind);
            arguments.durable(exchange.durable).auto_delete(exchange.auto_delete);
            arguments.arguments(convert::exchange_arguments(&exchange.arguments)?);
            channel.exchange_declare(arguments).await.map_err(|error| scratch.reason.or(error))?;
        }
        for queue in &topology.queues {
            convert::short("the queue's name", &queue.name)?;
            let mut arguments = QueueDeclareArguments::new(&queue.name);
            arguments.durable(queue.durable).exclusive(queue.exclusive).auto_delete(queue.auto_delete);
            arguments.arguments(convert::queue_arguments(queue)?);
            channel.queue_declare(arguments).await.map_err(|error| scratch.reason.or(error))?;
        }
        for binding in topology.bindings.iter().filter(|binding| !binding.exchange.is_empty()) {
            convert::short("the binding's key", &binding.routing_key)?;
            let arguments = QueueBindArguments::new(&binding.queue, &binding.exchange, &binding.routing_key);
            channel.queue_bind(arguments).await.map_err(|error| scratch.reason.or(error))?;
        }
        self.keep(scratch);
        Ok(())
    }

    async fn queue_len(&self, queue: &str) -> Result<u64, Error> {
        convert::short("the queue's name", queue)?;
        let scratch = self.scratch().await?;
        let mut arguments = QueueDeclareArguments::new(queue);
        arguments.passive(true);
        let declared = scratch.channel.queue_declare(arguments).await;
        let (_, messages, _) = declared.map_err(|error| scratch.reason.or(error))?.unwrap_or_default();
        self.keep(scratch);
        Ok(messages.into())
    }

    async fn purge(&self, queue: &str) -> Result<u64, Error> {
        convert::short("the queue's name", queue)?;
        let scratch = self.scratch().await?;
        let purged = scratch.channel.queue_purge(QueuePurgeArguments::new(queue)).await;
        let messages = purged.map_err(|error| scratch.reason.or(error))?.unwrap_or_default();
        self.keep(scratch);
        Ok(messages.into())
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        convert::short("the queue's name", queue)?;
        let scratch = self.scratch().await?;
        let deleted = scratch.channel.queue_delete(QueueDeleteArguments::new(queue)).await;
        deleted.map_err(|error| scratch.reason.or(error))?;
        self.keep(scratch);
        Ok(())
    }
}

#[async_trait]
impl Connection for AmqpConnection {
    async fn declare(&self, topology: &Topology) -> Result<(), Error> {
        let topology = topology.clone();
        let inner = self.0.clone();
        io::run(async move { inner.declare(&topology).await }).await
    }

    async fn publish(&self, address: &Address, message: Message) -> Result<Published, Error> {
        self.0.publisher().await?.publish(address, message).await
    }

    async fn open_session(&self, prefetch: Prefetch) -> Result<(Arc<dyn Session>, Inbox), Error> {
        let (session, inbox) =
            AmqpSession::open(self.0.client.clone(), self.0.fate.clone(), prefetch).await?;
        Ok((Arc::new(session), inbox))
    }

    async fn queue_len(&self, queue: &str) -> Result<u64, Error> {
        let queue = queue.to_owned();
        let inner = self.0.clone();
        io::run(async move { inner.queue_len(&queue).await }).await
    }

    async fn purge(&self, queue: &str) -> Result<u64, Error> {
        let queue = queue.to_owned();
        let inner = self.0.clone();
        io::run(async move { inner.purge(&queue).await }).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        let queue = queue.to_owned();
        let inner = self.0.clone();
        io::run(async move { inner.delete_queue(&queue).await }).await
    }

    async fn bindings(&self) -> Result<Vec<Binding>, Error> {
        Err(Error::Unsupported { transport: "amqp", what: "list bindings" })
    }

    async fn closed(&self) -> Error {
        let mut fate = self.0.fate.clone();
        let known = fate.wait_for(Option::is_some).await.ok().and_then(|fate| fate.clone());
        known.unwrap_or_else(|| Error::Lost("the connection was closed".to_owned()))
    }

    async fn close(&self) {
        let closed = Error::Lost("the connection was closed".to_owned());
        if !self.0.end.send_if_modified(|fate| fate.is_none() && fate.replace(closed).is_none()) {
            return;
        }
        let client = self.0.client.clone();
        let closing = io::run(async move { client.close().await.map_err(lost) });
        // A broker that does not answer must not hold up a shutdown.
        let _ = tokio::time::timeout(Duration::from_secs(5), closing).await;
    }
}

impl Drop for AmqpConnection {
    fn drop(&mut self) {
        let client = self.0.client.clone();
        io::spawn(async move { drop(client.close().await) });
    }
}

/// A channel that lives as long as one operation.
struct Scratch {
    channel: OnIo<Channel>,
    reason: Reason,
}

/// Keeps the broker's reason for closing a connection or channel.
struct Watch(Reason);

#[async_trait]
impl ConnectionCallback for Watch {
    async fn close(&mut self, _: &Client, close: Close) -> Result<(), amqprs::error::Error> {
        self.0.set(Error::Lost(close.reply_text().clone()));
        Ok(())
    }

    async fn blocked(&mut self, _: &Client, reason: String) {
        tracing::warn!("the broker blocks publishing: {reason}");
    }

    async fn unblocked(&mut self, _: &Client) {
        tracing::info!("the broker takes messages again");
    }

    async fn secret_updated(&mut self, _: &Client) {}
}

#[async_trait]
impl ChannelCallback for Watch {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        self.0.set(closed_channel(close));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
