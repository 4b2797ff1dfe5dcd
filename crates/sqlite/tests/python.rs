//! Python's kombu on the same file, by `sqla+sqlite`.

use std::path::Path;

use celeriac_broker::{Prefetch, Settlement};
use celeriac_protocol::Value;
use celeriac_testkit::{Python, TempDir};

use crate::support::*;

/// `put N` messages into the queue `q`, `get N`, or `count` those that wait.
const KOMBU: &str = r#"
import sys
from kombu import Connection
path, *orders = sys.argv[1:]
with Connection('sqla+sqlite:///' + path) as connection:
    queue = connection.SimpleQueue('q')
    for order in orders:
        what, _, number = order.partition(' ')
        if what == 'put':
            for i in range(int(number)):
                queue.put({'number': i}, headers={'h': [1, None, 'ü']}, priority=i % 3)
        elif what == 'get':
            for i in range(int(number)):
                message = queue.get(timeout=30)
                print(message.body if isinstance(message.body, str) else message.body.decode(), message.headers)
                message.ack()
        else:
            print(queue.qsize())
    queue.close()
"#;

fn kombu(file: &Path, orders: &[&str]) -> Vec<String> {
    let mut args = vec![file.to_str().unwrap()];
    args.extend(orders);
    Python::find().run(KOMBU, &args, &[]).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn python_sends_into_its_own_new_file() {
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    kombu(&file, &["put 3"]);
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    assert_eq!(connection.queue_len("q").await, Ok(3));
    let (session, mut inbox) = consume(&connection, Prefetch::Session(1), "q").await;
    for number in 0..3 {
        let delivery = next(&mut inbox).await;
        assert_eq!(delivery.message.body, format!("{{\"number\": {number}}}"));
        assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("q", "q"));
        assert!(!delivery.redelivered);
        let header = delivery.message.headers.get("h").cloned();
        assert_eq!(header, Some(Value::List(vec![Value::Int(1), Value::Null, Value::from("ü")])));
        assert_eq!(delivery.message.properties.content_type.as_deref(), Some("application/json"));
        session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    }
    assert_eq!(kombu(&file, &["count"]), ["0"]);
}

/// The file is ours and somebody consumes already: a foreign write wakes him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_wakes_who_waits() {
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    let (session, mut inbox) = consume(&connection, Prefetch::Session(4), "q").await;
    let path = file.clone();
    let python = tokio::task::spawn_blocking(move || kombu(&path, &["put 100"]));
    for number in 0..100 {
        let delivery = next(&mut inbox).await;
        assert_eq!(delivery.message.body, format!("{{\"number\": {number}}}"));
        session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    }
    python.await.unwrap();
}

#[tokio::test]
async fn python_receives() {
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    for number in 0..3 {
        send(&connection, "q", format!("[{number}]")).await;
    }
    assert_eq!(
        kombu(&file, &["count", "get 3", "count"]),
        ["3", "[0] {'h': 'ü'}", "[1] {'h': 'ü'}", "[2] {'h': 'ü'}", "0"]
    );
    assert_eq!(connection.queue_len("q").await, Ok(0));
}

/// Both consume: what one holds the other does not get, and what Python left behind harms nobody.
#[tokio::test]
async fn both_consume_one_queue() {
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    for number in 0..4 {
        send(&connection, "q", format!("[{number}]")).await;
    }
    let (session, mut inbox) = consume(&connection, Prefetch::Session(1), "q").await;
    assert_eq!(next(&mut inbox).await.message.body, "[0]");
    assert_eq!(kombu(&file, &["get 1", "put 1"]), ["[1] {'h': 'ü'}"]);
    session.settle(&[Settlement::Requeue(1)]).await.unwrap();
    let delivery = next(&mut inbox).await;
    assert_eq!((&delivery.message.body[..], delivery.redelivered), (&b"[0]"[..], true));
    session.close().await;
    assert_eq!(kombu(&file, &["get 1", "count"]), ["[0] {'h': 'ü'}", "3"]);
    let (session, mut inbox) = consume(&connection, Prefetch::Session(1), "q").await;
    for expected in ["[2]", "[3]", "{\"number\": 0}"] {
        let delivery = next(&mut inbox).await;
        assert_eq!(delivery.message.body, expected);
        session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    }
    assert_eq!(kombu(&file, &["count"]), ["0"]);
}
