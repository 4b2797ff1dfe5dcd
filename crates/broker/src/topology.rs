use std::time::Duration;

use celeriac_protocol::Map;

/// Queues, exchanges and bindings that a program needs, as data: declared at start and again after every loss.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Topology {
    /// Declared first.
    pub exchanges: Vec<Exchange>,
    /// Declared second.
    pub queues: Vec<Queue>,
    /// Made last.
    pub bindings: Vec<Binding>,
}

/// How an exchange chooses queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExchangeKind {
    /// The routing key equals the binding key.
    #[default]
    Direct,
    /// The routing key matches the binding's pattern of words, `*` (one word) and `#` (any number).
    Topic,
    /// Every bound queue.
    Fanout,
}

/// An exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Its name; the empty name is the default exchange, which is never declared.
    pub name: String,
    /// How it chooses queues.
    pub kind: ExchangeKind,
    /// Whether it outlives the broker.
    pub durable: bool,
    /// Whether it goes when its last binding goes.
    pub auto_delete: bool,
    /// Further arguments, as the broker names them.
    pub arguments: Map,
}

/// How a queue keeps its messages (RabbitMQ's `x-queue-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueueKind {
    /// The broker's own kind.
    #[default]
    Classic,
    /// Replicated by consensus; prefetch is counted for each consumer.
    Quorum,
    /// An append-only log.
    Stream,
}

/// A queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// How it keeps its messages.
    pub kind: QueueKind,
    /// Whether it outlives the broker.
    pub durable: bool,
    /// Whether only the declaring connection may use it; it goes with that connection.
    pub exclusive: bool,
    /// Whether it goes when its last consumer goes.
    pub auto_delete: bool,
    /// The highest priority that it keeps apart (`x-max-priority`).
    pub max_priority: Option<u8>,
    /// How long it may be unused before it goes (`x-expires`).
    pub expires: Option<Duration>,
    /// How long a message may wait (`x-message-ttl`).
    pub message_ttl: Option<Duration>,
    /// Where rejected and expired messages go (`x-dead-letter-exchange`).
    pub dead_letter_exchange: Option<String>,
    /// With which routing key (`x-dead-letter-routing-key`).
    pub dead_letter_routing_key: Option<String>,
    /// Further arguments, as the broker names them.
    pub arguments: Map,
}

/// A binding: messages of `exchange` whose routing key fits go to `queue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The queue.
    pub queue: String,
    /// The exchange.
    pub exchange: String,
    /// The key or pattern.
    pub routing_key: String,
}

impl Topology {
    /// A durable queue with a durable direct exchange of the same name, bound by that name: what Celery declares
    /// for each task queue.
    pub fn task_queue(queue: Queue) -> Self {
        let name = queue.name.clone();
        Topology {
            exchanges: vec![Exchange::new(name.clone(), ExchangeKind::Direct)],
            bindings: vec![Binding::new(name.clone(), name.clone(), name)],
            queues: vec![queue],
        }
    }

    /// Both together.
    pub fn merge(&mut self, other: Topology) {
        self.exchanges.extend(other.exchanges);
        self.queues.extend(other.queues);
        self.bindings.extend(other.bindings);
    }
}

impl Exchange {
    /// A durable exchange.
    pub fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        Exchange { name: name.into(), kind, durable: true, auto_delete: false, arguments: Map::new() }
    }
}

impl Queue {
    /// A durable classic queue.
    pub fn new(name: impl Into<String>) -> Self {
        Queue {
            name: name.into(),
            kind: QueueKind::Classic,
            durable: true,
            exclusive: false,
            auto_delete: false,
            max_priority: None,
            expires: None,
            message_ttl: None,
            dead_letter_exchange: None,
            dead_letter_routing_key: None,
            arguments: Map::new(),
        }
    }
}

impl Binding {
    /// A binding of `queue` to `exchange`.
    pub fn new(
        queue: impl Into<String>,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
    ) -> Self {
        Binding { queue: queue.into(), exchange: exchange.into(), routing_key: routing_key.into() }
    }
}
