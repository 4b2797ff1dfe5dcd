//! What remote control and events need of a broker.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Binding, Capabilities, Exchange, ExchangeKind, Queue, QueueKind, Topology};
use celeriac_cluster::watch::message::{Message as Word, NodeId, Snapshot};
use celeriac_protocol::codec::{self, Accept, Compression, Serializer};
use celeriac_protocol::control::{self, Request};
use celeriac_protocol::{LamportClock, Map, Message, Value, event};

use crate::wall::{exact_utcoffset, now, utcoffset};

/// How long what the cluster says may wait for a worker: longer than anybody waits for it. A worker that misses more asks
/// for all of it.
const CLUSTER_TTL: Duration = Duration::from_secs(30);
/// How much a stream of heartbeats keeps, and in pieces of which size, since it forgets whole pieces.
const STREAM_AGE: &str = "1m";
const STREAM_SEGMENT: i64 = 1 << 20;

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
    /// Of what kind it is: a topic exchange, but where these only fill queues, see [`suited`](Self::suited).
    pub kind: ExchangeKind,
    /// What the queues of those who listen are like (`event_queue_ttl`, `event_queue_expires`, ...); their names start
    /// with its name (`event_queue_prefix`).
    pub queue: Queue,
    /// How events are encoded (`event_serializer`).
    pub serializer: Serializer,
    /// Which encodings are read.
    pub accept: Accept,
    /// Whether the sender's offset from UTC may be a fraction of hours, as Celery 5.7 tells it.
    pub exact_utcoffset: bool,
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
            kind: ExchangeKind::Topic,
            queue: Queue {
                expires: Some(Duration::from_secs(60)),
                message_ttl: Some(Duration::from_secs(5)),
                ..transient("celeryev")
            },
            serializer: Serializer::Json,
            accept: Accept::default(),
            exact_utcoffset: false,
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
    /// Our offset from UTC in hours, as events tell it.
    pub(crate) fn utcoffset(&self) -> f64 {
        if self.exact_utcoffset { exact_utcoffset() } else { utcoffset().into() }
    }

    /// The same for a broker: where fanout exchanges reach those who listen for a key and fill no queues, events go by
    /// such a one, as Celery's do (`celery/events/event.py`, `get_exchange`).
    #[must_use]
    pub fn suited(self, capabilities: Capabilities) -> Self {
        let kind = if capabilities.fanout_queues { ExchangeKind::Topic } else { ExchangeKind::Fanout };
        EventSettings { kind, ..self }
    }

    /// The exchange.
    pub fn topology(&self) -> Topology {
        exchange(Exchange::new(&self.exchange, self.kind))
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

    /// The exchange on which celeriac's workers tell each other who is there.
    pub fn cluster(&self) -> Topology {
        exchange(Exchange::new(format!("celeriac.cluster.{}", self.exchange), self.kind))
    }

    /// A queue of one worker or client for what the cluster says by some keys. `id` is random.
    pub fn cluster_box(&self, id: &str, keys: &[impl ToString]) -> Topology {
        let cluster = self.cluster();
        let name = format!("celeriac.{id}");
        let exchange = &cluster.exchanges[0].name;
        Topology {
            bindings: keys.iter().map(|key| Binding::new(&name, exchange, key.to_string())).collect(),
            queues: vec![own(&name)],
            exchanges: cluster.exchanges,
        }
    }

    /// A queue of one worker for what all workers tell of themselves. What waits in it is not dropped before a watcher
    /// that lags has noticed by its own heartbeat that it does.
    pub fn heartbeats(&self, id: &str) -> Topology {
        let queue = own(&format!("{}.{id}", self.queue.name));
        Topology { queues: vec![queue], ..self.listener(id, "worker.#") }
    }

    /// The stream of what all workers tell of themselves, which watchers share.
    pub fn heartbeat_stream(&self) -> Topology {
        let name = format!("celeriac.heartbeats.{}", self.exchange);
        let arguments = [
            ("x-max-age", Value::from(STREAM_AGE)),
            ("x-stream-max-segment-size-bytes", STREAM_SEGMENT.into()),
        ];
        Topology {
            bindings: vec![Binding::new(&name, &self.exchange, "worker.#")],
            queues: vec![Queue {
                kind: QueueKind::Stream,
                arguments: Map::from_iter(arguments),
                ..Queue::new(name)
            }],
            ..self.topology()
        }
    }

    /// A message on the cluster's exchange, which is JSON whatever events are.
    ///
    /// # Errors
    /// Never, as long as its numbers are finite.
    pub fn cluster_message(&self, word: &Word) -> Result<Message, codec::EncodeError> {
        let compression = word.is_large().then_some(Compression::Zlib);
        let body = codec::encode(&word.to_value(), Serializer::Json, compression)?;
        let mut headers = Map::new();
        if let Some(compression) = &body.compression {
            headers.insert("compression", compression.as_str());
            if let Word::Snapshot(roster) = word {
                headers.insert("roster", roster_header(roster));
            }
        }
        Ok(Message::transient(headers, body))
    }
}

