//! Messages that cannot be understood, or do not fit.

use bytes::Bytes;
use celeriac_protocol::{Map, Message, Properties, State, Value};
use celeriac_worker::{ArgumentError, Call, Shutdown};

use crate::support::{Rig, echo, failure, ints, prepared};

fn message(headers: &[(&'static str, Value)], content_type: &str, body: impl Into<Bytes>) -> Message {
    Message {
        headers: headers.iter().cloned().collect::<Map>(),
        properties: Properties {
            content_type: Some(content_type.to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            ..Properties::default()
        },
        body: body.into(),
    }
}

fn named(id: &str) -> Vec<(&'static str, Value)> {
    vec![("task", "echo".into()), ("id", id.into())]
}

#[tokio::test]
async fn what_makes_no_sense_goes_to_the_dead_and_the_worker_lives_on() {
    let json = "application/json";
    let with = |id: &str, key: &'static str, value: Value| [named(id), vec![(key, value)]].concat();
    let deep = "[".repeat(100_000);
    let bad = [
        // No task at all.
        message(&[], json, "{}"),
        message(&[], json, "not json"),
        message(&[], "image/png", vec![0x89, 0x50]),
        message(&[], "", ""),
        message(&[("task", Value::Int(3)), ("id", "x".into())], json, "[[], {}, {}]"),
        message(&[("task", "echo".into())], json, "[[], {}, {}]"),
        // Headers of wrong types.
        message(&with("h1", "eta", "tomorrow".into()), json, "[[], {}, {}]"),
        message(&with("h2", "expires", "9999999-99-99".into()), json, "[[], {}, {}]"),
        message(&with("h3", "retries", (-1i64).into()), json, "[[], {}, {}]"),
        message(&with("h4", "timelimit", "long".into()), json, "[[], {}, {}]"),
        message(&with("h5", "compression", "application/x-nothing".into()), json, "[[], {}, {}]"),
        message(&with("h6", "compression", "application/x-gzip".into()), json, "[[], {}, {}]"),
        // Bodies that are not what they should be.
        message(&named("b1"), json, "[[], {}"),
        message(&named("b2"), json, "[1, 2]"),
        message(&named("b3"), json, "{\"args\": []}"),
        message(&named("b4"), json, "[3, {}, {}]"),
        message(&named("b5"), json, vec![0xff, 0xfe, 0x00]),
        message(&named("b6"), json, deep),
        message(&named("b7"), "application/x-python-serialize", vec![0x80, 0x04]),
        message(&named("b8"), "application/x-yaml", "[[], {}, {}]"),
        message(&named("b9"), "", ""),
    ];
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let count = bad.len() as u64;
    for message in bad {
        rig.publish(message).await;
    }
    rig.wait_for_len("dead", count).await;
    assert_eq!(worker.counters.invalid.value(), count);
    for id in ["b1", "b2", "b5", "b6", "b7", "b8"] {
        assert_eq!(failure(&rig.result(id).await).0, "InvalidTaskError", "{id}");
    }
    rig.send("good", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("good").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(rig.len("celery").await, 0);
}

#[tokio::test]
async fn an_unregistered_task_is_told_to_its_caller() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    rig.send("a", Call::new("no.such.task", Vec::new())).await;
    assert_eq!(failure(&rig.result("a").await), ("NotRegistered".to_owned(), "'no.such.task'".to_owned()));
    rig.wait_for_len("dead", 1).await;
    assert_eq!(worker.counters.unregistered.value(), 1);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_a_type_error() {
    for acks_late in [false, true] {
        let mut rig = Rig::new();
        rig.settings.task_acks_late = acks_late;
        let picky = prepared("picky", |_, _| Err(ArgumentError::new("picky() takes none")));
        let rig = rig.with(picky);
        let worker = rig.start();
        rig.send("a", Call::new("picky", ints(&[1]))).await;
        assert_eq!(
            failure(&rig.result("a").await),
            ("TypeError".to_owned(), "picky() takes none".to_owned())
        );
        rig.wait_for_len("dead", 1).await;
        worker.end(Shutdown::Warm).await.unwrap();
    }
}

#[tokio::test]
async fn a_large_body_is_no_trouble() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let text = "x".repeat(10 << 20);
    rig.send("a", Call::new("echo", vec![Value::from(text.as_str())])).await;
    assert_eq!(rig.result("a").await.result, Value::from(text));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_panic_while_arguments_are_read_fails_its_task_alone() {
    let fussy = prepared("fussy", |_, _| panic!("cannot read that"));
    let mut rig = Rig::new().with(fussy).with(echo());
    rig.settings.concurrency = 1;
    let worker = rig.start();
    for id in ["a", "b"] {
        rig.send(id, Call::new("fussy", ints(&[1]))).await;
        assert_eq!(failure(&rig.result(id).await).0, "TypeError");
    }
    rig.wait_for_len("dead", 2).await;
    rig.send("c", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("c").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}
