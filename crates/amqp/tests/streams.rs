//! Streams, which keep what was read.

use std::time::Duration;

use bytes::Bytes;
use celeriac_broker::{
    Address, Binding, Connection, Delivery, Event, Exchange, ExchangeKind, Inbox, Offset, Prefetch,
    Published, Queue, QueueKind, Session, Settlement, Subscription, Topology,
};
use celeriac_protocol::{Message, Value};
use std::sync::Arc;
use tokio::time::timeout;

use crate::{blocking, transport};

const DEADLINE: Duration = Duration::from_secs(30);
const STREAM: &str = "celeriac.heartbeats";

/// A stream of all events of workers, as small as it can be.
fn topology() -> Topology {
    let mut stream = Queue { kind: QueueKind::Stream, ..Queue::new(STREAM) };
    stream.arguments.insert("x-max-age", "1m");
    stream.arguments.insert("x-stream-max-segment-size-bytes", 1_000_000_i64);
    Topology {
        exchanges: vec![Exchange::new("celeryev", ExchangeKind::Topic)],
        queues: vec![stream],
        bindings: vec![Binding::new(STREAM, "celeryev", "worker.#")],
    }
}

async fn publish(connection: &dyn Connection, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let mut message = Message { body: Bytes::from(number.to_string()), ..Message::default() };
        message.headers.insert("hostname", "w1@test");
        let address = Address::exchange("celeryev", "worker.heartbeat").mandatory();
        assert_eq!(connection.publish(&address, message).await, Ok(Published::Accepted));
    }
}

/// Consumes the stream beside a queue that is none, by a session of both.
async fn consume(connection: &dyn Connection, offset: Offset) -> (Arc<dyn Session>, Inbox) {
    let (session, inbox) = connection.open_session(Prefetch::Queue(4)).await.unwrap();
    let subscription = Subscription { offset: Some(offset), ..Subscription::new(STREAM) };
    session.subscribe(&subscription).await.unwrap();
    (session, inbox)
}

/// The numbers of the next messages, each of which is settled.
async fn numbers(session: &dyn Session, inbox: &mut Inbox, count: usize) -> Vec<i64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let delivery = next(inbox).await;
        numbers.push(std::str::from_utf8(&delivery.message.body).unwrap().parse().unwrap());
        session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    }
    numbers
}

async fn next(inbox: &mut Inbox) -> Delivery {
    match timeout(DEADLINE, inbox.recv()).await.unwrap() {
        Some(Event::Delivery(delivery)) => delivery,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_consumer_gets_all_from_where_it_starts() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let transport = transport(&vhost.url());
    assert!(transport.capabilities().streams);
    let connection = transport.connect().await.unwrap();
    connection.declare(&topology()).await.unwrap();
    connection.declare(&topology()).await.unwrap();
    publish(&*connection, 0..20).await;
    let all: Vec<i64> = (0..20).collect();
    let ago = Offset::Ago(Duration::from_secs(10));
    let (first, mut of_first) = consume(&*connection, ago).await;
    assert_eq!(numbers(&*first, &mut of_first, 20).await, all);
    // By another process, after those were settled.
    let other = transport.connect().await.unwrap();
    let (second, mut of_second) = consume(&*other, ago).await;
    assert_eq!(numbers(&*second, &mut of_second, 20).await, all);
    let (third, mut of_third) = consume(&*other, Offset::First).await;
    assert_eq!(numbers(&*third, &mut of_third, 20).await, all);
    let (fourth, mut of_fourth) = consume(&*other, Offset::Next).await;
    publish(&*connection, 20..23).await;
    for (session, inbox) in [
        (&first, &mut of_first),
        (&second, &mut of_second),
        (&third, &mut of_third),
        (&fourth, &mut of_fourth),
    ] {
        assert_eq!(numbers(&**session, inbox, 3).await, [20, 21, 22]);
    }
    for session in [&first, &second, &third, &fourth] {
        session.unsubscribe(STREAM).await.unwrap();
    }
    first.subscribe(&Subscription { offset: Some(Offset::Last), ..Subscription::new(STREAM) }).await.unwrap();
    assert_eq!(numbers(&*first, &mut of_first, 1).await.len(), 1);
    blocking(move || drop(vhost)).await;
}

#[tokio::test]
async fn a_delivery_says_where_it_lies_and_shares_a_session_with_others() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let connection = transport(&vhost.url()).connect().await.unwrap();
    connection.declare(&topology()).await.unwrap();
    let own = Queue { exclusive: true, auto_delete: true, durable: false, ..Queue::new("own") };
    connection.declare(&Topology { queues: vec![own], ..Topology::default() }).await.unwrap();
    let (session, mut inbox) = consume(&*connection, Offset::First).await;
    session.subscribe(&Subscription::new("own")).await.unwrap();
    // More than the count of a queue: each has its own.
    publish(&*connection, 0..10).await;
    let mut tags = Vec::new();
    for offset in 0..4 {
        let delivery = next(&mut inbox).await;
        assert_eq!(&*delivery.queue, STREAM);
        assert_eq!(delivery.routing_key, "worker.heartbeat");
        assert_eq!(delivery.message.headers.get("x-stream-offset"), Some(&Value::Int(offset)));
        assert_eq!(delivery.message.headers.get("hostname").and_then(Value::as_str), Some("w1@test"));
        tags.push(delivery.tag);
    }
    connection.publish(&Address::queue("own"), Message::default()).await.unwrap();
    assert_eq!(&*next(&mut inbox).await.queue, "own");
    session.settle(&[Settlement::AckThrough(tags[3])]).await.unwrap();
    assert_eq!(numbers(&*session, &mut inbox, 6).await, [4, 5, 6, 7, 8, 9]);
    blocking(move || drop(vhost)).await;
}
