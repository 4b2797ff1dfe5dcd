//! Sessions and connections that come and go.

use std::collections::BTreeSet;

use super::Fixture;
use super::support::*;
use crate::{Error, Event, Prefetch, Settlement, Subscription};

/// Closing twice is closing; `closed` resolves, and everything after it is a loss.
pub async fn close_is_idempotent(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    let waiting = tokio::spawn({
        let connection = connection.clone();
        async move { connection.closed().await }
    });
    consumer.session.close().await;
    consumer.session.close().await;
    assert!(consumer.inbox.recv().await.is_none(), "the inbox ends with its session");
    connection.close().await;
    connection.close().await;
    waiting.await.unwrap();
    connection.closed().await;
    let result = connection.queue_len(&queue).await;
    assert!(matches!(result, Err(Error::Lost(_))), "{result:?}");
    let result = consumer.session.settle(&[Settlement::Ack(1)]).await;
    assert!(matches!(result, Err(Error::Lost(_))), "{result:?}");
}

/// What a session held unsettled comes again when it closes.
pub async fn a_closed_session_gives_back(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for number in 0..3 {
        send(&connection, &queue, number).await;
    }
    let mut first = Consumer::new(&connection, Prefetch::Session(3), &[&queue]).await;
    first.take(3).await;
    first.settle(&[Settlement::Ack(2)]).await;
    first.session.close().await;
    let mut second = Consumer::new(&connection, Prefetch::Session(3), &[&queue]).await;
    let again = second.take(2).await;
    assert_eq!(again.iter().map(body).collect::<Vec<_>>(), ["0", "2"]);
    assert!(again.iter().all(|delivery| delivery.redelivered));
}

/// What a connection held unsettled comes again when it closes.
pub async fn a_closed_connection_gives_back(fixture: &impl Fixture) {
    let other = connect(fixture).await;
    let [queue] = queues(fixture, &other, ["q"]).await;
    send(&other, &queue, "m").await;
    let connection = connect(fixture).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    consumer.next().await;
    connection.close().await;
    let mut again = Consumer::new(&other, Prefetch::Session(1), &[&queue]).await;
    assert!(again.next().await.redelivered);
}

/// The same when it is dropped without a word.
pub async fn a_dropped_connection_gives_back(fixture: &impl Fixture) {
    let other = connect(fixture).await;
    let [queue] = queues(fixture, &other, ["q"]).await;
    send(&other, &queue, "m").await;
    let connection = connect(fixture).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    consumer.next().await;
    drop((consumer, connection));
    let mut again = Consumer::new(&other, Prefetch::Session(1), &[&queue]).await;
    assert!(again.next().await.redelivered);
}

/// A queue that is no longer consumed sends nothing; what came from it can still be settled.
pub async fn unsubscribe_stops(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [a, b] = queues(fixture, &connection, ["a", "b"]).await;
    send(&connection, &a, 1).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(10), &[&a, &b]).await;
    consumer.next().await;
    consumer.session.unsubscribe(&a).await.unwrap();
    consumer.session.unsubscribe(&a).await.unwrap();
    send(&connection, &a, 2).await;
    send(&connection, &b, "marker").await;
    assert_eq!(consumer.bodies(1).await, ["marker"]);
    until_len(&connection, &a, 1).await;
    consumer.settle(&[Settlement::AckThrough(2)]).await;
    consumer.session.subscribe(&Subscription::new(&a)).await.unwrap();
    consumer.session.subscribe(&Subscription::new(&a)).await.unwrap();
    let delivery = consumer.next().await;
    assert_eq!((body(&delivery).as_str(), delivery.tag), ("2", 3));
    consumer.assert_idle();
}

/// Who consumes a queue is told when it is deleted; what he holds of it can be settled.
pub async fn deletion_cancels(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [a, b] = queues(fixture, &connection, ["a", "b"]).await;
    send(&connection, &a, 1).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(10), &[&a, &b]).await;
    let tag = consumer.next().await.tag;
    connect(fixture).await.delete_queue(&a).await.unwrap();
    match consumer.inbox.recv().await {
        Some(Event::Cancelled { queue }) => assert_eq!(queue, a),
        other => panic!("no cancellation but {other:?}"),
    }
    consumer.settle(&[Settlement::Ack(tag)]).await;
    send(&connection, &b, "goes on").await;
    assert_eq!(consumer.bodies(1).await, ["goes on"]);
    let [again] = queues(fixture, &connection, ["a"]).await;
    assert_eq!(connection.queue_len(&again).await, Ok(0));
}

