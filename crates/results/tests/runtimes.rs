//! A store that is used in one runtime after another: what it has started in one ends with it.

use std::time::Duration;

use celeriac_protocol::TaskMeta;
use celeriac_results::conformance::{DEADLINE, id};
use celeriac_results::{ResultStore, Settings};
use celeriac_testkit::{Redis, free_port};
use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::proxy::Proxy;
use crate::redis;

/// A runtime that does nothing by itself.
fn still() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Who asks for many is spawned, and may never have run.
#[test]
fn a_read_outlives_the_runtime_of_who_asks() {
    let server = Redis::start();
    let store = redis::open(&server.url(0), Settings::default());
    let first = still();
    assert!(first.block_on(async { store.fetch("unknown").now_or_never() }).is_none());
    let second = Runtime::new().unwrap();
    let fetching = second.spawn({
        let store = store.clone();
        async move { store.fetch("unknown").await }
    });
    drop(first);
    let seen = second.block_on(async { timeout(DEADLINE, fetching).await }).expect("an answer");
    assert_eq!(seen.unwrap().unwrap(), TaskMeta::pending("unknown"));
    second.block_on(store.close());
}

/// One wait that is over, one that goes on, and one that begins later.
#[test]
fn a_wait_outlives_the_runtime_of_who_listens() {
    let server = Redis::start();
    let open = || redis::open(&server.url(0), Settings::default());
    let (store, writer) = (open(), open());
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let metas: Vec<_> = (0..3).map(|number| TaskMeta::success(id(), number)).collect();
    second.block_on(writer.store(&metas[0], None)).unwrap();
    assert_eq!(first.block_on(store.wait(&metas[0].id)).unwrap(), metas[0]);
    let waiting = second.spawn({
        let (store, id) = (store.clone(), metas[1].id.clone());
        async move { store.wait(&id).await }
    });
    let listens = || server.cli(&["PUBSUB", "NUMSUB", &format!("celery-task-meta-{}", metas[1].id)]);
    celeriac_testkit::eventually(DEADLINE, "it is listened to", || {
        listens().split_whitespace().last()?.ends_with('1').then_some(())
    });
    first.shutdown_timeout(Duration::from_secs(10));
    second.block_on(writer.store(&metas[1], None)).unwrap();
    let seen = second.block_on(async { timeout(DEADLINE, waiting).await }).expect("a result");
    assert_eq!(seen.unwrap().unwrap(), metas[1]);

    second.shutdown_timeout(Duration::from_secs(10));
    let third = still();
    let waits = async { tokio::join!(store.wait(&metas[2].id), writer.store(&metas[2], None)) };
    let (seen, stored) = third.block_on(async { timeout(DEADLINE, waits).await }).expect("a result");
    stored.unwrap();
    assert_eq!(seen.unwrap(), metas[2]);
    third.block_on(async { tokio::join!(store.close(), writer.close()) });
}

/// Who waits for his result goes on with what another began to write.
#[test]
fn a_write_outlives_the_runtime_of_who_writes() {
    let server = Redis::start();
    let (port, first, second) = (free_port(), Runtime::new().unwrap(), Runtime::new().unwrap());
    let store = redis::open(&format!("redis://127.0.0.1:{port}/0"), Settings::default());
    let (held, waits) = (TaskMeta::success(id(), 1), TaskMeta::success(id(), 2));
    first.block_on(store.hold(&held, None)).unwrap();
    let storing = async {
        let mut storing = std::pin::pin!(store.store(&waits, None));
        assert!(storing.as_mut().now_or_never().is_none());
        tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
        let _proxy = Proxy::start(port, server.port()).await;
        timeout(DEADLINE, storing).await.expect("it is written").unwrap();
        assert_eq!(store.fetch(&held.id).await.unwrap(), held);
        store.close().await;
    };
    second.block_on(storing);
}
