//! The queues that are consumed.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Error, Exchange, ExchangeKind, Queue, QueueKind};
use celeriac_protocol::{Map, Value};

use super::arguments::{Arguments, cut, wrong};
use super::command::{CommandError, ok};
use crate::consumer::{Consumer, lock};
use crate::queues::TaskQueue;
use crate::tasks::Change;

/// How many queues a worker consumes at most.
const LIMIT: usize = 1000;
/// The longest name that AMQP can carry, in bytes.
const NAME: usize = 255;
/// How long the broker may take to declare a queue.
const PATIENCE: Duration = Duration::from_secs(5);

/// Consumes a queue too, from now on and after every loss. Celery answers before it asks the broker; here a queue
/// that the broker refuses is told, and forgotten: it would be refused again at each connection.
pub(super) async fn add_consumer(
    consumer: Arc<Consumer>,
    mut arguments: Arguments,
) -> Result<Value, CommandError> {
    let name = name(&mut arguments, "queue")?
        .ok_or_else(|| CommandError::Value("the queue's name is empty".to_owned()))?;
    let answer = format!("add consumer {name}");
    if lock(&consumer.queues).iter().any(|known| known.name() == name) {
        return ok(answer);
    }
    let queue = task_queue(&consumer, name, arguments)?;
    match consumer.connection() {
        Ok(connection) => match tokio::time::timeout(PATIENCE, connection.declare(&queue.topology())).await {
            Ok(Ok(())) => {}
            Ok(Err(Error::Lost(reason))) => tracing::warn!("{} is declared later: {reason}", queue.name()),
            Ok(Err(error)) => return Err(CommandError::Value(cut(&error.to_string()).to_owned())),
            Err(_) => return Err(CommandError::Value("the broker does not answer".to_owned())),
        },
        Err(error) => tracing::debug!("{} is declared later: {error}", queue.name()),
    }
    let mut queues = lock(&consumer.queues);
    if queues.len() >= LIMIT {
        return Err(CommandError::Value(format!("the worker consumes {LIMIT} queues already")));
    }
    queues.push(queue.clone());
    drop(queues);
    consumer.change(Change::Consume(Box::new(queue)));
    ok(answer)
}

pub(super) fn cancel_consumer(
    consumer: &Arc<Consumer>,
    mut arguments: Arguments,
) -> Result<Value, CommandError> {
    let name = arguments.text("queue")?;
    tracing::info!("Canceling queue {}", cut(&name));
    let answer = ok(format!("no longer consuming from {}", cut(&name)));
    let mut queues = lock(&consumer.queues);
    let known = queues.len();
    queues.retain(|queue| queue.name() != name);
    let was_consumed = queues.len() < known;
    drop(queues);
    if was_consumed {
        consumer.change(Change::Cancel(name));
    }
    answer
}

/// The queue as the settings know it, or as the request describes it (`kombu/entity.py`, `Queue.from_dict`).
fn task_queue(
    consumer: &Consumer,
    name: String,
    mut arguments: Arguments,
) -> Result<TaskQueue, CommandError> {
    let settings = &consumer.settings.queues;
    let queue = settings.queue(Some(&name));
    if settings.known.iter().any(|known| known.name() == name) {
        return Ok(queue);
    }
    let exchange = self::name(&mut arguments, "exchange")?.unwrap_or_else(|| name.clone());
    let kind = match arguments.optional_text("exchange_type")?.as_deref() {
        None | Some("" | "direct") => ExchangeKind::Direct,
        Some("topic") => ExchangeKind::Topic,
        Some("fanout") => ExchangeKind::Fanout,
        Some(other) => {
            return Err(CommandError::Value(format!("exchange type '{}' is not supported", cut(other))));
        }
    };
    let routing_key = self::name(&mut arguments, "routing_key")?;
    let durable = boolean(&mut arguments, "durable")?;
    let auto_delete = boolean(&mut arguments, "auto_delete")?;
    let mut of = |name: &str, both: Option<bool>| boolean(&mut arguments, name).map(|flag| flag.or(both));
    Ok(TaskQueue {
        exchange: Exchange {
            durable: of("exchange_durable", durable)?.unwrap_or(true),
            auto_delete: of("exchange_auto_delete", auto_delete)?.unwrap_or(false),
            ..Exchange::new(exchange, kind)
        },
        queue: Queue {
            durable: of("queue_durable", durable)?.unwrap_or(true),
            auto_delete: of("queue_auto_delete", auto_delete)?.unwrap_or(false),
            exclusive: of("exclusive", None)?.unwrap_or(false),
            ..queue.queue
        },
        routing_key: routing_key.unwrap_or(name),
        bindings: Vec::new(),
        no_declare: queue.no_declare,
    })
}

