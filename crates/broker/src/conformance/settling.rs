//! What becomes of deliveries.

use celeriac_protocol::Value;

use super::Fixture;
use super::support::*;
use crate::{Address, Binding, Exchange, ExchangeKind, Prefetch, Queue, Settlement, Topology};

/// What is acked does not come again, in whatever order it was acked; the rest does.
pub async fn acks_are_final(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for number in 0..6 {
        send(&connection, &queue, number).await;
    }
    let mut consumer = Consumer::new(&connection, Prefetch::Session(6), &[&queue]).await;
    consumer.take(6).await;
    consumer.settle(&[Settlement::Ack(5), Settlement::Ack(1)]).await;
    consumer.settle(&[Settlement::Ack(3)]).await;
    consumer.session.close().await;
    let mut again = Consumer::new(&connection, Prefetch::Session(6), &[&queue]).await;
    assert_eq!(again.bodies(3).await, ["1", "3", "5"]);
    until_len(&connection, &queue, 0).await;
}

/// One `AckThrough` settles lower tags, of whatever queue, and no higher one.
pub async fn ack_through_several_queues(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [a, b] = queues(fixture, &connection, ["a", "b"]).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(10), &[&a, &b]).await;
    for number in 0..3 {
        send(&connection, &a, number).await;
        send(&connection, &b, number).await;
    }
    let deliveries = consumer.take(6).await;
    assert_eq!(deliveries.iter().map(|delivery| delivery.tag).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let mut kept: Vec<String> = vec![body(&deliveries[1]), body(&deliveries[4]), body(&deliveries[5])];
    consumer.settle(&[Settlement::Requeue(2), Settlement::AckThrough(4)]).await;
    consumer.next().await;
    consumer.session.close().await;
    let mut again = Consumer::new(&connection, Prefetch::Session(10), &[&a, &b]).await;
    let mut found = again.bodies(3).await;
    kept.sort();
    found.sort();
    assert_eq!(found, kept);
    until_len(&connection, &a, 0).await;
    until_len(&connection, &b, 0).await;
}

/// What is requeued comes again and says so.
pub async fn requeued_comes_again(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    send(&connection, &queue, "m").await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    for tag in 1..=3 {
        let delivery = consumer.next().await;
        assert_eq!((delivery.tag, delivery.redelivered), (tag, tag > 1));
        assert_eq!((body(&delivery).as_str(), &delivery.routing_key), ("m", &queue));
        consumer.settle(&[Settlement::Requeue(tag)]).await;
    }
    let last = consumer.next().await;
    consumer.settle(&[Settlement::Ack(last.tag)]).await;
    until_len(&connection, &queue, 0).await;
}

/// What is rejected is gone when there is no dead-letter exchange.
pub async fn rejected_is_gone(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    send(&connection, &queue, "bad").await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    consumer.next().await;
    send(&connection, &queue, "good").await;
    consumer.settle(&[Settlement::Reject(1)]).await;
    assert_eq!(consumer.bodies(1).await, ["good"]);
    consumer.session.close().await;
    let mut again = Consumer::new(&connection, Prefetch::Session(5), &[&queue]).await;
    assert_eq!(again.bodies(1).await, ["good"]);
}

/// What is rejected goes to the dead-letter exchange, with what happened in its headers.
pub async fn rejected_goes_to_the_dead_letter_exchange(fixture: &impl Fixture) {
    if !fixture.transport().capabilities().dead_letters {
        return;
    }
    let connection = connect(fixture).await;
    let [dead] = queues(fixture, &connection, ["dead"]).await;
    let (queue, exchange) = (fixture.name("q"), fixture.name("x"));
    let topology = Topology {
        exchanges: vec![Exchange::new(&exchange, ExchangeKind::Topic)],
        queues: vec![Queue { dead_letter_exchange: Some(exchange.clone()), ..Queue::new(&queue) }],
        bindings: vec![Binding::new(&dead, &exchange, "#")],
    };
    connection.declare(&topology).await.unwrap();
    send(&connection, &queue, "bad").await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    let tag = consumer.next().await.tag;
    consumer.settle(&[Settlement::Reject(tag)]).await;
    let mut undertaker = Consumer::new(&connection, Prefetch::Session(1), &[&dead]).await;
    let delivery = undertaker.next().await;
    assert_eq!(
        (body(&delivery).as_str(), &delivery.exchange, &delivery.routing_key),
        ("bad", &exchange, &queue)
    );
    let headers = &delivery.message.headers;
    assert_eq!(headers.get("x-first-death-queue").and_then(Value::as_str), Some(queue.as_str()));
    assert_eq!(headers.get("x-first-death-reason").and_then(Value::as_str), Some("rejected"));
}

/// A tag that was settled already, or never given, breaks nothing but perhaps its session.
pub async fn nonsense_is_harmless(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for nonsense in [
        vec![Settlement::Ack(1), Settlement::Ack(1)],
        vec![Settlement::Requeue(7), Settlement::Reject(u64::MAX)],
        vec![Settlement::AckThrough(u64::MAX), Settlement::AckThrough(0)],
        vec![],
    ] {
        send(&connection, &queue, "m").await;
        // A broker may end the session for it, and the connection with it, but never more.
        let careless = connect(fixture).await;
        let mut consumer = Consumer::new(&careless, Prefetch::Session(1), &[&queue]).await;
        consumer.next().await;
        let _ = consumer.session.settle(&nonsense).await;
        consumer.session.close().await;
        careless.close().await;
        connection.purge(&queue).await.unwrap();
    }
}

/// What waits is purged and counted; what somebody holds is not.
pub async fn purge_counts(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for number in 0..5 {
        send(&connection, &queue, number).await;
    }
    let mut consumer = Consumer::new(&connection, Prefetch::Session(2), &[&queue]).await;
    consumer.take(2).await;
    until_len(&connection, &queue, 3).await;
    assert_eq!(connection.purge(&queue).await, Ok(3));
    assert_eq!(connection.queue_len(&queue).await, Ok(0));
    consumer.session.close().await;
    until_len(&connection, &queue, 2).await;
}

/// The most urgent first, in order among equals; too high counts as the highest.
pub async fn priorities(fixture: &impl Fixture) {
    if !fixture.transport().capabilities().priorities {
        return;
    }
    let connection = connect(fixture).await;
    let name = fixture.name("q");
    declare_queue(&connection, Queue { max_priority: Some(5), ..Queue::new(&name) }).await;
    for (number, priority) in
        [None, Some(5), Some(1), Some(9), Some(1), Some(0), Some(5)].into_iter().enumerate()
    {
        let mut message = message(number);
        message.properties.priority = priority;
        connection.publish(&Address::queue(&name), message).await.unwrap();
    }
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&name]).await;
    let mut order = Vec::new();
    for _ in 0..7 {
        let delivery = consumer.next().await;
        order.push(body(&delivery));
        consumer.settle(&[Settlement::Ack(delivery.tag)]).await;
    }
    assert_eq!(order, ["1", "3", "6", "2", "4", "0", "5"]);
}
