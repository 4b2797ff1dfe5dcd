//! Remote control on the wire: its exchanges, queues and messages (`kombu/pidbox.py`).

use celeriac_broker::{Binding, Exchange, ExchangeKind, Queue, Topology};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{EncodedBody, Map, Message, Properties, Value, control};

use crate::settings::ControlSettings;

/// The exchange of requests.
pub(crate) fn requests(settings: &ControlSettings) -> Topology {
    let name = control::exchange(&settings.exchange);
    exchange(Exchange { durable: false, ..Exchange::new(name, ExchangeKind::Fanout) })
}

/// The exchange of answers.
pub(crate) fn replies(settings: &ControlSettings) -> Topology {
    let name = control::reply_exchange(&settings.exchange);
    exchange(Exchange { durable: false, ..Exchange::new(name, ExchangeKind::Direct) })
}

/// The queue in which a node gets its requests.
pub(crate) fn mailbox(settings: &ControlSettings, hostname: &str) -> Topology {
    queue(requests(settings), settings, control::queue(hostname, &settings.exchange), "")
}

/// The queue in which whoever has this id gets its answers.
pub(crate) fn reply_box(settings: &ControlSettings, oid: &str) -> Topology {
    queue(replies(settings), settings, control::reply_queue(oid, &settings.exchange), oid)
}

fn exchange(exchange: Exchange) -> Topology {
    Topology { exchanges: vec![exchange], ..Topology::default() }
}

fn queue(exchange: Topology, settings: &ControlSettings, name: String, routing_key: &str) -> Topology {
    Topology {
        bindings: vec![Binding::new(&name, &exchange.exchanges[0].name, routing_key)],
        queues: vec![Queue {
            durable: settings.queue_durable,
            exclusive: settings.queue_exclusive,
            auto_delete: !settings.queue_durable,
            expires: Some(settings.queue_expires),
            message_ttl: Some(settings.queue_ttl),
            ..Queue::new(name)
        }],
        ..exchange
    }
}

/// A message that is not kept.
///
/// # Errors
/// When the serializer cannot hold the body.
pub(crate) fn message(
    headers: Map,
    body: &Value,
    serializer: Serializer,
) -> Result<Message, codec::EncodeError> {
    let body = codec::encode(body, serializer, None)?;
    Ok(Message {
        headers,
        properties: Properties {
            content_type: Some(body.content_type),
            content_encoding: Some(body.content_encoding),
            delivery_mode: Some(1),
            priority: Some(0),
            ..Properties::default()
        },
        body: body.data,
    })
}

/// The body of a message.
///
/// # Errors
/// When it cannot be decoded, or its type is not accepted.
pub(crate) fn body(message: Message, accept: &Accept) -> Result<Value, codec::DecodeError> {
    let Message { properties, body, .. } = message;
    let body = EncodedBody {
        content_type: properties.content_type.unwrap_or_default(),
        content_encoding: properties.content_encoding.unwrap_or_default(),
        compression: None,
        data: body,
    };
    codec::decode(&body, accept)
}
