//! Times that tasks wait for, and limits.

use std::time::Duration;

use celeriac_protocol::codec::Serializer;
use celeriac_protocol::{Body, State, TaskHeaders, TaskMessage, Value};
use celeriac_worker::{Call, Run, Shutdown, TaskOptions};
use chrono::Utc;

use crate::support::{Rig, echo, failure, ints, prepared, task};

#[tokio::test]
async fn a_task_waits_for_its_time_and_keeps_nobody_out() {
    let now =
        task("now", TaskOptions::default(), |_, _| async { Ok(Value::Int(Utc::now().timestamp_micros())) });
    let mut rig = Rig::new().with(now).with(echo());
    rig.settings.concurrency = 1;
    rig.settings.prefetch_multiplier = 1;
    let worker = rig.start();
    let mut due = Vec::new();
    for id in ["a", "b", "c"] {
        let mut call = Call::new("now", Vec::new());
        let eta = Utc::now() + chrono::Duration::milliseconds(300);
        call.options.eta = Some(eta);
        rig.send(id, call).await;
        due.push((id, eta));
    }
    // One place in the window, and three wait: this one still comes through at once.
    rig.send("d", Call::new("echo", ints(&[1]))).await;
    rig.result("d").await;
    assert!(Utc::now() < due[0].1 || rig.result("a").await.state == State::Success);
    for (id, eta) in due {
        let ran = rig.result(id).await.result.as_i64().unwrap();
        assert!(ran >= eta.timestamp_micros(), "{id} ran early");
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_task_years_away_goes_back_when_the_worker_ends() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let mut call = Call::new("echo", ints(&[1]));
    call.options.countdown = Some(Duration::from_secs(60 * 60 * 24 * 365 * 200));
    rig.send("far", call).await;
    rig.send("near", Call::new("echo", ints(&[1]))).await;
    rig.result("near").await;
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(rig.len("celery").await, 1);
}

#[tokio::test]
async fn an_expired_task_is_revoked() {
    let rig = crate::control::client::rig();
    // Without the property `expiration`, by which the broker itself would drop it.
    let headers = TaskHeaders { expires: Some(Utc::now()), ..TaskHeaders::new("echo", "a") };
    let message = TaskMessage::new(headers, &Body::default(), Serializer::Json, None).unwrap();
    rig.publish(message.into_message()).await;
    let worker = rig.start();
    let meta = rig.result("a").await;
    assert_eq!(meta.state, State::Revoked);
    assert_eq!(meta.exception().unwrap().kind, "TaskRevokedError");
    assert_eq!(worker.counters.expired.value(), 1);
    let mut client = crate::control::client::Client::open(&rig).await;
    assert_eq!(client.ask_json("revoked", "{}").await, "[]", "its header says so by itself");
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!((rig.len("celery").await, rig.len("dead").await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_hard_limit_ends_an_async_task() {
    let options = TaskOptions { time_limit: Some(Duration::from_secs(30)), ..TaskOptions::default() };
    let hang = task("hang", options, |_, _| std::future::pending());
    let rig = Rig::new().with(hang);
    let worker = rig.start();
    rig.send("a", Call::new("hang", Vec::new())).await;
    assert_eq!(failure(&rig.result("a").await), ("TimeLimitExceeded".to_owned(), "30".to_owned()));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_soft_limit_ends_who_does_not_listen_and_tells_who_does() {
    let options = TaskOptions { soft_time_limit: Some(Duration::from_millis(500)), ..TaskOptions::default() };
    let deaf = task("deaf", options.clone(), |_, _| std::future::pending());
    let tidy = task("tidy", options, |task, _| async move {
        task.soft_time_limit().await;
        assert!(task.is_over_soft_time_limit());
        Ok(Value::from("tidied"))
    });
    let rig = Rig::new().with(deaf).with(tidy);
    let worker = rig.start();
    rig.send("a", Call::new("deaf", Vec::new())).await;
    rig.send("b", Call::new("tidy", Vec::new())).await;
    assert_eq!(failure(&rig.result("a").await), ("SoftTimeLimitExceeded".to_owned(), "0.5".to_owned()));
    assert_eq!(rig.result("b").await.result, Value::from("tidied"));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn the_message_s_limit_goes_before_the_task_s() {
    let hang = prepared("hang", |_, _| Ok(Run::Async(Box::pin(std::future::pending()))));
    let rig = Rig::new().with(hang);
    let worker = rig.start();
    let mut call = Call::new("hang", Vec::new());
    call.options.time_limit = Some(Duration::from_millis(20));
    rig.send("a", call).await;
    assert_eq!(failure(&rig.result("a").await).1, "0.02");
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_blocking_task_past_its_limit_frees_its_slot() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Arc::new(std::sync::Mutex::new(gone));
    let block = prepared("block", move |_, _| {
        let gone = gone.clone();
        Ok(Run::Blocking(Box::new(move || {
            let _ = gone.lock().unwrap().recv();
            Ok(Value::Null)
        })))
    });
    let mut rig = Rig::new().with(block).with(echo());
    rig.settings.concurrency = 1;
    let worker = rig.start();
    let mut call = Call::new("block", Vec::new());
    call.options.time_limit = Some(Duration::from_millis(20));
    rig.send("a", call).await;
    assert_eq!(failure(&rig.result("a").await).0, "TimeLimitExceeded");
    rig.send("b", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("b").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
    drop(go);
}
