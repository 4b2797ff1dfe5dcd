//! In which order messages are served.

use std::collections::BTreeMap;

use celeriac_broker::{Address, Binding, Exchange, ExchangeKind, Prefetch, Queue, Settlement, Topology};

use crate::support::*;

/// kombu's steps: the lowest number first, in order within a step.
#[tokio::test]
async fn the_lowest_step_is_served_first() {
    let connection = connect(&celeriac_testkit::redis().fresh_url()).await;
    declare(&connection, "q").await;
    let priorities = [Some(9), Some(0), None, Some(7), Some(3), Some(5), Some(8), Some(200)];
    for (number, priority) in priorities.into_iter().enumerate() {
        connection.publish(&Address::queue("q"), message(number, priority)).await.unwrap();
    }
    let (session, mut inbox) = consume(&connection, Prefetch::Session(1), &["q"]).await;
    let mut order = Vec::new();
    for tag in 1..=8 {
        order.push(body(&next(&mut inbox).await));
        session.settle(&[Settlement::Ack(tag)]).await.unwrap();
    }
    assert_eq!(order, ["1", "2", "4", "5", "3", "6", "0", "7"]);
}

/// The first 20 of three queues of 100 each, taken one at a time and ten at a time.
async fn shares(query: &str, prefetch: u16) -> BTreeMap<String, usize> {
    let connection = connect(&format!("{}?{query}", celeriac_testkit::redis().fresh_url())).await;
    for queue in ["b", "a", "c"] {
        declare(&connection, queue).await;
        for number in 0..100 {
            send(&connection, queue, number).await;
        }
    }
    let (session, mut inbox) = consume(&connection, Prefetch::Session(prefetch), &["b", "a", "c"]).await;
    let mut shares = BTreeMap::new();
    for _ in 0..20 {
        let delivery = next(&mut inbox).await;
        *shares.entry(delivery.queue.to_string()).or_default() += 1;
        session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    }
    shares
}

#[tokio::test]
async fn queues_are_served_evenly_or_in_order() {
    for prefetch in [1, 9] {
        // What was taken before all three were subscribed to is of the first.
        let even = shares("", prefetch).await;
        assert!(even.len() == 3 && even.values().all(|share| (3..=14).contains(share)), "{even:?}");
    }
    let sorted = shares("queue_order_strategy=sorted", 1).await;
    assert!(sorted.get("a") >= Some(&18) && !sorted.contains_key("c"), "{sorted:?}");
    let given = shares("queue_order_strategy=priority", 1).await;
    assert_eq!(given, BTreeMap::from([("b".to_owned(), 20)]));
}

/// Two transports on one database that share nothing, by a prefix.
#[tokio::test]
async fn prefixes_keep_apart() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let (one, other) = (connect(&format!("{url}?global_keyprefix=one:")).await, connect(&url).await);
    declare(&one, "q").await;
    declare(&other, "q").await;
    let (_session, mut inbox) = consume(&one, Prefetch::Session(5), &["q"]).await;
    send(&other, "q", "theirs").await;
    send(&one, "q", "ours").await;
    assert_eq!(body(&next(&mut inbox).await), "ours");
    assert_eq!(other.queue_len("q").await, Ok(1));
    let keys = ask(server, database(&url), &["KEYS", "one:*"]);
    for key in ["one:unacked", "one:_kombu.binding.q", "one:celeriac.queues"] {
        assert!(keys.contains(key), "{keys}");
    }
}

/// A message in any list wakes who waits: with a second for each this would not end in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_wakes() {
    let url = celeriac_testkit::redis().fresh_url();
    let (one, other) = (connect(&url).await, connect(&url).await);
    declare(&one, "q").await;
    let (session, mut inbox) = consume(&one, Prefetch::Session(1), &["q"]).await;
    let rounds = async {
        for number in 0..400 {
            let priority = Some([9, 0, 6, 9][number % 4]);
            other.publish(&Address::queue("q"), message(number, priority)).await.unwrap();
            let delivery = next(&mut inbox).await;
            assert_eq!(body(&delivery), number.to_string());
            session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, rounds).await.expect("it took too long");
}

/// Redis cuts off a socket that hears channels when it is owed 32 MB: large messages come a few at a time.
#[tokio::test]
async fn large_messages_come_one_after_the_other() {
    let url = celeriac_testkit::redis().fresh_url();
    let (one, other) = (connect(&url).await, connect(&url).await);
    let news = Topology {
        exchanges: vec![Exchange::new("news", ExchangeKind::Fanout)],
        queues: vec![Queue { auto_delete: true, ..Queue::new("ear") }],
        bindings: vec![Binding::new("ear", "news", "")],
    };
    declare(&one, "q").await;
    one.declare(&news).await.unwrap();
    let large = "x".repeat(3 << 19);
    for number in 0..40 {
        send(&other, "q", format!("{number} {large}")).await;
    }
    let (session, mut inbox) = consume(&one, Prefetch::Session(64), &["ear", "q"]).await;
    for number in 0..40 {
        let delivery = next(&mut inbox).await;
        assert!(body(&delivery).starts_with(&format!("{number} ")) && !delivery.redelivered);
        session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    }
}
