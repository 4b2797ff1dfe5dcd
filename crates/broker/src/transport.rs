use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::Message;
use tokio::sync::mpsc;

use crate::{Binding, Error, Topology};

/// One broker, and how to reach it. Cheap to keep; nothing is opened before [`connect`](Transport::connect).
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// The transport's name, for example `amqp`.
    fn name(&self) -> &'static str;

    /// The broker's URL without its password, for people.
    fn display_url(&self) -> String;

    /// What this broker can do.
    fn capabilities(&self) -> Capabilities;

    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::Connect`] or [`Error::AccessRefused`].
    async fn connect(&self) -> Result<Arc<dyn Connection>, Error>;
}

/// What a broker can do. A gap is logged where it matters, never silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Queues may order messages by priority.
    pub priorities: bool,
    /// Messages and queues may expire.
    pub expiry: bool,
    /// Rejected messages may go to a dead-letter exchange.
    pub dead_letters: bool,
    /// Replicated queues.
    pub quorum_queues: bool,
    /// Queues that keep what was read, for others to read from an [`Offset`] on.
    pub streams: bool,
    /// What is kept survives the end of every process that uses it.
    pub durable: bool,
    /// A fanout exchange fills the queues that are bound to it, whatever the keys. Without, it reaches only those who
    /// consume at that moment, and binding keys are patterns as a topic exchange's: Celery's events go by such ones then.
    pub fanout_queues: bool,
    /// [`Settlement::Keep`] and [`Prefetch::Nothing`] are known.
    pub kept_places: bool,
}

/// An open connection.
///
/// Every method may be called from several tasks at once. After a loss each call fails with [`Error::Lost`]; a new
/// connection must be opened and everything declared anew.
#[async_trait]
pub trait Connection: Send + Sync {
    /// Declares what is missing: exchanges, queues, bindings, in that order. What exists alike is left alone.
    ///
    /// # Errors
    /// [`Error::Precondition`] when something exists with other arguments, [`Error::AccessRefused`] when it may not be
    /// declared or is exclusive elsewhere, [`Error::Lost`].
    async fn declare(&self, topology: &Topology) -> Result<(), Error>;

    /// Publishes a message and waits until the broker has taken it over (a confirm, a commit). Calls that are
    /// awaited together travel together; those that one task makes in turn arrive in that order.
    ///
    /// # Errors
    /// [`Error::Lost`]: it may or may not have arrived. [`Error::NotAccepted`], [`Error::Storage`]: it did not.
    /// [`Error::NotFound`]: there is no such exchange. [`Error::AccessRefused`]: it may not be written to. Messages that
    /// are under way beside such a one may be told as a loss.
    async fn publish(&self, address: &Address, message: Message) -> Result<Published, Error>;

    /// Opens a session that consumes. Its deliveries come out of the inbox, at most `prefetch` of them unsettled.
    ///
    /// # Errors
    /// [`Error::Lost`].
    async fn open_session(&self, prefetch: Prefetch) -> Result<(Arc<dyn Session>, Inbox), Error>;

    /// How many messages wait in a queue, those not counted that somebody holds unsettled.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Lost`].
    async fn queue_len(&self, queue: &str) -> Result<u64, Error>;

    /// Deletes the messages that wait in a queue and returns how many there were.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Lost`].
    async fn purge(&self, queue: &str) -> Result<u64, Error>;

    /// Deletes a queue with its messages and bindings; one that does not exist is no error.
    ///
    /// # Errors
    /// [`Error::Lost`].
    async fn delete_queue(&self, queue: &str) -> Result<(), Error>;

    /// Every binding that the broker has.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the broker cannot list them, [`Error::Lost`].
    async fn bindings(&self) -> Result<Vec<Binding>, Error>;

    /// Waits until the connection is lost or closed, and tells why.
    async fn closed(&self) -> Error;

    /// Closes the connection and its sessions; what they hold unsettled goes back to the queues. Idempotent.
    async fn close(&self);
}

/// A consumer of one or more queues.
///
/// Tags count up from 1 in the order of the deliveries, whatever queue they came from.
#[async_trait]
pub trait Session: Send + Sync {
    /// Starts to consume a queue. Subscribing to a queue twice changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::AccessRefused`] (exclusive elsewhere), [`Error::Unsupported`] (an offset, of a
    /// broker without streams), [`Error::Lost`].
    async fn subscribe(&self, subscription: &Subscription) -> Result<(), Error>;

    /// Stops consuming a queue; what was delivered from it stays ours to settle, and a few deliveries that were
    /// under way may still come.
    ///
    /// # Errors
    /// [`Error::Lost`].
    async fn unsubscribe(&self, queue: &str) -> Result<(), Error>;

    /// Changes how many deliveries may be unsettled.
    ///
    /// # Errors
    /// [`Error::Lost`].
    async fn set_prefetch(&self, prefetch: Prefetch) -> Result<(), Error>;

