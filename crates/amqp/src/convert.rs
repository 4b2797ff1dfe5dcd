//! AMQP's field tables and properties to ours and back.

use amqprs::{BasicProperties, ByteArray, FieldArray, FieldName, FieldTable, FieldValue};
use bytes::Bytes;
use celeriac_broker::{Error, Offset, Subscription};
use celeriac_protocol::{Map, Message, Properties, Value};

/// Tables in tables deeper than this are cut: nothing that Celery sends comes near.
const MAX_DEPTH: usize = 64;

/// A short string of AMQP holds at most 255 bytes.
pub(crate) fn short(what: &str, text: &str) -> Result<(), Error> {
    if text.len() <= usize::from(u8::MAX) {
        return Ok(());
    }
    Err(Error::NotAccepted(format!("{what} is longer than 255 bytes")))
}

pub(crate) fn message(properties: &BasicProperties, body: Vec<u8>) -> Message {
    Message {
        headers: properties.headers().map(|table| map(table, 0)).unwrap_or_default(),
        properties: Properties {
            content_type: properties.content_type().cloned(),
            content_encoding: properties.content_encoding().cloned(),
            delivery_mode: properties.delivery_mode(),
            priority: properties.priority(),
            correlation_id: properties.correlation_id().cloned(),
            reply_to: properties.reply_to().cloned(),
            expiration: properties.expiration().cloned(),
            message_id: properties.message_id().cloned(),
            timestamp: properties.timestamp(),
            kind: properties.message_type().cloned(),
            user_id: properties.user_id().cloned(),
            app_id: properties.app_id().cloned(),
        },
        body: Bytes::from(body),
    }
}

pub(crate) fn properties(headers: &Map, properties: &Properties) -> Result<BasicProperties, Error> {
    let mut out = BasicProperties::default();
    if !headers.is_empty() {
        out.with_headers(table(headers, 0)?);
    }
    type Set = for<'a> fn(&'a mut BasicProperties, &str) -> &'a mut BasicProperties;
    let texts: [(&str, &Option<String>, Set); 9] = [
        ("content_type", &properties.content_type, BasicProperties::with_content_type),
        ("content_encoding", &properties.content_encoding, BasicProperties::with_content_encoding),
        ("correlation_id", &properties.correlation_id, BasicProperties::with_correlation_id),
        ("reply_to", &properties.reply_to, BasicProperties::with_reply_to),
        ("expiration", &properties.expiration, BasicProperties::with_expiration),
        ("message_id", &properties.message_id, BasicProperties::with_message_id),
        ("type", &properties.kind, BasicProperties::with_message_type),
        ("user_id", &properties.user_id, BasicProperties::with_user_id),
        ("app_id", &properties.app_id, BasicProperties::with_app_id),
    ];
    for (name, text, set) in texts {
        if let Some(text) = text {
            short(name, text)?;
            set(&mut out, text);
        }
    }
    if let Some(mode) = properties.delivery_mode {
        out.with_delivery_mode(mode);
    }
    if let Some(priority) = properties.priority {
        out.with_priority(priority);
    }
    if let Some(timestamp) = properties.timestamp {
        out.with_timestamp(timestamp);
    }
    Ok(out)
}

fn map(table: &FieldTable, depth: usize) -> Map {
    let table: &std::collections::HashMap<FieldName, FieldValue> = table.as_ref();
    table.iter().map(|(name, field)| (Map::key(name.as_ref()), value(field, depth))).collect()
}

fn value(field: &FieldValue, depth: usize) -> Value {
    match field {
        FieldValue::V => Value::Null,
        FieldValue::t(flag) => Value::Bool(*flag),
        FieldValue::b(number) => Value::Int((*number).into()),
        FieldValue::B(number) => Value::Int((*number).into()),
        FieldValue::s(number) => Value::Int((*number).into()),
        FieldValue::u(number) => Value::Int((*number).into()),
        FieldValue::I(number) => Value::Int((*number).into()),
        FieldValue::i(number) => Value::Int((*number).into()),
        FieldValue::l(number) => Value::Int(*number),
        FieldValue::f(number) => Value::Float((*number).into()),
        FieldValue::d(number) => Value::Float(*number),
        FieldValue::S(text) => Value::String(text.as_ref().clone()),
        // Seconds since the epoch; Celery itself never sends one.
        FieldValue::T(seconds) => Value::from(*seconds),
        FieldValue::D(decimal) => Value::Decimal(format!("{decimal:?}")),
        FieldValue::x(bytes) => Value::Bytes(bytes.clone().into()),
        FieldValue::A(_) | FieldValue::F(_) if depth >= MAX_DEPTH => Value::Null,
        FieldValue::A(items) => {
            let items: Vec<FieldValue> = items.clone().into();
            Value::List(items.iter().map(|item| value(item, depth + 1)).collect())
        }
        FieldValue::F(table) => Value::Map(map(table, depth + 1)),
    }
}

