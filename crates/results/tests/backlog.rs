//! Results that wait for a Redis that is away.

use std::time::Duration;

use celeriac_protocol::result::Exception;
use celeriac_protocol::{State, TaskMeta};
use celeriac_results::conformance::id;
use celeriac_results::{Error, ResultStore, Retry, Settings};
use celeriac_testkit::{Redis, free_port};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::runtime::Runtime;

use crate::proxy::Proxy;
use crate::redis;

/// What is held goes on at once, and is written in its order; who stores waits behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_written_in_order_when_redis_is_back() {
    let server = Redis::start();
    let store = redis::open(&server.url(0), Settings::default());
    let ids: Vec<_> = (0..300).map(|_| id()).collect();
    store.hold(&TaskMeta::started(&ids[0], 1, "a@b"), None).await.unwrap();
    server.kill();
    for id in &ids {
        store.hold(&TaskMeta::started(id, 1, "a@b"), None).await.unwrap();
        store.hold(&TaskMeta { state: State::Failure, ..TaskMeta::success(id, 1) }, None).await.unwrap();
    }
    let last = TaskMeta::success(id(), 2);
    let mut stored = std::pin::pin!(store.store(&last, None));
    assert!(stored.as_mut().now_or_never().is_none());
    server.restart();
    stored.await.unwrap();
    for id in &ids {
        assert_eq!(store.fetch(id).await.unwrap().state, State::Failure);
    }
    assert_eq!(store.fetch(&last.id).await.unwrap(), last);
    store.close().await;
}

/// The threads of a worker's tasks are gone before its store is closed.
#[test]
fn what_is_held_outlives_the_threads_that_held_it() {
    let server = Redis::start();
    let (tasks, rest) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let open = || redis::open(&server.url(0), Settings::default());
    let (store, meta) = (open(), TaskMeta::success(id(), 1));
    server.kill();
    tasks.block_on(store.hold(&meta, None)).unwrap();
    tasks.shutdown_background();
    server.restart();
    rest.block_on(store.close());
    assert_eq!(rest.block_on(open().fetch(&meta.id)).unwrap(), meta);
}

/// Memory has an end: past it one waits as for what is not held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_has_bounds() {
    let server = Redis::start();
    let store = redis::open(&server.url(0), Settings::default());
    store.store(&TaskMeta::success(id(), 0), None).await.unwrap();
    server.kill();
    let megabyte = "x".repeat(1 << 20);
    let mut ids = Vec::new();
    let last = loop {
        let meta = TaskMeta::success(id(), megabyte.as_str());
        ids.push(meta.id.clone());
        let mut held = Box::pin({
            let store = store.clone();
            async move { store.hold(&meta, None).await }
        });
        // The first is tried for a while.
        if ids.len() == 1 {
            held.await.unwrap();
        } else if held.as_mut().now_or_never().is_none() {
            break held;
        }
    };
    assert_eq!(ids.len(), 65);
    server.restart();
    last.await.unwrap();
    store.store(&TaskMeta::success(id(), 0), None).await.unwrap();
    for id in &ids {
        assert_eq!(store.fetch(id).await.unwrap().state, State::Success);
    }
    store.close().await;
}

/// What is never written is told to who waits; a store that is closed keeps nobody.
#[tokio::test(start_paused = true)]
async fn what_is_never_written_is_given_up() {
    // Nothing listens there; the clock runs by itself while everything waits.
    let url = format!("redis://127.0.0.1:{}/0", celeriac_testkit::free_port());
    for retry in [Retry { limit: Some(1), ..Retry::default() }, Retry::default()] {
        let store = redis::open(&url, Settings { retry, ..Settings::default() });
        store.hold(&TaskMeta::success("held", 1), None).await.unwrap();
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.store(&TaskMeta::success("waits", 1), None).await }
        });
        tokio::task::yield_now().await;
        if retry.limit.is_none() {
            store.close().await;
            let late = store.hold(&TaskMeta::success("late", 1), None).await;
            assert!(matches!(late, Err(Error::Unavailable { .. })), "{late:?}");
        }
        let answer = waiting.await.unwrap();
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
        store.close().await;
    }
}

/// Who reads waits for Redis if he wants to, until it is there or the store is closed.
#[tokio::test(start_paused = true)]
async fn reads_wait_when_told_to() {
    // Nothing listens there yet; the clock runs by itself while everything waits.
    let port = free_port();
    let open = |always| {
        let retry = Retry { always, ..Retry::default() };
        redis::open(&format!("redis://127.0.0.1:{port}/0"), Settings { retry, ..Settings::default() })
    };
    let impatient = open(false);
    for outcome in [impatient.fetch("x").await, impatient.wait("x").await] {
        assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    }
    let (patient, closed) = (open(true), open(true));
    let mut reads = std::pin::pin!(join_all([patient.fetch("x"), patient.fetch("y")]));
    let mut in_vain = std::pin::pin!(join_all([closed.fetch("x"), closed.wait("x")]));
    tokio::select! {
        outcomes = &mut reads => panic!("{outcomes:?}"),
        outcomes = &mut in_vain => panic!("{outcomes:?}"),
        () = tokio::time::sleep(Duration::from_secs(3600)) => {}
    }
    closed.close().await;
    for outcome in in_vain.await {
        assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    }
    let server = Redis::start();
    tokio::time::resume();
    let _proxy = Proxy::start(port, server.port()).await;
    for (outcome, id) in reads.await.into_iter().zip(["x", "y"]) {
        assert_eq!(outcome.unwrap(), TaskMeta::pending(id));
    }
    patient.close().await;
}

/// What waited in one worker comes after what another one wrote of the same task: its end stays.
#[tokio::test(start_paused = true)]
async fn what_was_held_replaces_no_end() {
    let (server, port) = (Redis::start(), free_port());
    let late = redis::open(&format!("redis://127.0.0.1:{port}/0"), Settings::default());
    let ids: Vec<_> = (0..2).map(|_| id()).collect();
    let error = Exception::new("ValueError", "builtins", "it broke");
    for id in &ids {
        late.hold(&TaskMeta::started(id, 1, "a@b"), None).await.unwrap();
    }
    let retried = TaskMeta::retry(&ids[0], error.clone(), None);
    late.hold(&retried, None).await.unwrap();
    tokio::time::resume();
    let store = redis::open(&server.url(0), Settings::default());
    let failed = TaskMeta::failure(&ids[1], error, None);
    store.store(&failed, None).await.unwrap();
    let _proxy = Proxy::start(port, server.port()).await;
    // It is written last.
    late.store(&TaskMeta::success(id(), 1), None).await.unwrap();
    for meta in [retried, failed] {
        assert_eq!(store.fetch(&meta.id).await.unwrap(), meta);
    }
    // What runs again, and says so in time, is seen.
    let again = TaskMeta::started(&ids[1], 1, "a@b");
    late.hold(&again, None).await.unwrap();
    assert_eq!(store.fetch(&ids[1]).await.unwrap(), again);
    store.close().await;
    late.close().await;
}
