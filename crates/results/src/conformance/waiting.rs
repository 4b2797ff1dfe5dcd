//! Waiting calls: none misses its result, none disturbs another.

use std::sync::Arc;

use celeriac_protocol::TaskMeta;
use futures_util::future::{join_all, try_join_all};
use tokio::time::timeout;

use super::{DEADLINE, Fixture, id};
use crate::Settings;

/// A result that is there ends a wait at once, also the second.
pub async fn waits_after_ready(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let meta = TaskMeta::success(id(), 1);
    stores.caller.expect(&meta.id).await.unwrap();
    stores.store(&meta).await.unwrap();
    assert_eq!(stores.wait(&meta.id).await, meta);
    assert_eq!(stores.wait(&meta.id).await, meta);
    assert_eq!(stores.caller.fetch(&meta.id).await.unwrap(), meta);
    stores.close().await;
}

/// A result that comes at any moment of a wait ends it.
pub async fn waits_before_ready(fixture: &dyn Fixture) {
    let stores = Arc::new(fixture.open(Settings::default()).await);
    for round in 0..50 {
        let meta = TaskMeta::success(id(), round);
        stores.caller.expect(&meta.id).await.unwrap();
        let (waiter, id) = (Arc::clone(&stores), meta.id.clone());
        let waiting = tokio::spawn(async move { waiter.wait(&id).await });
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        stores.store(&meta).await.unwrap();
        assert_eq!(waiting.await.unwrap(), meta);
    }
    stores.close().await;
}

/// `STARTED` and `RETRY` are no results.
pub async fn unready_states_do_not_end_a_wait(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let meta = TaskMeta::success(id(), 1);
    stores.caller.expect(&meta.id).await.unwrap();
    stores.store(&TaskMeta::started(&meta.id, 1, "w1@host")).await.unwrap();
    let work = async {
        for pid in 2..20 {
            stores.store(&TaskMeta::started(&meta.id, pid, "w1@host")).await.unwrap();
        }
        stores.store(&meta).await.unwrap();
    };
    let (seen, ()) = tokio::join!(stores.wait(&meta.id), work);
    assert_eq!(seen, meta);
    stores.close().await;
}

/// A task may be waited for many times over.
pub async fn many_waiters_of_one_task(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let meta = TaskMeta::success(id(), 1);
    stores.caller.expect(&meta.id).await.unwrap();
    let waits = join_all((0..500).map(|_| stores.wait(&meta.id)));
    let (seen, stored) = tokio::join!(waits, stores.store(&meta));
    stored.unwrap();
    assert!(seen.iter().all(|seen| *seen == meta));
    stores.close().await;
}

/// Who stops waiting takes nothing from those who go on, nor from those who come later.
pub async fn a_dropped_wait_leaves_the_others(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    for _ in 0..20 {
        let meta = TaskMeta::success(id(), 1);
        stores.caller.expect(&meta.id).await.unwrap();
        let mut others = Box::pin(stores.wait(&meta.id));
        for _ in 0..3 {
            // Polled once or more, then dropped.
            tokio::select! {
                biased;
                _ = &mut others => panic!("ready before it was stored"),
                _ = stores.wait(&meta.id) => panic!("ready before it was stored"),
                () = tokio::task::yield_now() => {}
            }
        }
        stores.store(&meta).await.unwrap();
        assert_eq!(others.await, meta);
        assert_eq!(stores.wait(&meta.id).await, meta);
    }
    stores.close().await;
}

/// Thousands of tasks are waited for while thousands are stored, and each gets its own result.
pub async fn many_tasks_at_once(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    let metas: Vec<_> = (0..5_000).map(|number| TaskMeta::success(id(), number)).collect();
    try_join_all(metas.iter().map(|meta| stores.caller.expect(&meta.id))).await.unwrap();
    let work = async {
        for some in metas.chunks(500) {
            try_join_all(some.iter().map(|meta| stores.store(meta))).await.unwrap();
        }
    };
    let waits = join_all(metas.iter().map(|meta| stores.wait(&meta.id)));
    let (seen, ()) = timeout(2 * DEADLINE, async { tokio::join!(waits, work) }).await.expect("all results");
    assert!(seen == metas, "a task got another's result");
    stores.close().await;
}