fn table(map: &Map, depth: usize) -> Result<FieldTable, Error> {
    let mut table = FieldTable::new();
    for (key, value) in map.iter() {
        short("a header's name", key)?;
        let name =
            FieldName::try_from(key).map_err(|_| Error::NotAccepted(format!("header name {key:?}")))?;
        table.insert(name, field(value, depth)?);
    }
    Ok(table)
}

fn field(value: &Value, depth: usize) -> Result<FieldValue, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::NotAccepted("headers are nested too deep".to_owned()));
    }
    let too_long = || Error::NotAccepted("a header is too long".to_owned());
    Ok(match value {
        Value::Null => FieldValue::V,
        Value::Bool(flag) => FieldValue::t(*flag),
        // py-amqp sends what fits 32 bits as `I`, the rest as `l`.
        Value::Int(number) => match i32::try_from(*number) {
            Ok(number) => FieldValue::I(number),
            Err(_) => FieldValue::l(*number),
        },
        Value::Float(number) => FieldValue::d(*number),
        Value::Bytes(bytes) => FieldValue::x(ByteArray::try_from(bytes.clone()).map_err(|_| too_long())?),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| field(item, depth + 1)).collect::<Result<_, _>>()?;
            FieldValue::A(FieldArray::try_from(items).map_err(|_| too_long())?)
        }
        Value::Map(map) => FieldValue::F(table(map, depth + 1)?),
        Value::String(text)
        | Value::BigInt(text)
        | Value::DateTime(text)
        | Value::Date(text)
        | Value::Time(text)
        | Value::Decimal(text)
        | Value::Uuid(text) => FieldValue::S(text.as_str().try_into().map_err(|_| too_long())?),
    })
}

/// The arguments of a queue, with what has a field of its own.
pub(crate) fn queue_arguments(queue: &celeriac_broker::Queue) -> Result<FieldTable, Error> {
    use celeriac_broker::QueueKind;
    let mut map = queue.arguments.clone();
    let millis = |time: std::time::Duration| Value::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    match queue.kind {
        QueueKind::Classic => {}
        QueueKind::Quorum => drop(map.insert("x-queue-type", "quorum")),
        QueueKind::Stream => drop(map.insert("x-queue-type", "stream")),
    }
    if let Some(priority) = queue.max_priority {
        map.insert("x-max-priority", i64::from(priority));
    }
    if let Some(expires) = queue.expires {
        map.insert("x-expires", millis(expires));
    }
    if let Some(ttl) = queue.message_ttl {
        map.insert("x-message-ttl", millis(ttl));
    }
    if let Some(exchange) = &queue.dead_letter_exchange {
        map.insert("x-dead-letter-exchange", exchange.as_str());
    }
    if let Some(key) = &queue.dead_letter_routing_key {
        map.insert("x-dead-letter-routing-key", key.as_str());
    }
    table(&map, 0)
}

/// The arguments of a consumer (RabbitMQ's, of streams).
pub(crate) fn consumer_arguments(subscription: &Subscription) -> Result<FieldTable, Error> {
    let offset = match subscription.offset {
        None => return Ok(FieldTable::new()),
        Some(Offset::First) => "first".to_owned(),
        Some(Offset::Last) => "last".to_owned(),
        Some(Offset::Next) => "next".to_owned(),
        Some(Offset::Ago(time)) => format!("{}s", time.as_secs() + u64::from(time.subsec_nanos() > 0)),
    };
    let mut map = Map::new();
    map.insert("x-stream-offset", offset);
    table(&map, 0)
}

pub(crate) fn exchange_arguments(map: &Map) -> Result<FieldTable, Error> {
    table(map, 0)
}
