//! What goes in comes out.

use celeriac_protocol::codec::{Accept, Serializer};
use celeriac_protocol::result::{Exception, Extended};
use celeriac_protocol::{Map, TaskMeta, Value};

use super::{Fixture, id};
use crate::{Error, Settings};

/// Settings that write and read one serializer.
pub(super) fn settings(serializer: &str) -> Settings {
    Settings {
        serializer: Serializer::from_name(serializer).expect("a serializer's name"),
        accept: Accept::new([serializer]).expect("a serializer's name"),
        ..Settings::default()
    }
}

/// Values that stores like to break.
fn values() -> Vec<Value> {
    let map: Map =
        [("b", Value::from(1)), ("a", Value::Null), ("", "é \u{1F409} \0 \"\\".into())].into_iter().collect();
    vec![
        Value::Null,
        true.into(),
        i64::MIN.into(),
        u64::MAX.into(),
        0.1.into(),
        f64::INFINITY.into(),
        "line\nbreak \u{2028} \u{10FFFF}".into(),
        Value::Bytes(vec![0, 255, 128, 10]),
        Value::DateTime("2026-11-21T02:40:30.778324+00:00".to_owned()),
        Value::Date("2026-11-21".to_owned()),
        Value::Decimal("1.10".to_owned()),
        Value::Uuid("b8c2bd63-1600-458c-96ba-5c928216453f".to_owned()),
        Value::List(vec![Value::List(vec![]), Value::Map(Map::new()), 1.into()]),
        map.into(),
    ]
}

/// Results of every type come back as they were, NaN too.
pub async fn every_value_survives(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    for value in values() {
        let meta = TaskMeta::success(id(), value);
        stores.caller.expect(&meta.id).await.unwrap();
        stores.store(&meta).await.unwrap();
        assert_eq!(stores.wait(&meta.id).await, meta);
    }
    let nan = TaskMeta::success(id(), f64::NAN);
    stores.caller.expect(&nan.id).await.unwrap();
    stores.store(&nan).await.unwrap();
    assert!(stores.wait(&nan.id).await.result.as_f64().is_some_and(f64::is_nan));
    stores.close().await;
}

/// An error comes back with its class, module, arguments and traceback.
pub async fn exceptions_survive(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let exception = Exception {
        kind: "Outer.Inner".to_owned(),
        message: Value::List(vec!["no".into(), 7.into(), Value::Null]),
        module: Some("pkg.errors".to_owned()),
    };
    let traceback = "Traceback (most recent call last):\n  é\nOuter.Inner: no".to_owned();
    for meta in [
        TaskMeta::failure(id(), exception.clone(), Some(traceback)),
        TaskMeta::failure(id(), Exception { module: None, ..exception }, None),
        TaskMeta::revoked(id(), "terminated"),
    ] {
        stores.caller.expect(&meta.id).await.unwrap();
        stores.store(&meta).await.unwrap();
        let seen = stores.wait(&meta.id).await;
        assert_eq!(seen.exception(), meta.exception());
        assert_eq!(seen, meta);
    }
    stores.close().await;
}

/// Children, group, parent, date, `result_extended` and unknown keys come back, except where replies leave them out.
pub async fn every_field_survives(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let child = Value::List(vec![Value::List(vec!["child".into(), Value::Null]), Value::Null]);
    let base = TaskMeta { children: vec![child], ..TaskMeta::success(id(), 1) };
    let meta = TaskMeta {
        date_done: Some("2026-11-21T02:40:30.778324+00:00".to_owned()),
        group_id: Some("group".to_owned()),
        parent_id: Some("parent".to_owned()),
        extended: Some(Extended {
            name: Some("tasks.add".to_owned()),
            args: Value::List(vec![2.into(), Value::Bytes(vec![1])]),
            kwargs: Map::new().into(),
            worker: Some("w1@host".to_owned()),
            retries: Some(3),
            queue: Some("celery".to_owned()),
        }),
        other: [("stamped_headers", Value::List(vec!["s".into()])), ("s", "v".into())].into_iter().collect(),
        ..base.clone()
    };
    stores.caller.expect(&meta.id).await.unwrap();
    stores.store(&meta).await.unwrap();
    assert_eq!(stores.wait(&meta.id).await, if stores.replies() { base } else { meta });
    stores.close().await;
}

/// A megabyte comes back whole.
pub async fn large_results_survive(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let meta = TaskMeta::success(id(), "0123456789abcdef".repeat(1 << 16));
    stores.caller.expect(&meta.id).await.unwrap();
    stores.store(&meta).await.unwrap();
    assert!(stores.wait(&meta.id).await == meta, "a large result was changed");
    stores.close().await;
}

/// Ids are free text.
pub async fn odd_ids_survive(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    for id in ["a b", "é\u{1F409}", "'; DROP TABLE celeriac_result; --", "*", "x\ny"] {
        let meta = TaskMeta::success(format!("{id}{}", super::id()), 1);
        stores.caller.expect(&meta.id).await.unwrap();
        stores.store(&meta).await.unwrap();
        assert_eq!(stores.wait(&meta.id).await, meta);
    }
    stores.close().await;
}

/// `result_serializer` may be any.
pub async fn every_serializer_is_read_back(fixture: &dyn Fixture) {
    for serializer in ["json", "msgpack", "yaml"] {
        let stores = fixture.open(settings(serializer)).await;
        let meta = TaskMeta::success(id(), Value::List(vec![1.into(), "é".into(), Value::Bytes(vec![255])]));
        stores.caller.expect(&meta.id).await.unwrap();
        stores.store(&meta).await.unwrap();
        assert_eq!(stores.wait(&meta.id).await, meta, "{serializer}");
        stores.close().await;
    }
}

/// What `result_accept_content` leaves out is told, and never decoded.
pub async fn other_serializers_are_refused(fixture: &dyn Fixture) {
    let accept = Accept::new(["msgpack"]).expect("a serializer's name");
    let stores = fixture.open(Settings { accept, ..Settings::default() }).await;
    let id = id();
    stores.caller.expect(&id).await.unwrap();
    stores.store(&TaskMeta::success(&id, 1)).await.unwrap();
    let refused = stores.caller.wait(&id).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    stores.close().await;
}
