//! From an address to queues.

use std::sync::Arc;

use super::Fixture;
use super::support::*;
use crate::{
    Address, Binding, Connection, Exchange, ExchangeKind, Prefetch, Published, Queue, Settlement, Topology,
};

/// The routing key is the queue's name.
pub async fn by_the_default_exchange(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [a, b] = queues(fixture, &connection, ["a", "b"]).await;
    send(&connection, &a, "for a").await;
    send(&connection, &b, "for b").await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(10), &[&a]).await;
    let delivery = consumer.next().await;
    assert_eq!((body(&delivery).as_str(), delivery.tag, delivery.redelivered), ("for a", 1, false));
    assert_eq!((delivery.exchange.as_str(), &delivery.routing_key, &*delivery.queue), ("", &a, a.as_str()));
    until_len(&connection, &b, 1).await;
}

/// The routing key is the binding key.
pub async fn direct(fixture: &impl Fixture) {
    let (connection, x, [red, blue]) =
        ground(fixture, ExchangeKind::Direct, [("a", "red"), ("b", "blue")]).await;
    publish(&connection, &x, &["red", "green", "blue", "red"]).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Unlimited, &[&red]).await;
    let delivery = consumer.next().await;
    assert_eq!(
        (&delivery.exchange, delivery.routing_key.as_str(), &*delivery.queue),
        (&x, "red", red.as_str())
    );
    assert_eq!(consumer.bodies(1).await, ["red"]);
    let mut other = Consumer::new(&connection, Prefetch::Unlimited, &[&blue]).await;
    assert_eq!(other.bodies(1).await, ["blue"]);
    assert_eq!(connection.queue_len(&red).await, Ok(0));
    assert_eq!(connection.queue_len(&blue).await, Ok(0));
}

/// Patterns of words.
pub async fn topic(fixture: &impl Fixture) {
    let (connection, x, [star, hash, exact]) =
        ground(fixture, ExchangeKind::Topic, [("a", "worker.*"), ("b", "worker.#"), ("c", "worker.online")])
            .await;
    publish(&connection, &x, &["worker", "worker.online", "worker.a.b", "task.sent", "worker.end"]).await;
    for (queue, expected) in [
        (star, vec!["worker.online", "worker.end"]),
        (hash, vec!["worker", "worker.online", "worker.a.b", "worker.end"]),
        (exact, vec!["worker.online"]),
    ] {
        let mut consumer = Consumer::new(&connection, Prefetch::Unlimited, &[&queue]).await;
        assert_eq!(consumer.bodies(expected.len()).await, expected);
        assert_eq!(connection.queue_len(&queue).await, Ok(0));
    }
}

/// Every bound queue, whatever the key; also those that another process bound.
pub async fn fanout(fixture: &impl Fixture) {
    if !fixture.transport().capabilities().fanout_queues {
        return fanout_to_listeners(fixture).await;
    }
    let (connection, x, [a, b]) = ground(fixture, ExchangeKind::Fanout, [("a", "k"), ("b", "")]).await;
    let [unbound] = queues(fixture, &connection, ["c"]).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Unlimited, &[&a]).await;
    publish(&connect(fixture).await, &x, &["one", "two"]).await;
    assert_eq!(consumer.bodies(2).await, ["one", "two"]);
    until_len(&connection, &b, 2).await;
    assert_eq!(connection.queue_len(&unbound).await, Ok(0));
}

/// All who listen for a key that fits, from the moment they consume; nobody, where nobody does.
async fn fanout_to_listeners(fixture: &impl Fixture) {
    let bindings = [("a", "worker.#"), ("b", ""), ("c", "task.sent")];
    let (connection, x, [a, b, c]) = ground(fixture, ExchangeKind::Fanout, bindings).await;
    let other = connect(fixture).await;
    let send = async |key: &str| {
        let address = Address::exchange(&x, key).mandatory();
        other.publish(&address, message(key)).await.unwrap()
    };
    other
        .declare(&Topology {
            exchanges: vec![Exchange::new(&x, ExchangeKind::Fanout)],
            ..Topology::default()
        })
        .await
        .unwrap();
    assert_eq!(send("worker.online").await, Published::Returned);
    let mut patterns = Consumer::new(&connection, Prefetch::Session(2), &[&a]).await;
    let mut plain = Consumer::new(&connection, Prefetch::Session(5), &[&b, &c]).await;
    for key in ["worker.online", "", "worker.a.b", "task.sent", "worker.end"] {
        assert_eq!(send(key).await, Published::Accepted, "{key}");
    }
    assert_eq!(send("task.end").await, Published::Returned);
    assert_eq!(plain.bodies(2).await, ["", "task.sent"]);
    // One more binding while it is read.
    let bindings = vec![Binding::new(&c, &x, "task.end")];
    connection.declare(&Topology { bindings, ..Topology::default() }).await.unwrap();
    assert_eq!(send("task.end").await, Published::Accepted);
    assert_eq!(plain.bodies(1).await, ["task.end"]);
    // The prefetch count holds, and what comes again says so.
    let deliveries = patterns.take(2).await;
    assert_eq!(
        deliveries.iter().map(|delivery| delivery.routing_key.as_str()).collect::<Vec<_>>(),
        ["worker.online", "worker.a.b"]
    );
    patterns.assert_idle();
    patterns.settle(&[Settlement::Requeue(deliveries[0].tag)]).await;
    let again = patterns.next().await;
    assert_eq!((body(&again).as_str(), again.redelivered, again.tag), ("worker.online", true, 3));
    patterns.settle(&[Settlement::AckThrough(3)]).await;
    assert_eq!(patterns.bodies(1).await, ["worker.end"]);
    patterns.session.close().await;
    assert_eq!(send("worker.online").await, Published::Returned);
}

