//! Results that are asked for at the same time, on Redis.

use celeriac_protocol::{State, TaskMeta};
use celeriac_results::conformance::id;
use celeriac_results::{Error, ResultStore, Settings};
use celeriac_testkit::Redis;
use futures_util::future::join_all;

use crate::redis;

fn calls(server: &Redis, command: &str) -> u32 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or_default()
}

/// Many that are fetched or waited for cost one command, and one subscription where they are not ready.
#[tokio::test]
async fn many_cost_one_command() {
    let server = Redis::start();
    let store = redis::open(&server.url(0), Settings::default());
    let metas: Vec<_> = (0..400).map(|number| TaskMeta::success(id(), number)).collect();
    let (ready, later) = metas.split_at(200);
    join_all(ready.iter().map(|meta| store.store(meta, None))).await;
    server.cli(&["CONFIG", "RESETSTAT"]);
    let fetched = join_all(metas.iter().map(|meta| store.fetch(&meta.id))).await;
    for (meta, fetched) in ready.iter().zip(&fetched) {
        assert_eq!(fetched.as_ref().unwrap(), meta);
    }
    assert!(fetched[200..].iter().all(|meta| meta.as_ref().unwrap().state == State::Pending));
    assert!((1..=4).contains(&calls(&server, "mget")) && calls(&server, "get") == 0);
    server.cli(&["CONFIG", "RESETSTAT"]);

    let mut waits = std::pin::pin!(join_all(metas.iter().map(|meta| store.wait(&meta.id))));
    let look = async {
        while calls(&server, "mget") < 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = &mut waits => panic!("ready before all were stored"),
        () = look => {}
    }
    // On a busy machine some of them may be late.
    assert!(calls(&server, "mget") <= 5);
    assert_eq!((calls(&server, "get"), calls(&server, "subscribe")), (0, 1));
    let writer = redis::open(&server.url(0), Settings::default());
    join_all(later.iter().map(|meta| writer.store(meta, None))).await;
    let seen: Vec<_> = waits.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(seen, metas);
    store.close().await;
    writer.close().await;
}

/// What is wrong with one is not wrong with the others.
#[tokio::test]
async fn each_has_its_own_answer() {
    let server = Redis::start();
    let store = redis::open(&server.url(0), Settings::default());
    let (good, bad) = (TaskMeta::success(id(), 1), id());
    store.store(&good, None).await.unwrap();
    server.cli(&["SET", &format!("celery-task-meta-{bad}"), "not json"]);
    let (good_seen, bad_seen) = tokio::join!(store.fetch(&good.id), store.fetch(&bad));
    assert_eq!(good_seen.unwrap(), good);
    assert!(matches!(bad_seen, Err(Error::Invalid { .. })), "{bad_seen:?}");
    store.close().await;
}
