//! How much may be unsettled.

use super::Fixture;
use super::support::*;
use crate::{Error, Prefetch, Settlement, Subscription};

/// Over all queues of a session.
pub async fn of_a_session(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [a, b] = queues(fixture, &connection, ["a", "b"]).await;
    for number in 0..5 {
        send(&connection, &a, number).await;
        send(&connection, &b, number).await;
    }
    let mut limited = Consumer::new(&connection, Prefetch::Session(3), &[&a, &b]).await;
    let deliveries = limited.take(3).await;
    let mut greedy = Consumer::new(&connection, Prefetch::Unlimited, &[&a, &b]).await;
    let others = greedy.take(7).await;
    limited.assert_idle();
    greedy.settle(&[Settlement::AckThrough(others.len() as u64)]).await;

    send(&connection, &a, "later").await;
    assert_eq!(greedy.bodies(1).await, ["later"]);
    greedy.session.close().await;
    // What the other gives back does not fit either, until there is room.
    limited.assert_idle();
    limited.settle(&[Settlement::Ack(deliveries[1].tag)]).await;
    assert_eq!(limited.bodies(1).await, ["later"]);
}

/// For each queue of a session.
pub async fn of_a_queue(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [a, b] = queues(fixture, &connection, ["a", "b"]).await;
    for number in 0..5 {
        send(&connection, &a, number).await;
        send(&connection, &b, number).await;
    }
    let mut limited = Consumer::new(&connection, Prefetch::Queue(2), &[&a, &b]).await;
    let deliveries = limited.take(4).await;
    assert_eq!(deliveries.iter().filter(|delivery| *delivery.queue == *a).count(), 2);
    let tag = deliveries.iter().find(|delivery| *delivery.queue == *b).expect("one of b").tag;
    limited.settle(&[Settlement::Ack(tag)]).await;
    assert_eq!(*limited.next().await.queue, *b);
    let mut greedy = Consumer::new(&connection, Prefetch::Unlimited, &[&a, &b]).await;
    greedy.take(5).await;
    limited.assert_idle();
}

/// No limit at all.
pub async fn unlimited(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for number in 0..500 {
        send(&connection, &queue, number).await;
    }
    let mut consumer = Consumer::new(&connection, Prefetch::Unlimited, &[&queue]).await;
    let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    assert_eq!(consumer.bodies(500).await, expected);
}

/// What is acknowledged may keep its place; it comes back to nobody.
pub async fn kept_places(fixture: &impl Fixture) {
    if !fixture.transport().capabilities().kept_places {
        return;
    }
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for number in 0..6 {
        send(&connection, &queue, number).await;
    }
    let mut consumer = Consumer::new(&connection, Prefetch::Session(2), &[&queue]).await;
    consumer.take(2).await;
    consumer.settle(&[Settlement::Keep(1), Settlement::Keep(2)]).await;
    let mut other = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    assert_eq!(other.bodies(1).await, ["2"]);
    consumer.assert_idle();
    consumer.settle(&[Settlement::Ack(2)]).await;
    assert_eq!(consumer.bodies(1).await, ["3"]);
    // The lower one keeps its place still; however it is settled, it is gone.
    consumer.settle(&[Settlement::Keep(3), Settlement::Requeue(1), Settlement::Requeue(3)]).await;
    assert_eq!(consumer.bodies(2).await, ["4", "5"]);
    consumer.settle(&[Settlement::Keep(4), Settlement::Keep(5)]).await;
    consumer.session.close().await;
    other.session.close().await;
    let mut rest = Consumer::new(&connection, Prefetch::Unlimited, &[&queue]).await;
    assert_eq!(rest.bodies(1).await, ["2"]);
    rest.assert_idle();
}

/// For a while nothing, however much is held; what needs no acknowledgement comes.
pub async fn nothing(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    if !fixture.transport().capabilities().kept_places {
        let refused = connection.open_session(Prefetch::Nothing).await;
        return assert!(matches!(refused, Err(Error::Unsupported { .. })));
    }
    let [queue, free] = queues(fixture, &connection, ["q", "free"]).await;
    for number in 0..3 {
        send(&connection, &queue, number).await;
    }
    let mut consumer = Consumer::new(&connection, Prefetch::Nothing, &[&queue]).await;
    consumer.session.subscribe(&Subscription { no_ack: true, ..Subscription::new(&free) }).await.unwrap();
    send(&connection, &free, "free").await;
    assert_eq!(consumer.bodies(1).await, ["free"]);
    consumer.assert_idle();
    consumer.session.set_prefetch(Prefetch::Session(1)).await.unwrap();
    assert_eq!(consumer.bodies(1).await, ["0"]);
    consumer.session.set_prefetch(Prefetch::Nothing).await.unwrap();
    consumer.settle(&[Settlement::Ack(2)]).await;
    // Somebody else gets what is there.
    let mut other = Consumer::new(&connection, Prefetch::Unlimited, &[&queue]).await;
    assert_eq!(other.bodies(2).await, ["1", "2"]);
    consumer.assert_idle();
}

/// More, then less.
pub async fn changed_later(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for number in 0..10 {
        send(&connection, &queue, number).await;
    }
    let mut consumer = Consumer::new(&connection, Prefetch::Session(2), &[&queue]).await;
    consumer.take(2).await;
    consumer.session.set_prefetch(Prefetch::Session(5)).await.unwrap();
    consumer.take(3).await;
    until_len(&connection, &queue, 5).await;
    consumer.session.set_prefetch(Prefetch::Session(1)).await.unwrap();
    // Four of five settled: still one unsettled, so nothing comes.
    consumer.settle(&[Settlement::AckThrough(4)]).await;
    let mut other = Consumer::new(&connection, Prefetch::Unlimited, &[&queue]).await;
    other.take(5).await;
    consumer.assert_idle();
}

/// What a queue had unsettled counts for the session, and no queue has a count of its own any more; and back.
pub async fn of_a_queue_then_of_the_session(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    for number in 0..10 {
        send(&connection, &queue, number).await;
    }
    let mut consumer = Consumer::new(&connection, Prefetch::Queue(2), &[&queue]).await;
    consumer.take(2).await;
    consumer.session.set_prefetch(Prefetch::Session(5)).await.unwrap();
    consumer.take(3).await;
    until_len(&connection, &queue, 5).await;
    consumer.settle(&[Settlement::AckThrough(5)]).await;
    consumer.take(5).await;
    consumer.settle(&[Settlement::AckThrough(10)]).await;
    consumer.session.set_prefetch(Prefetch::Queue(1)).await.unwrap();
    for number in 10..12 {
        send(&connection, &queue, number).await;
    }
    consumer.take(1).await;
    until_len(&connection, &queue, 1).await;
}
