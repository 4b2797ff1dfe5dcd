//! Results that wait for a Redis that is away.

use celeriac_protocol::{State, TaskMeta};
use celeriac_results::conformance::id;
use celeriac_results::{Error, ResultStore, Retry, Settings};
use celeriac_testkit::Redis;
use futures_util::FutureExt;
use tokio::runtime::Runtime;

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

/// Who reads waits for Redis if he wants to, until the store is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_wait_when_told_to() {
    let server = Redis::start();
    let meta = TaskMeta::success(id(), 1);
    let retry = Retry { always: true, ..Retry::default() };
    let store = redis::open(&server.url(0), Settings { retry, ..Settings::default() });
    store.store(&meta, None).await.unwrap();
    assert_eq!(store.fetch(&meta.id).await.unwrap(), meta);
    server.stop();
    let (asked, waits) = (store.clone(), store.clone());
    let (id, unknown) = (meta.id.clone(), "unknown".to_owned());
    let asked = tokio::spawn(async move { asked.fetch(&id).await });
    server.restart();
    assert_eq!(asked.await.unwrap().unwrap(), meta);
    let waits = tokio::spawn(async move { waits.wait(&unknown).await });
    tokio::task::yield_now().await;
    store.close().await;
    assert!(waits.await.unwrap().is_err());
}
