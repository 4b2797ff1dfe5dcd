//! A message comes out as it went in.

use bytes::Bytes;
use celeriac_protocol::{Map, Message, Properties, Value};

use super::Fixture;
use super::support::*;
use crate::{Address, Prefetch};

/// Headers of every type that all brokers' formats have.
pub async fn headers_of_every_type(fixture: &impl Fixture) {
    let nested: Map =
        [("deep", Value::from(vec![Value::Int(1), Value::Null, Value::from("x")]))].into_iter().collect();
    let headers: Map = [
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("zero", Value::Int(0)),
        ("min", Value::Int(i64::MIN)),
        ("max", Value::Int(i64::MAX)),
        ("float", Value::Float(-1.5e-7)),
        ("whole float", Value::Float(2.0)),
        ("text", Value::from("Grüße \u{1f980} \"quoted\" \0 \n")),
        ("empty", Value::from("")),
        ("list", Value::List(Vec::new())),
        ("dict", Value::Map(nested)),
    ]
    .into_iter()
    .collect();
    round_trip(fixture, Message { headers, ..Message::default() }).await;
}

/// Every basic property, and none. The user id is left out: brokers check it.
pub async fn every_property(fixture: &impl Fixture) {
    round_trip(fixture, Message::default()).await;
    let text = |text: &str| Some(text.to_owned());
    let properties = Properties {
        content_type: text("application/json"),
        content_encoding: text("utf-8"),
        delivery_mode: Some(2),
        priority: Some(0),
        correlation_id: text("0f7b4c9a-5a4e-4ab0-9a2b-5f5e8cf11a01"),
        reply_to: text("an.answer"),
        expiration: text("3600000"),
        message_id: text("m-1"),
        timestamp: Some(1_795_228_817),
        kind: text("kind"),
        user_id: None,
        app_id: text("celeriac"),
    };
    round_trip(fixture, Message { properties, ..Message::default() }).await;
}

/// Empty, binary and large bodies.
pub async fn bodies_of_every_size(fixture: &impl Fixture) {
    let binary: Vec<u8> = (0..=255).cycle().take(10 << 20).collect();
    for size in [0, 1, 2, 3, 255, 4096, 70_000, binary.len()] {
        let body = Bytes::copy_from_slice(binary.get(..size).unwrap_or_default());
        round_trip(fixture, Message { body, ..Message::default() }).await;
    }
}

async fn round_trip(fixture: &impl Fixture, message: Message) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    connection.publish(&Address::queue(&queue), message.clone()).await.unwrap();
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&queue]).await;
    let delivery = consumer.next().await;
    consumer.settle(&[crate::Settlement::Ack(delivery.tag)]).await;
    assert_eq!(delivery.message.headers, message.headers);
    assert_eq!(delivery.message.properties, message.properties);
    assert!(delivery.message.body == message.body, "another body of {} bytes", delivery.message.body.len());
    connection.close().await;
}
