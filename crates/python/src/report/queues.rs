//! Queues as kombu describes them (`kombu/entity.py`, `Queue.as_dict`).

use celeriac_broker::{Exchange, ExchangeKind, Queue, QueueKind};
use celeriac_protocol::{Map, Value};
use celeriac_worker::TaskQueue;

use super::{Fields, ReportError};

/// The queues in a list.
pub(super) fn read(queues: &Fields<'_>, list: &str) -> Result<Vec<TaskQueue>, ReportError> {
    queues.list(list).iter().map(|queue| task_queue(&Fields::of("queue", queue)?)).collect()
}

fn task_queue(fields: &Fields<'_>) -> Result<TaskQueue, ReportError> {
    let name = fields.text("name").ok_or_else(|| fields.wrong("name", "there is none"))?;
    let bindings = fields.list("bindings").iter().map(|binding| {
        let binding = Fields::of("binding", binding)?;
        Ok((exchange(&binding, "exchange")?, binding.text("routing_key").unwrap_or_default()))
    });
    Ok(TaskQueue {
        exchange: match fields.value("exchange") {
            Value::Null => Exchange::new("", ExchangeKind::Direct),
            _ => exchange(fields, "exchange")?,
        },
        routing_key: fields.text("routing_key").unwrap_or_default(),
        bindings: bindings.collect::<Result<_, _>>()?,
        no_declare: fields.truth("no_declare"),
        queue: queue(fields, name)?,
    })
}

fn queue(fields: &Fields<'_>, name: String) -> Result<Queue, ReportError> {
    let mut arguments = map(fields, "queue_arguments");
    for (limit, argument) in [("max_length", "x-max-length"), ("max_length_bytes", "x-max-length-bytes")] {
        if let Some(limit) = fields.number::<i64>(limit)? {
            arguments.insert(argument, limit);
        }
    }
    let priorities = arguments.remove("x-max-priority").unwrap_or(Value::Null);
    let kind = match arguments.remove("x-queue-type") {
        None | Some(Value::Null) => QueueKind::Classic,
        Some(Value::String(kind)) if kind == "classic" => QueueKind::Classic,
        Some(Value::String(kind)) if kind == "quorum" => QueueKind::Quorum,
        Some(Value::String(kind)) if kind == "stream" => QueueKind::Stream,
        Some(other) => {
            return Err(fields
                .wrong(&name, format!("there is no queue type {}", celeriac_protocol::repr::value(&other))));
        }
    };
    let mut text = |name| match arguments.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let max_priority = fields.number("max_priority")?;
    Ok(Queue {
        kind,
        durable: fields.truth("durable"),
        exclusive: fields.truth("exclusive"),
        auto_delete: fields.truth("auto_delete"),
        max_priority: max_priority.or(priorities.as_i64().and_then(|number| u8::try_from(number).ok())),
        expires: fields.seconds("expires")?,
        message_ttl: fields.seconds("message_ttl")?,
        dead_letter_exchange: text("x-dead-letter-exchange"),
        dead_letter_routing_key: text("x-dead-letter-routing-key"),
        arguments,
        name,
    })
}

fn exchange(fields: &Fields<'_>, name: &str) -> Result<Exchange, ReportError> {
    let of = fields.part(name)?;
    let kind = match of.value("type").as_str() {
        None | Some("direct") => ExchangeKind::Direct,
        Some("topic") => ExchangeKind::Topic,
        Some("fanout") => ExchangeKind::Fanout,
        Some(other) => {
            return Err(of.wrong("type", format!("there are direct, topic and fanout, but no {other}")));
        }
    };
    Ok(Exchange {
        durable: of.truth("durable"),
        auto_delete: of.truth("auto_delete"),
        arguments: map(&of, "arguments"),
        ..Exchange::new(of.text("name").unwrap_or_default(), kind)
    })
}

fn map(fields: &Fields<'_>, name: &str) -> Map {
    fields.value(name).as_map().cloned().unwrap_or_default()
}