/// Whose roster a message has, and which: node, term, version.
fn roster_header(roster: &Snapshot) -> Value {
    vec![roster.node.to_string().into(), roster.term.into(), roster.version.into()].into()
}

/// What the headers of a message tell of the roster in it.
pub(crate) fn roster_of(headers: &Map) -> Option<(NodeId, u64, u64)> {
    let [node, term, version] = headers.get("roster")?.as_list()? else { return None };
    let count = |value: &Value| u64::try_from(value.as_i64()?).ok();
    Some((NodeId::parse(node.as_str()?)?, count(term)?, count(version)?))
}

/// A queue that goes with the worker that reads it.
fn own(name: &str) -> Queue {
    Queue { exclusive: true, message_ttl: Some(CLUSTER_TTL), ..transient(name) }
}

fn exchange(exchange: Exchange) -> Topology {
    Topology { exchanges: vec![exchange], ..Topology::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_cluster::watch::message::{Change, Happening};
    use celeriac_cluster::watch::roster::Member;

    fn roster(size: u64) -> Word {
        let member = |number| Member {
            number,
            hostname: format!("w{number}@test").into(),
            incarnation: 1_800_000_000_000 + number,
            node: Some(NodeId(number)),
            pid: Some(7),
            freq: 2.0,
            sw_ident: None,
            sw_ver: None,
            sw_sys: None,
        };
        let members = (1..=size).map(|number| Arc::new(member(number))).collect();
        Word::Snapshot(Snapshot { node: NodeId(9), term: 3, version: 70, members, departures: Vec::new() })
    }

    #[test]
    fn what_tells_of_many_is_compressed_and_a_roster_told_by_its_headers() {
        let large = EventSettings::default().cluster_message(&roster(200)).unwrap();
        assert_eq!(roster_of(&large.headers), Some((NodeId(9), 3, 70)));
        let body = large.decode(&Accept::default()).unwrap();
        assert_eq!(Word::read(&body).unwrap(), roster(200));
        let plain = codec::encode(&roster(200).to_value(), Serializer::Json, None).unwrap();
        assert!(large.body.len() * 2 < plain.data.len(), "{} of {}", large.body.len(), plain.data.len());
        let Word::Snapshot(Snapshot { members, .. }) = roster(200) else { unreachable!() };
        let steps = members.into_iter().map(Happening::Joined).collect();
        let change = Word::Change(Change { node: NodeId(9), term: 3, version: 200, steps });
        let joined = EventSettings::default().cluster_message(&change).unwrap();
        assert!(joined.body.len() * 2 < plain.data.len(), "{} of {}", joined.body.len(), plain.data.len());
        assert_eq!(roster_of(&joined.headers), None);
        assert_eq!(Word::read(&joined.decode(&Accept::default()).unwrap()).unwrap(), change);
        let small = EventSettings::default().cluster_message(&roster(2)).unwrap();
        assert!(small.headers.is_empty());
        assert_eq!(roster_of(&small.headers), None);
    }

    #[test]
    fn headers_that_make_no_sense_tell_of_no_roster() {
        for value in
            [Value::Null, 1.into(), vec![1.into()].into(), vec!["x".into(), 1.into(), 2.into()].into()]
        {
            let headers = Map::from_iter([("roster", value)]);
            assert_eq!(roster_of(&headers), None, "{headers:?}");
        }
    }
}