/// A queue that somebody consumes alone is refused to others until he ends.
pub async fn exclusive_consumer(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let alone = Subscription { exclusive: true, ..Subscription::new(&queue) };
    let (first, _inbox) = connection.open_session(Prefetch::Session(1)).await.unwrap();
    first.subscribe(&alone).await.unwrap();
    let (second, _inbox) = connect(fixture).await.open_session(Prefetch::Session(1)).await.unwrap();
    let result = second.subscribe(&Subscription::new(&queue)).await;
    assert!(result.is_err(), "{result:?}");
    first.close().await;
    let other = connect(fixture).await;
    let (third, _inbox) = other.open_session(Prefetch::Session(1)).await.unwrap();
    third.subscribe(&Subscription::new(&queue)).await.unwrap();
    let (fourth, _inbox) = connect(fixture).await.open_session(Prefetch::Session(1)).await.unwrap();
    let result = fourth.subscribe(&alone).await;
    assert!(result.is_err(), "{result:?}");
}

/// Two consumers of one queue: each message goes to one of them.
pub async fn consumers_share_a_queue(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let mut consumers = Vec::new();
    for _ in 0..2 {
        let connection = connect(fixture).await;
        consumers.push((Consumer::new(&connection, Prefetch::Session(5), &[&queue]).await, connection));
    }
    let mut seen = BTreeSet::new();
    for number in 0..200 {
        send(&connection, &queue, number).await;
    }
    let [(one, _first), (two, _second)] = consumers.as_mut_slice() else { panic!("two") };
    for _ in 0..200 {
        let (consumer, delivery) = tokio::select! {
            delivery = one.next() => (&*one, delivery),
            delivery = two.next() => (&*two, delivery),
        };
        assert!(seen.insert(body(&delivery)), "twice: {}", body(&delivery));
        assert!(!delivery.redelivered);
        consumer.settle(&[Settlement::Ack(delivery.tag)]).await;
    }
    assert_eq!(connection.queue_len(&queue).await, Ok(0));
}

/// Without acks nothing is held: no limit, and nothing comes back.
pub async fn without_acks(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for number in 0..20 {
        send(&connection, &queue, number).await;
    }
    let (session, inbox) = connection.open_session(Prefetch::Session(2)).await.unwrap();
    session.subscribe(&Subscription { no_ack: true, ..Subscription::new(&queue) }).await.unwrap();
    let mut consumer = Consumer { session, inbox };
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(consumer.bodies(20).await, expected);
    consumer.session.close().await;
    send(&connection, &queue, "marker").await;
    let mut again = Consumer::new(&connection, Prefetch::Session(9), &[&queue]).await;
    assert_eq!(again.bodies(1).await, ["marker"]);
}

/// A call that its caller gives up half-way harms nothing that comes after it.
pub async fn calls_given_up(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue, other] = queues(fixture, &connection, ["q", "other"]).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    for count in 2..30 {
        given_up(consumer.session.set_prefetch(Prefetch::Session(count))).await;
        given_up(consumer.session.subscribe(&Subscription::new(&other))).await;
        given_up(consumer.session.unsubscribe(&other)).await;
        given_up(connection.queue_len(&queue)).await;
    }
    send(&connection, &queue, "m").await;
    assert_eq!(consumer.bodies(1).await, ["m"]);
    consumer.session.subscribe(&Subscription::new(&other)).await.unwrap();
    send(&connection, &other, "n").await;
    assert_eq!(consumer.bodies(1).await, ["n"]);
    assert_eq!(connection.queue_len(&queue).await, Ok(0));
}

/// Lets a call begin, and drops it at its first wait.
async fn given_up(call: impl Future) {
    tokio::select! {
        biased;
        _ = call => (),
        () = std::future::ready(()) => (),
    }
}