/// A queue with several bindings that fit gets a message once.
pub async fn once_a_queue(fixture: &impl Fixture) {
    let (connection, x, [queue, _]) =
        ground(fixture, ExchangeKind::Topic, [("a", "worker.#"), ("a", "#")]).await;
    publish(&connection, &x, &["worker.online", "end"]).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Unlimited, &[&queue]).await;
    assert_eq!(consumer.bodies(2).await, ["worker.online", "end"]);
}

/// A mandatory message that no queue takes is returned; another is dropped silently.
pub async fn mandatory(fixture: &impl Fixture) {
    let (connection, x, [queue]) = ground(fixture, ExchangeKind::Direct, [("a", "red")]).await;
    let publish = async |address: Address| connection.publish(&address, message("m")).await.unwrap();
    assert_eq!(publish(Address::exchange(&x, "red").mandatory()).await, Published::Accepted);
    assert_eq!(publish(Address::exchange(&x, "green").mandatory()).await, Published::Returned);
    assert_eq!(publish(Address::exchange(&x, "green")).await, Published::Accepted);
    assert_eq!(publish(Address::queue(fixture.name("none")).mandatory()).await, Published::Returned);
    assert_eq!(publish(Address::queue(fixture.name("none"))).await, Published::Accepted);
    until_len(&connection, &queue, 1).await;
    let missing = connection.publish(&Address::exchange(fixture.name("none"), "red"), message("m")).await;
    assert!(missing.is_err(), "{missing:?}");
    assert_eq!(publish(Address::exchange(&x, "red").mandatory()).await, Published::Accepted);
}

/// A mailbox under several keys of a topic exchange: what it was bound to is returned once its consumer is gone, or its
/// connection, and reaches the next that binds the same.
pub async fn mailboxes(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let exchange = fixture.name("x");
    let mailbox = |name: &str, keys: &[&str]| Topology {
        exchanges: vec![Exchange::new(&exchange, ExchangeKind::Topic)],
        queues: vec![mailbox(&fixture.name(name))],
        bindings: keys.iter().map(|key| Binding::new(fixture.name(name), &exchange, *key)).collect(),
    };
    let ask = async |key: &str| {
        let address = Address::exchange(&exchange, key).mandatory();
        connection.publish(&address, message(key)).await.unwrap()
    };
    let (first, second) = (fixture.name("first"), fixture.name("second"));
    connection.declare(&mailbox("first", &["beat", "change", "node.1"])).await.unwrap();
    assert_eq!(ask("lead").await, Published::Returned);
    let mut reader = Consumer::new(&connection, Prefetch::Queue(10), &[&first]).await;
    // One more key while it is read.
    connection.declare(&mailbox("first", &["lead"])).await.unwrap();
    for key in ["node.1", "lead", "beat", "change"] {
        assert_eq!(ask(key).await, Published::Accepted, "{key}");
    }
    for key in ["node.2", "node", "node.1.x", "beats", ""] {
        assert_eq!(ask(key).await, Published::Returned, "{key}");
    }
    assert_eq!(reader.bodies(4).await, ["node.1", "lead", "beat", "change"]);
    reader.session.unsubscribe(&first).await.unwrap();
    until_gone(&connection, &first).await;
    assert_eq!(ask("lead").await, Published::Returned);

    let owner = connect(fixture).await;
    owner.declare(&mailbox("second", &["beat", "lead"])).await.unwrap();
    let mut reader = Consumer::new(&owner, Prefetch::Queue(10), &[&second]).await;
    assert_eq!(ask("lead").await, Published::Accepted);
    assert_eq!(reader.bodies(1).await, ["lead"]);
    // Without a word, as when a process dies.
    drop((reader, owner));
    until_gone(&connection, &second).await;
    assert_eq!(ask("lead").await, Published::Returned);

    connection.declare(&mailbox("first", &["lead"])).await.unwrap();
    let mut reader = Consumer::new(&connection, Prefetch::Queue(10), &[&first]).await;
    assert_eq!(ask("beat").await, Published::Returned);
    assert_eq!(ask("lead").await, Published::Accepted);
    assert_eq!(reader.bodies(1).await, ["lead"]);
}

/// A queue of one reader, which goes with him.
fn mailbox(name: &str) -> Queue {
    Queue { durable: false, exclusive: true, auto_delete: true, ..Queue::new(name) }
}

async fn ground<const N: usize>(
    fixture: &impl Fixture,
    kind: ExchangeKind,
    bindings: [(&str, &str); N],
) -> (Arc<dyn Connection>, String, [String; N]) {
    let connection = connect(fixture).await;
    let names = queues(fixture, &connection, bindings.map(|(queue, _)| queue)).await;
    let exchange = fixture.name("x");
    let topology = Topology {
        exchanges: vec![Exchange::new(&exchange, kind)],
        bindings: bindings.map(|(queue, key)| Binding::new(fixture.name(queue), &exchange, key)).into(),
        ..Topology::default()
    };
    connection.declare(&topology).await.unwrap();
    (connection, exchange, names)
}

/// One message for each key, which is also its body.
async fn publish(connection: &Arc<dyn Connection>, exchange: &str, keys: &[&str]) {
    for key in keys {
        connection.publish(&Address::exchange(exchange, *key), message(key)).await.unwrap();
    }
}