    /// Settles deliveries, in order. They go to the broker together. To settle one twice, or one that never came,
    /// is the caller's mistake, for which a broker may end the session or its connection.
    ///
    /// # Errors
    /// [`Error::Lost`]: what did not arrive is delivered again, to whoever consumes then.
    async fn settle(&self, settlements: &[Settlement]) -> Result<(), Error>;

    /// Stops consuming; what is unsettled goes back to its queues. Idempotent.
    async fn close(&self);
}

/// Where a session's deliveries come out. It is bounded by the prefetch count, and ends when the session does.
pub type Inbox = mpsc::UnboundedReceiver<Event>;

/// What comes out of an inbox.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all events are deliveries")]
pub enum Event {
    /// A message.
    Delivery(Delivery),
    /// The broker ended the consumption of a queue (it was deleted, or its node went away).
    Cancelled {
        /// The queue.
        queue: String,
    },
    /// The session was lost; nothing follows.
    Lost(Error),
}

/// A message that the broker waits to hear about.
#[derive(Debug)]
pub struct Delivery {
    /// What to settle it by; counts up from 1 in a session.
    pub tag: u64,
    /// Whether it was delivered to somebody before.
    pub redelivered: bool,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// The queue that it came from.
    pub queue: Arc<str>,
    /// The message.
    pub message: Message,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done: this one.
    Ack(u64),
    /// Done: this one and every unsettled one with a lower tag in the session.
    AckThrough(u64),
    /// Done: this one; but it is counted among the unsettled until it is settled once more, by whatever. Only where
    /// [`kept_places`](Capabilities::kept_places) says so.
    Keep(u64),
    /// Back to the queue.
    Requeue(u64),
    /// To the dead-letter exchange if there is one, else gone.
    Reject(u64),
}

/// How many deliveries may be unsettled at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefetch {
    /// No limit.
    Unlimited,
    /// That many in the whole session, over all its queues; 0 is no limit, as in AMQP.
    Session(u16),
    /// That many for each queue (the only kind that quorum queues know); 0 is no limit.
    Queue(u16),
    /// None for the time being, but what is consumed without acknowledgements. Only where
    /// [`kept_places`](Capabilities::kept_places) says so, else [`Error::Unsupported`].
    Nothing,
}

impl Prefetch {
    /// How many more deliveries of a queue fit, where so many are unsettled in the session and of that queue.
    pub fn room(self, held: usize, held_of_queue: usize) -> usize {
        match self {
            Prefetch::Unlimited | Prefetch::Session(0) | Prefetch::Queue(0) => usize::MAX,
            Prefetch::Session(limit) => usize::from(limit).saturating_sub(held),
            Prefetch::Queue(limit) => usize::from(limit).saturating_sub(held_of_queue),
            Prefetch::Nothing => 0,
        }
    }
}

/// How a session consumes a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The queue.
    pub queue: String,
    /// Nobody else may consume it.
    pub exclusive: bool,
    /// The broker forgets a message as it delivers it: nothing is to be settled.
    pub no_ack: bool,
    /// Where to start in a [stream](crate::QueueKind::Stream), which is consumed in a session with a prefetch count and
    /// with settlements, else the broker refuses; other queues have none.
    pub offset: Option<Offset>,
}

/// Where the consumption of a stream starts. Messages lie in chunks there, of which only whole ones are read: a few that
/// are older may come first, after [`Last`](Offset::Last) and [`Ago`](Offset::Ago).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    /// At the oldest message that is kept.
    First,
    /// At the newest chunk.
    Last,
    /// At what is published from now on.
    Next,
    /// At what was published so long ago, in whole seconds, rounded up.
    Ago(Duration),
}

impl Subscription {
    /// Shared, with settlements, of a queue that is no stream.
    pub fn new(queue: impl Into<String>) -> Self {
        Subscription { queue: queue.into(), exclusive: false, no_ack: false, offset: None }
    }
}

/// Where a message is to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Address {
    /// The exchange; the default exchange, with an empty name, takes the routing key as a queue's name.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Tell when no queue took it.
    pub mandatory: bool,
}

impl Address {
    /// Straight to a queue, by the default exchange.
    pub fn queue(name: impl Into<String>) -> Self {
        Address { exchange: String::new(), routing_key: name.into(), mandatory: false }
    }

    /// By an exchange.
    pub fn exchange(exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        Address { exchange: exchange.into(), routing_key: routing_key.into(), mandatory: false }
    }

    /// The same, but told when no queue took it.
    pub fn mandatory(self) -> Self {
        Address { mandatory: true, ..self }
    }
}

/// What became of a message that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The broker took it over.
    Accepted,
    /// It was `mandatory`, and no queue took it.
    Returned,
}
