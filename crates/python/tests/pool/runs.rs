//! Tasks that run to their end.

use celeriac_protocol::Value;
use celeriac_worker::{Call, Shutdown};

use super::Rig;

fn text<'a>(fields: &'a celeriac_protocol::Map, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name}: {fields:?}"))
}

#[tokio::test]
async fn a_success_is_stored_by_python_and_told_by_us() {
    let mut rig = Rig::start(1).await;
    rig.send("a", "add", vec![2.into(), 3.into()]).await;
    assert!(rig.stored("a", "SUCCESS").await.contains("\"result\": 5"));
    rig.monitor.event("a", "task-started").await;
    let told = rig.monitor.event("a", "task-succeeded").await;
    assert_eq!(text(&told, "result"), "5");
    assert!(told.get("runtime").and_then(Value::as_f64).is_some_and(|runtime| runtime > 0.0));
    assert_eq!((rig.len("celery").await, rig.counters.succeeded.value()), (0, 1));
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn failures_and_retries_are_told_with_their_exceptions() {
    let mut rig = Rig::start(1).await;
    rig.send("f", "fail", vec!["bad".into()]).await;
    assert!(rig.stored("f", "FAILURE").await.contains("ValueError"));
    let told = rig.monitor.event("f", "task-failed").await;
    assert_eq!(text(&told, "exception"), "ValueError('bad')");
    assert!(text(&told, "traceback").starts_with("Traceback"));
    rig.send("r", "again", Vec::new()).await;
    rig.stored("r", "RETRY").await;
    let told = rig.monitor.event("r", "task-retried").await;
    assert_eq!(text(&told, "exception"), "KeyError('gone')");
    assert_eq!((rig.counters.failed.value(), rig.counters.retried.value()), (1, 1));
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_task_is_told_what_celery_tells_it() {
    let rig = Rig::start(1).await;
    let mut call = Call::new("app.about", Vec::new());
    call.options.headers.insert("own", "value");
    rig.call("about", call).await;
    let stored = rig.stored("about", "SUCCESS").await;
    for part in [
        r#""about", "test@here", {"exchange": "", "routing_key": "celery", "priority": null, "redelivered": false}"#,
        r#""own": "value""#,
        r#""()""#,
    ] {
        assert!(stored.contains(part), "{part} in {stored}");
    }
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_thousand_short_tasks_run_once_each() {
    let rig = Rig::start_with(2, |settings| settings.prefetch_multiplier = 100).await;
    for number in 0..1000i64 {
        rig.send(&number.to_string(), "add", vec![number.into(), 1.into()]).await;
    }
    rig.wait("all to succeed", || (rig.counters.succeeded.value() == 1000).then_some(())).await;
    for number in [0, 499, 999] {
        let result = format!("\"result\": {}", number + 1);
        assert!(rig.stored(&number.to_string(), "SUCCESS").await.contains(&result));
    }
    assert_eq!((rig.counters.started.value(), rig.len("celery").await), (1000, 0));
    let stats = rig.executor.stats();
    assert_eq!((stats.processes.len(), rig.executor.load()), (2, 0));
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn the_pool_grows_shrinks_and_begins_anew() {
    let rig = Rig::start(1).await;
    let pids = async |count: usize| {
        rig.wait("the children", || Some(rig.executor.stats().processes).filter(|pids| pids.len() == count))
            .await
    };
    let first = pids(1).await;
    rig.executor.resize(3);
    assert!(pids(3).await.contains(&first[0]));
    rig.executor.resize(1);
    let left = pids(1).await;
    rig.executor.restart();
    let fresh = rig.wait("another child", || {
        Some(rig.executor.stats().processes).filter(|pids| pids.len() == 1 && *pids != left)
    });
    fresh.await;
    rig.send("a", "add", vec![1.into(), 1.into()]).await;
    rig.stored("a", "SUCCESS").await;
    rig.end(Shutdown::Warm).await;
}