/// A name that AMQP can carry; an empty one is none.
fn name(arguments: &mut Arguments, of: &str) -> Result<Option<String>, CommandError> {
    let name = arguments.optional_text(of)?.filter(|name| !name.is_empty());
    match name {
        Some(name) if name.len() > NAME => {
            Err(CommandError::Value(format!("{of} is longer than {NAME} bytes")))
        }
        name => Ok(name),
    }
}

fn boolean(arguments: &mut Arguments, name: &str) -> Result<Option<bool>, CommandError> {
    match arguments.take(name) {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(flag)),
        other => Err(wrong(name, "bool", &other)),
    }
}

pub(super) fn active_queues(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    Ok(Value::List(lock(&consumer.queues).iter().map(describe).collect()))
}

/// A queue as kombu describes it (`kombu/entity.py`, `as_dict`).
fn describe(queue: &TaskQueue) -> Value {
    let TaskQueue { queue, exchange, routing_key, no_declare, .. } = queue;
    let kind = match exchange.kind {
        ExchangeKind::Direct => "direct",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Fanout => "fanout",
    };
    let seconds = |time: Option<Duration>| Value::from(time.map(|time| time.as_secs_f64()));
    let exchange = Map::from_iter([
        ("name", Value::from(exchange.name.as_str())),
        ("type", kind.into()),
        ("arguments", unless_empty(exchange.arguments.clone())),
        ("durable", exchange.durable.into()),
        ("passive", false.into()),
        ("auto_delete", exchange.auto_delete.into()),
        ("delivery_mode", Value::Null),
        ("no_declare", false.into()),
    ]);
    Map::from_iter([
        ("name", Value::from(queue.name.as_str())),
        ("exchange", exchange.into()),
        ("routing_key", routing_key.as_str().into()),
        ("queue_arguments", unless_empty(arguments(queue))),
        ("binding_arguments", Value::Null),
        ("consumer_arguments", Value::Null),
        ("durable", queue.durable.into()),
        ("exclusive", queue.exclusive.into()),
        ("auto_delete", queue.auto_delete.into()),
        ("no_ack", false.into()),
        ("alias", Value::Null),
        ("bindings", Value::List(Vec::new())),
        ("no_declare", Value::from((*no_declare).then_some(true))),
        ("expires", seconds(queue.expires)),
        ("message_ttl", seconds(queue.message_ttl)),
        ("max_length", Value::Null),
        ("max_length_bytes", Value::Null),
        ("max_priority", queue.max_priority.map(i32::from).into()),
    ])
    .into()
}

/// What kombu has no attribute for.
fn arguments(queue: &Queue) -> Map {
    let mut arguments = queue.arguments.clone();
    match queue.kind {
        QueueKind::Classic => {}
        QueueKind::Quorum => drop(arguments.insert("x-queue-type", "quorum")),
        QueueKind::Stream => drop(arguments.insert("x-queue-type", "stream")),
    }
    if let Some(exchange) = &queue.dead_letter_exchange {
        arguments.insert("x-dead-letter-exchange", exchange.as_str());
    }
    if let Some(key) = &queue.dead_letter_routing_key {
        arguments.insert("x-dead-letter-routing-key", key.as_str());
    }
    arguments
}

fn unless_empty(arguments: Map) -> Value {
    if arguments.is_empty() { Value::Null } else { arguments.into() }
}
