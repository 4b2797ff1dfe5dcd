//! Many messages, counted exactly.

use std::collections::HashSet;

use super::Fixture;
use super::support::*;
use crate::{Prefetch, Settlement};

/// Eight tasks that publish 500 messages each on one connection.
pub async fn concurrent_publishers_lose_nothing(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let (connection, queue) = (connection.clone(), queue.clone());
            tokio::spawn(async move {
                for number in 0..500 {
                    send(&connection, &queue, format!("{publisher} {number}")).await;
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    until_len(&connection, &queue, 4000).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(100), &[&queue]).await;
    let mut last = [-1; 8];
    for _ in 0..4000 {
        let delivery = consumer.next().await;
        let body = body(&delivery);
        let (publisher, number) = body.split_once(' ').expect("two numbers");
        let (publisher, number): (usize, i32) = (publisher.parse().unwrap(), number.parse().unwrap());
        assert_eq!(number, last[publisher] + 1, "each publisher's messages come in order");
        last[publisher] = number;
        consumer.settle(&[Settlement::Ack(delivery.tag)]).await;
    }
    until_len(&connection, &queue, 0).await;
}

/// Ten thousand messages, published and consumed at the same time, each once.
pub async fn ten_thousand_arrive_once(fixture: &impl Fixture) {
    const COUNT: usize = 10_000;
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let (connection, queue) = (connection.clone(), queue.clone());
            tokio::spawn(async move {
                for number in (publisher..COUNT).step_by(8) {
                    send(&connection, &queue, number).await;
                }
            })
        })
        .collect();
    let receiver = connect(fixture).await;
    let mut consumer = Consumer::new(&receiver, Prefetch::Session(200), &[&queue]).await;
    let mut seen = HashSet::new();
    while seen.len() < COUNT {
        let delivery = consumer.next().await;
        assert!(seen.insert(body(&delivery)), "twice: {}", body(&delivery));
        if delivery.tag % 50 == 0 || seen.len() == COUNT {
            consumer.settle(&[Settlement::AckThrough(delivery.tag)]).await;
        }
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    receiver.close().await;
    until_len(&connection, &queue, 0).await;
}

/// What one task publishes in turn comes in that order.
pub async fn order_is_kept(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(10), &[&queue]).await;
    let sending = tokio::spawn(async move {
        for number in 0..1000 {
            send(&connection, &queue, number).await;
        }
        connection
    });
    for number in 0..1000 {
        let delivery = consumer.next().await;
        assert_eq!(body(&delivery), number.to_string());
        consumer.settle(&[Settlement::Ack(delivery.tag)]).await;
    }
    sending.await.unwrap();
}

/// Question and answer, one at a time, between two connections: each has to wake the other at once. With a second a
/// question this would not end in time.
pub async fn ping_pong(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [questions, answers] = queues(fixture, &connection, ["questions", "answers"]).await;
    let mut asker = Consumer::new(&connection, Prefetch::Session(1), &[&answers]).await;
    let other = connect(fixture).await;
    let mut answerer = Consumer::new(&other, Prefetch::Session(1), &[&questions]).await;
    let answering = tokio::spawn(async move {
        for _ in 0..200 {
            let question = answerer.next().await;
            send(&other, &answers, body(&question)).await;
            answerer.settle(&[Settlement::Ack(question.tag)]).await;
        }
        other.close().await;
    });
    for number in 0..200 {
        send(&connection, &questions, number).await;
        let answer = asker.next().await;
        assert_eq!(body(&answer), number.to_string());
        asker.settle(&[Settlement::Ack(answer.tag)]).await;
    }
    answering.await.unwrap();
}

/// Sessions that open, ack a little and close while messages keep coming: what they did not ack is there for the
/// last one, each message once.
pub async fn hasty_sessions_lose_nothing(fixture: &impl Fixture) {
    const COUNT: usize = 2000;
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let publishing = tokio::spawn({
        let (connection, queue) = (connection.clone(), queue.clone());
        async move {
            for number in 0..COUNT {
                send(&connection, &queue, number).await;
            }
        }
    });
    let mut seen = HashSet::new();
    for _ in 0..50 {
        let mut consumer = Consumer::new(&connection, Prefetch::Session(20), &[&queue]).await;
        let deliveries = consumer.take(5).await;
        let acked = deliveries.get(..3).expect("five");
        assert!(acked.iter().all(|delivery| seen.insert(body(delivery))), "twice");
        let acks: Vec<_> = acked.iter().map(|delivery| Settlement::Ack(delivery.tag)).collect();
        consumer.settle(&acks).await;
        consumer.session.close().await;
    }
    publishing.await.unwrap();
    let mut last = Consumer::new(&connection, Prefetch::Unlimited, &[&queue]).await;
    while seen.len() < COUNT {
        assert!(seen.insert(body(&last.next().await)), "twice");
    }
    assert_eq!(connection.queue_len(&queue).await, Ok(0));
}
