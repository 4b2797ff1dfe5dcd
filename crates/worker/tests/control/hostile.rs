//! Requests that nobody should send.

use celeriac_protocol::control::ReplyTo;
use celeriac_protocol::{Map, Message, Properties, Value};
use celeriac_worker::Shutdown;

use super::client::{Client, error, ok, rig};
use crate::support::eventually;

fn raw(headers: Map, content_type: &str, body: impl Into<bytes::Bytes>) -> Message {
    Message {
        headers,
        properties: Properties {
            content_type: Some(content_type.to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            ..Properties::default()
        },
        body: body.into(),
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_counted_and_the_mailbox_lives_on() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let json = "application/json";
    let bad = [
        "not json".to_owned(),
        "[".repeat(100_000),
        "[]".to_owned(),
        "7".to_owned(),
        "{}".to_owned(),
        r#"{"method": 7}"#.to_owned(),
        r#"{"method": "ping", "arguments": [1]}"#.to_owned(),
        r#"{"method": "ping", "destination": 7}"#.to_owned(),
        r#"{"method": "ping", "ticket": {"a": 1}}"#.to_owned(),
        r#"{"method": "ping", "reply_to": "me"}"#.to_owned(),
        r#"{"method": "ping", "reply_to": {"exchange": "reply.celery.pidbox"}}"#.to_owned(),
        format!(r#"{{"method": "{}"}}"#, "x".repeat(1 << 20)),
    ];
    let mut count = bad.len() as u64;
    for body in bad {
        client.publish_raw(raw(Map::new(), json, body)).await;
    }
    client.publish_raw(raw(Map::new(), "application/x-python-serialize", vec![0x80, 4])).await;
    client.publish_raw(raw(Map::new(), json, vec![0xff, 0xfe])).await;
    count += 2;
    let odd = [("clock", "late".into()), ("expires", "soon".into())].into_iter().collect();
    client.publish_raw(raw(odd, json, r#"{"method": "ping"}"#)).await;
    assert_eq!(ok(&client.ask("ping", &[]).await), "pong");
    assert_eq!(worker.counters.invalid_control.value(), count);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn answers_go_to_the_reply_exchange_only() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let mut foreign = client.request("ping", &[]);
    foreign.reply_to = Some(ReplyTo { exchange: "nowhere".to_owned(), routing_key: "x".to_owned() });
    client.publish(foreign, None).await;
    let mut nobody = client.request("ping", &[]);
    nobody.reply_to.as_mut().unwrap().routing_key = "nobody".to_owned();
    client.publish(nobody, None).await;
    let mut huge = client.request("ping", &[]);
    huge.ticket = Some("t".repeat(1 << 20));
    client.publish(huge, None).await;
    assert_eq!(client.answers_before_the_next().await, 0);
    assert_eq!(worker.counters.invalid_control.value(), 2);
    worker.end(Shutdown::Warm).await.unwrap();
}

/// A command, its arguments, and how the error begins.
type Case = (&'static str, Vec<(&'static str, Value)>, &'static str);

#[tokio::test]
async fn arguments_of_wrong_types_are_told_and_do_no_harm() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let long = "x".repeat(100_000);
    let int = Value::Int;
    let cases: Vec<Case> = vec![
        ("pool_grow", vec![("n", int(-1))], "ValueError"),
        ("pool_grow", vec![("n", int(i64::MAX))], "ValueError"),
        (
            "pool_grow",
            vec![("n", "2".into())],
            "TypeError(\"'str' object cannot be interpreted as an integer\")",
        ),
        ("pool_shrink", vec![("n", int(-5))], "ValueError"),
        ("pool_shrink", vec![("n", 0.5.into())], "TypeError"),
        (
            "rate_limit",
            vec![("task_name", "echo".into()), ("rate_limit", Value::List(vec![int(1)]))],
            "TypeError",
        ),
        (
            "rate_limit",
            vec![("task_name", "echo".into()), ("rate_limit", int(-3))],
            "Invalid rate limit string",
        ),
        (
            "rate_limit",
            vec![("task_name", "echo".into()), ("rate_limit", long.as_str().into())],
            "Invalid rate",
        ),
        ("rate_limit", vec![("task_name", int(3)), ("rate_limit", "1/s".into())], "unknown task"),
        ("time_limit", vec![("task_name", "echo".into()), ("hard", "long".into())], "TypeError"),
        ("time_limit", vec![("task_name", "echo".into()), ("soft", (-1.0).into())], "ValueError"),
        ("time_limit", vec![("task_name", "echo".into()), ("hard", 1e300.into())], "ValueError"),
        ("revoke", vec![("task_id", int(7))], "TypeError"),
        ("revoke", vec![("task_id", Value::List(vec!["a".into(), int(7)]))], "TypeError"),
        (
            "revoke",
            vec![("task_id", "a".into()), ("terminate", true.into()), ("signal", int(9999))],
            "ValueError",
        ),
        (
            "revoke",
            vec![("task_id", "a".into()), ("terminate", true.into()), ("signal", "FOO".into())],
            "AttributeError",
        ),
        ("revoke_by_stamped_headers", vec![("headers", Value::List(vec![int(1)]))], "AttributeError"),
        (
            "revoke_by_stamped_headers",
            vec![("headers", [("k", Value::Null)].into_iter().collect::<Map>().into())],
            "TypeError",
        ),
        (
            "revoke_by_stamped_headers",
            vec![(
                "headers",
                [("k", Value::List(vec!["v".into(); 5000]))].into_iter().collect::<Map>().into(),
            )],
            "ValueError",
        ),
        ("add_consumer", vec![("queue", long.as_str().into())], "ValueError"),
        ("add_consumer", vec![("queue", "".into())], "ValueError"),
        ("add_consumer", vec![("queue", int(3))], "TypeError"),
        ("add_consumer", vec![("queue", "q".into()), ("exchange_type", "headers".into())], "ValueError"),
        ("add_consumer", vec![("queue", "q".into()), ("durable", "yes".into())], "TypeError"),
        ("cancel_consumer", vec![("queue", Value::Null)], "TypeError"),
        ("election", vec![("id", int(3)), ("topic", "task".into())], "TypeError"),
        ("hello", vec![("from_node", int(3))], "TypeError"),
        ("registered", vec![("taskinfoitems", Value::List(vec![int(3)]))], "TypeError"),
    ];
    for (method, arguments, expected) in cases {
        let answer = client.ask(method, &arguments).await;
        let told = error(&answer);
        assert!(told.starts_with(expected), "{method}: {told}");
        assert!(told.len() < 4096, "{method} repeats what it was told");
    }
    let stats = client.ask("stats", &[]).await;
    let pool = stats.as_map().unwrap().get("pool").unwrap().as_map().unwrap().clone();
    assert_eq!(pool.get("max-concurrency"), Some(&2.into()));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn so_many_ids_and_no_more_are_taken() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let ids: Vec<Value> = (0..60_000).map(|id| Value::from(id.to_string())).collect();
    let answer = client.ask("revoke", &[("task_id", ids.clone().into())]).await;
    assert!(ok(&answer).ends_with("'999', ...} flagged as revoked"), "{answer:?}");
    let revoked = client.ask("revoked", &[]).await;
    assert_eq!(revoked.as_list().map(<[_]>::len), Some(50_000));
    // An id that is too long is no task's.
    client.ask("revoke", &[("task_id", "x".repeat(100_000).into())]).await;
    assert_eq!(client.ask("query_task", &[("ids", ids.into())]).await, Value::Map(Map::new()));
    eventually("the last to be stored", || async {
        let meta = celeriac_results::ResultStore::fetch(&*rig.store, "49999").await.unwrap();
        meta.state.is_ready().then_some(())
    })
    .await;
    worker.end(Shutdown::Warm).await.unwrap();
}
