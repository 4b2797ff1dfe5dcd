//! `status`: asks every worker for a sign of life (`celery/app/control.py`; `kombu/pidbox.py` on the wire).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use celeriac_broker::{
    Address, Binding, Connection, Event, Exchange, ExchangeKind, Inbox, Queue, Subscription, Topology,
};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{EncodedBody, Map, Message, Properties, Value};
use uuid::Uuid;

use super::args::Status;
use super::console::{Console, plural};
use super::error::Error;
use crate::App;

const EXCHANGE: &str = "celery.pidbox";
const REPLY_EXCHANGE: &str = "reply.celery.pidbox";

/// Prints who answers.
///
/// # Errors
/// [`Error::NoNodes`] when nobody does.
pub(super) async fn run(app: &App, console: Console, options: &Status) -> Result<(), Error> {
    let connection = app.transport().connect().await?;
    let replies = ask(&*connection, options, |node, pong| {
        if !options.json {
            let name = console.paint(&format!("{node}: "), "1;36");
            let word = if pong { console.paint("OK", "1;32") } else { console.paint("ERROR", "1;31") };
            let arrow =
                if console.quiet { String::new() } else { format!("{} ", console.paint("->", "1;37")) };
            console.say(&format!("{arrow} {name}{word}"));
        }
    })
    .await;
    connection.close().await;
    let replies = replies?;
    if replies.is_empty() {
        return Err(Error::NoNodes);
    }
    let count = replies.len() as u64;
    if options.json {
        let json = codec::encode(&replies.into(), Serializer::Json, None)
            .map_err(|error| Error::Reply(error.to_string()))?;
        console.say(&String::from_utf8_lossy(&json.data));
    }
    if !console.quiet {
        console.say(&format!("\n{count} {} online.", plural(count, "node")));
    }
    Ok(())
}

/// Sends `ping` and gathers the replies, until `timeout` goes by without one or all that were asked have answered.
async fn ask(
    connection: &dyn Connection,
    options: &Status,
    heard: impl Fn(&str, bool),
) -> Result<Map, Error> {
    let (oid, ticket) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let queue = format!("{oid}.{REPLY_EXCHANGE}");
    connection.declare(&topology(&queue, &oid)).await?;
    let (session, mut inbox) = connection.open_session(celeriac_broker::Prefetch::Unlimited).await?;
    session.subscribe(&Subscription { no_ack: true, ..Subscription::new(&queue) }).await?;
    connection.publish(&Address::exchange(EXCHANGE, ""), ping(options, &oid, &ticket)?).await?;

    let limit = options.destination.as_ref().map_or(usize::MAX, |nodes| nodes.0.len());
    let mut replies = Map::new();
    while replies.len() < limit {
        let Some(message) = next(&mut inbox, options.timeout).await? else { break };
        if message.headers.get("ticket").and_then(Value::as_str).is_some_and(|of| of != ticket) {
            continue;
        }
        let Some(reply) = decode(&message) else { continue };
        for (node, answer) in reply.iter() {
            heard(node, answer.as_map().is_some_and(|answer| answer.get("ok").is_some()));
            replies.insert(node.to_owned(), answer.clone());
        }
    }
    session.close().await;
    connection.delete_queue(&queue).await?;
    Ok(replies)
}

/// The next message, or `None` after so long without one.
async fn next(inbox: &mut Inbox, timeout: Duration) -> Result<Option<Message>, Error> {
    match tokio::time::timeout(timeout, inbox.recv()).await {
        Ok(Some(Event::Delivery(delivery))) => Ok(Some(delivery.message)),
        Ok(Some(Event::Lost(error))) => Err(error.into()),
        Ok(Some(Event::Cancelled { .. }) | None) | Err(_) => Ok(None),
    }
}

/// The exchanges of remote control, and a queue for the replies with the lifetimes that Celery gives it.
fn topology(queue: &str, oid: &str) -> Topology {
    let exchange = |name, kind| Exchange { durable: false, ..Exchange::new(name, kind) };
    Topology {
        exchanges: vec![
            exchange(EXCHANGE, ExchangeKind::Fanout),
            exchange(REPLY_EXCHANGE, ExchangeKind::Direct),
        ],
        queues: vec![Queue {
            durable: false,
            auto_delete: true,
            expires: Some(Duration::from_secs(10)),
            message_ttl: Some(Duration::from_secs(300)),
            ..Queue::new(queue)
        }],
        bindings: vec![Binding::new(queue, REPLY_EXCHANGE, oid)],
    }
}

fn ping(options: &Status, oid: &str, ticket: &str) -> Result<Message, Error> {
    let map = |entries: Vec<(&'static str, Value)>| {
        let mut map = Map::with_capacity(entries.len());
        entries.into_iter().for_each(|(key, value)| drop(map.insert(key, value)));
        map
    };
    let nodes =
        options.destination.as_ref().map(|nodes| nodes.0.iter().map(|node| node.as_str().into()).collect());
    let body = map(vec![
        ("method", "ping".into()),
        ("arguments", Map::new().into()),
        ("destination", nodes.map_or(Value::Null, Value::List)),
        ("pattern", Value::Null),
        ("matcher", Value::Null),
        ("ticket", ticket.into()),
        ("reply_to", map(vec![("exchange", REPLY_EXCHANGE.into()), ("routing_key", oid.into())]).into()),
    ]);
    let body = codec::encode(&body.into(), Serializer::Json, None)
        .map_err(|error| Error::Reply(error.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let headers =
        map(vec![("clock", Value::Int(1)), ("expires", Value::Float((now + options.timeout).as_secs_f64()))]);
    let properties = Properties {
        content_type: Some(body.content_type),
        content_encoding: Some(body.content_encoding),
        delivery_mode: Some(1),
        priority: Some(0),
        ..Properties::default()
    };
    Ok(Message { headers, properties, body: body.data })
}

/// The replies in a message; what is no dict of JSON says nothing.
fn decode(message: &Message) -> Option<Map> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let body = EncodedBody {
        content_type: text(&message.properties.content_type),
        content_encoding: text(&message.properties.content_encoding),
        compression: None,
        data: Bytes::clone(&message.body),
    };
    match codec::decode(&body, &Accept::default()) {
        Ok(Value::Map(reply)) => Some(reply),
        _ => None,
    }
}
