//! What remote control and events need of a broker.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Binding, Exchange, ExchangeKind, Queue, Topology};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::control::{self, Request};
use celeriac_protocol::{LamportClock, Map, Message, Value, event};

use crate::wall::now;

/// How remote control travels (`kombu/pidbox.py`, `Mailbox`).
#[derive(Debug, Clone)]
pub struct Pidbox {
    /// `control_exchange`: what the names of its exchanges and queues are made of.
    pub namespace: String,
    /// What its queues are like (`control_queue_ttl`, `control_queue_expires`, ...); their names are set.
    pub queue: Queue,
    /// How requests and answers are encoded (`task_serializer`).
    pub serializer: Serializer,
    /// Which encodings are read (`accept_content`).
    pub accept: Accept,
    /// The logical clock of its messages, which is not that of events.
    pub clock: Arc<LamportClock>,
}

/// How events travel (`celery/events/event.py`, `receiver.py`).
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// `event_exchange`.
    pub exchange: String,
    /// What the queues of those who listen are like (`event_queue_ttl`, `event_queue_expires`, ...); their names start
    /// with its name (`event_queue_prefix`).
    pub queue: Queue,
    /// How events are encoded (`event_serializer`).
    pub serializer: Serializer,
    /// Which encodings are read.
    pub accept: Accept,
}

impl Default for Pidbox {
    fn default() -> Self {
        Pidbox {
            namespace: "celery".to_owned(),
            queue: Queue {
                expires: Some(Duration::from_secs(10)),
                message_ttl: Some(Duration::from_secs(300)),
                ..transient("")
            },
            serializer: Serializer::Json,
            accept: Accept::default(),
            clock: Arc::default(),
        }
    }
}

impl Default for EventSettings {
    fn default() -> Self {
        EventSettings {
            exchange: event::EXCHANGE.to_owned(),
            queue: Queue {
                expires: Some(Duration::from_secs(60)),
                message_ttl: Some(Duration::from_secs(5)),
                ..transient("celeryev")
            },
            serializer: Serializer::Json,
            accept: Accept::default(),
        }
    }
}

fn transient(name: &str) -> Queue {
    Queue { durable: false, auto_delete: true, ..Queue::new(name) }
}

impl Pidbox {
    /// The exchange of requests.
    pub fn requests(&self) -> Topology {
        exchange(Exchange {
            durable: false,
            ..Exchange::new(control::exchange(&self.namespace), ExchangeKind::Fanout)
        })
    }

    /// The exchange of answers.
    pub fn replies(&self) -> Topology {
        exchange(Exchange {
            durable: false,
            ..Exchange::new(control::reply_exchange(&self.namespace), ExchangeKind::Direct)
        })
    }

    /// The queue in which a node gets its requests.
    pub fn mailbox(&self, hostname: &str) -> Topology {
        self.bound(self.requests(), control::queue(hostname, &self.namespace), "")
    }

    /// The queue in which whoever has this id gets its answers.
    pub fn reply_box(&self, oid: &str) -> Topology {
        self.bound(self.replies(), control::reply_queue(oid, &self.namespace), oid)
    }

    fn bound(&self, exchange: Topology, name: String, routing_key: &str) -> Topology {
        let binding = Binding::new(&name, &exchange.exchanges[0].name, routing_key);
        Topology { bindings: vec![binding], queues: vec![Queue { name, ..self.queue.clone() }], ..exchange }
    }

    /// Takes over the clock of a message that came.
    pub fn hear(&self, message: &Message) {
        let clock = message.headers.get("clock").and_then(Value::as_i64);
        self.clock.adjust(clock.and_then(|clock| u64::try_from(clock).ok()).unwrap_or_default());
    }

    /// A request, which nodes ignore when `timeout` is over.
    ///
    /// # Errors
    /// When the serializer cannot hold its arguments.
    pub fn request(&self, request: Request, timeout: Duration) -> Result<Message, codec::EncodeError> {
        let expires =
            if timeout.is_zero() { Value::Int(0) } else { Value::Float(now() + timeout.as_secs_f64()) };
        let headers = Map::from_iter([("clock", self.clock.forward().into()), ("expires", expires)]);
        let body = codec::encode(&request.into_value(), self.serializer, None)?;
        let mut message = Message::transient(headers, body);
        // Celery's requests are persistent, though no queue of theirs is.
        message.properties.delivery_mode = Some(2);
        Ok(message)
    }

    /// An answer to the request of a ticket.
    ///
    /// # Errors
    /// When the serializer cannot hold it.
    pub fn reply(
        &self,
        hostname: &str,
        answer: Value,
        ticket: Option<String>,
    ) -> Result<Message, codec::EncodeError> {
        let headers = Map::from_iter([
            ("ticket", ticket.map_or(Value::Null, Value::from)),
            ("clock", self.clock.forward().into()),
        ]);
        let body: Map = [(hostname.to_owned(), answer)].into_iter().collect();
        Ok(Message::transient(headers, codec::encode(&body.into(), self.serializer, None)?))
    }
}

impl EventSettings {
    /// The exchange.
    pub fn topology(&self) -> Topology {
        exchange(Exchange::new(&self.exchange, ExchangeKind::Topic))
    }

    /// A message of this node: one event, or a list of them.
    ///
    /// # Errors
    /// When the serializer cannot hold it.
    pub fn message(&self, hostname: &str, body: &Value) -> Result<Message, codec::EncodeError> {
        let headers = Map::from_iter([("hostname", Value::from(hostname))]);
        Ok(Message::transient(headers, codec::encode(body, self.serializer, None)?))
    }

    /// A queue of the listener of this id, for events whose routing keys fit.
    pub fn listener(&self, id: &str, routing_key: &str) -> Topology {
        let name = format!("{}.{id}", self.queue.name);
        Topology {
            bindings: vec![Binding::new(&name, &self.exchange, routing_key)],
            queues: vec![Queue { name, ..self.queue.clone() }],
            ..self.topology()
        }
    }
}

fn exchange(exchange: Exchange) -> Topology {
    Topology { exchanges: vec![exchange], ..Topology::default() }
}
