//! What becomes of a task by its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac_protocol::{Embed, Signature, State, Value};
use celeriac_worker::{Call, Failure, RetryOptions, Run, Shutdown, TaskError, TaskOptions};

use crate::support::{Rig, echo, eventually, failure, ints, prepared, task};

#[tokio::test]
async fn a_value_is_stored_and_the_message_settled() {
    for acks_late in [false, true] {
        let mut rig = Rig::new().with(echo());
        rig.settings.task_acks_late = acks_late;
        let worker = rig.start();
        rig.send("a", Call::new("echo", ints(&[7]))).await;
        let meta = rig.result("a").await;
        assert_eq!((meta.state, meta.result), (State::Success, Value::Int(7)));
        assert!(meta.date_done.is_some());
        worker.end(Shutdown::Warm).await.unwrap();
        assert_eq!((rig.len("celery").await, rig.len("dead").await), (0, 0));
    }
}

#[tokio::test]
async fn blocking_code_runs_on_a_thread_of_its_own() {
    let blocking = prepared("thread", |_, _| {
        Ok(Run::Blocking(Box::new(|| {
            std::thread::sleep(Duration::from_millis(1));
            Ok(Value::from(std::thread::current().name().unwrap_or_default()))
        })))
    });
    let rig = Rig::new().with(blocking);
    let worker = rig.start();
    let caller = std::thread::current().name().unwrap_or_default().to_owned();
    rig.send("a", Call::new("thread", Vec::new())).await;
    let meta = rig.result("a").await;
    assert_eq!(meta.state, State::Success);
    assert_ne!(meta.result, Value::from(caller));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_failure_is_stored_and_acked_unless_told_otherwise() {
    let fail = |options| {
        task("fail", options, |_, _| async {
            let module = Some("my.errors".to_owned());
            Err(TaskError::Failure(Failure { module, ..Failure::new("Broken", "it broke") }))
        })
    };
    for (options, dead) in [
        (TaskOptions::default(), 0),
        (TaskOptions { acks_late: Some(true), ..TaskOptions::default() }, 0),
        (
            TaskOptions {
                acks_late: Some(true),
                acks_on_failure_or_timeout: Some(false),
                ..TaskOptions::default()
            },
            1,
        ),
    ] {
        let rig = Rig::new().with(fail(options));
        let worker = rig.start();
        rig.send("a", Call::new("fail", Vec::new())).await;
        let meta = rig.result("a").await;
        assert_eq!(failure(&meta), ("Broken".to_owned(), "it broke".to_owned()));
        assert_eq!(meta.exception().unwrap().module.as_deref(), Some("my.errors"));
        assert!(meta.traceback.unwrap().contains("Broken: it broke"));
        worker.end(Shutdown::Warm).await.unwrap();
        assert_eq!((rig.len("celery").await, rig.len("dead").await), (0, dead));
    }
}

#[tokio::test]
async fn a_panic_fails_its_task_alone() {
    let panic = task("panic", TaskOptions::default(), |_, args| async move {
        panic!("no way {}", args.len());
    });
    let blocking = prepared("block", |_, _| Ok(Run::Blocking(Box::new(|| panic!("no way")))));
    let rig = Rig::new().with(panic).with(blocking).with(echo());
    let worker = rig.start();
    rig.send("a", Call::new("panic", ints(&[1]))).await;
    rig.send("b", Call::new("block", Vec::new())).await;
    rig.send("c", Call::new("echo", ints(&[1]))).await;
    assert_eq!(failure(&rig.result("a").await).1, "no way 1");
    assert_eq!(failure(&rig.result("b").await).1, "no way");
    assert_eq!(rig.result("c").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn retries_count_up_and_keep_the_message() {
    let flaky = task("flaky", TaskOptions::default(), |task, args| async move {
        assert_eq!(task.request().headers.other.get("x-mine"), Some(&Value::from("yes")));
        if i64::from(task.retries()) < args[0].as_i64().unwrap() {
            let cause = Some(Failure::new("OSError", "not yet"));
            let countdown = Some(Duration::from_millis(1));
            return Err(task.retry_with(RetryOptions { cause, countdown, ..RetryOptions::default() }));
        }
        Ok(Value::from(task.retries()))
    });
    let rig = Rig::new().with(flaky);
    let worker = rig.start();
    let mut call = Call::new("flaky", ints(&[2]));
    call.options.headers.insert("x-mine", "yes");
    rig.send("a", call.clone()).await;
    assert_eq!(rig.result("a").await.result, Value::Int(2));
    assert_eq!(worker.counters.retried.value(), 2);
    // The default is three retries: the cause of the last is the failure.
    call.args = ints(&[9]);
    rig.send("b", call).await;
    assert_eq!(failure(&rig.result("b").await), ("OSError".to_owned(), "not yet".to_owned()));
    assert_eq!(worker.counters.retried.value(), 5);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn autoretry_tries_again_until_no_retry_is_left() {
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    let options = TaskOptions {
        autoretry: true,
        max_retries: Some(2),
        retry_backoff: Some(Duration::from_millis(1)),
        ..TaskOptions::default()
    };
    let fail = task("fail", options, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err(TaskError::new("ValueError", "never")) }
    });
    let rig = Rig::new().with(fail);
    let worker = rig.start();
    rig.send("a", Call::new("fail", Vec::new())).await;
    assert_eq!(failure(&rig.result("a").await).0, "ValueError");
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_rejected_message_comes_again_or_goes_to_the_dead() {
    let options = TaskOptions { acks_late: Some(true), ..TaskOptions::default() };
    let reject = task("reject", options, |task, _| async move {
        let requeue = !task.request().redelivered;
        Err(TaskError::Reject { requeue, reason: "not here".to_owned() })
    });
    let rig = Rig::new().with(reject);
    let worker = rig.start();
    rig.send("a", Call::new("reject", Vec::new())).await;
    rig.wait_for_len("dead", 1).await;
    assert_eq!(worker.counters.rejected.value(), 2);
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(rig.len("celery").await, 0);
}

#[tokio::test]
async fn ignored_results_are_not_stored_but_errors_may_be() {
    let quiet = TaskOptions { ignore_result: Some(true), ..TaskOptions::default() };
    let loud = TaskOptions { store_errors_even_if_ignored: Some(true), ..quiet.clone() };
    let fail = |name, options| task(name, options, |_, _| async { Err(TaskError::new("ValueError", "no")) });
    let rig = Rig::new().with(fail("quiet", quiet)).with(fail("loud", loud)).with(echo());
    let worker = rig.start();
    let mut ignored = Call::new("echo", ints(&[1]));
    ignored.options.ignore_result = Some(true);
    rig.send("a", Call::new("quiet", Vec::new())).await;
    rig.send("b", ignored).await;
    rig.send("c", Call::new("loud", Vec::new())).await;
    assert_eq!(failure(&rig.result("c").await).0, "ValueError");
    worker.end(Shutdown::Warm).await.unwrap();
    use celeriac_results::ResultStore;
    assert_eq!(rig.store.fetch("a").await.unwrap().state, State::Pending);
    assert_eq!(rig.store.fetch("b").await.unwrap().state, State::Pending);
}

#[tokio::test]
async fn chains_callbacks_and_errbacks_are_sent() {
    let fail = task("fail", TaskOptions::default(), |_, _| async { Err(TaskError::new("KeyError", "k")) });
    let pair = task("pair", TaskOptions::default(), |task, args| async move {
        let parent = task.request().headers.parent_id.clone();
        Ok(Value::List(vec![Value::List(args), parent.into(), task.request().headers.root_id.clone().into()]))
    });
    let rig = Rig::new().with(echo()).with(fail).with(pair);
    let worker = rig.start();
    let signature = |id: &str, args: &[i64], immutable| {
        let mut signature = Signature::new("pair", ints(args));
        signature.options.insert("task_id", id);
        signature.immutable = immutable;
        signature
    };
    let mut call = Call::new("echo", ints(&[1]));
    call.embed = Embed {
        callbacks: vec![signature("linked", &[5], false), signature("immutable", &[6], true)],
        chain: vec![signature("last", &[3], false), signature("next", &[2], false)],
        ..Embed::default()
    };
    rig.send("a", call).await;
    let mut failing = Call::new("fail", Vec::new());
    failing.embed.errbacks = vec![signature("errback", &[], false)];
    rig.send("f", failing).await;

    let first = Value::List(vec![ints(&[1, 5]).into(), "a".into(), "a".into()]);
    assert_eq!(rig.result("linked").await.result, first);
    let first = Value::List(vec![ints(&[6]).into(), "a".into(), "a".into()]);
    assert_eq!(rig.result("immutable").await.result, first);
    let next = Value::List(vec![ints(&[1, 2]).into(), "a".into(), "a".into()]);
    assert_eq!(rig.result("next").await.result, next);
    let last = Value::List(vec![Value::List(vec![next, Value::Int(3)]), "next".into(), "a".into()]);
    assert_eq!(rig.result("last").await.result, last);
    let errback = Value::List(vec![Value::List(vec!["f".into()]), "f".into(), "f".into()]);
    assert_eq!(rig.result("errback").await.result, errback);
    assert_eq!(rig.result("a").await.children.len(), 3);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn started_is_stored_when_tracked() {
    use celeriac_results::ResultStore;
    let (go, gone) = tokio::sync::watch::channel(false);
    let wait = task("wait", TaskOptions::default(), move |_, _| {
        let mut gone = gone.clone();
        async move {
            gone.wait_for(|go| *go).await.unwrap();
            Ok(Value::Null)
        }
    });
    let mut rig = Rig::new().with(wait);
    rig.settings.task_track_started = true;
    let worker = rig.start();
    rig.send("a", Call::new("wait", Vec::new())).await;
    let meta = eventually("STARTED", || async {
        Some(rig.store.fetch("a").await.unwrap()).filter(|meta| meta.state == State::Started)
    })
    .await;
    assert!(meta.date_done.is_none());
    go.send_replace(true);
    assert_eq!(rig.result("a").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn what_can_never_follow_fails_its_task() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    let mut call = Call::new("echo", ints(&[1]));
    let mut follower = Signature::new("echo", Vec::new());
    follower.options.insert("exchange", "nowhere");
    follower.options.insert("routing_key", "x");
    call.embed.callbacks = vec![follower];
    rig.send("a", call).await;
    let (kind, text) = failure(&rig.result("a").await);
    assert!(text.contains("nowhere"), "{kind}: {text}");
    let mut chord = Call::new("echo", ints(&[1]));
    chord.embed.chain = vec![Signature {
        subtask_type: Some("chord".to_owned()),
        ..Signature::new("celery.chord", Vec::new())
    }];
    rig.send("b", chord).await;
    assert!(failure(&rig.result("b").await).1.contains("chord"));
    worker.end(Shutdown::Warm).await.unwrap();
}
