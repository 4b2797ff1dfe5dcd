//! Servers that go away and come back.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{BrokerUrl, MemoryTransport, Transport};
use celeriac_protocol::TaskMeta;
use celeriac_results::conformance::{DEADLINE, Stores, id};
use celeriac_results::{Error, ResultStore, Settings};
use celeriac_testkit::{Redis, eventually, free_port};

use crate::{redis, rpc};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_comes_back_under_waits_and_stores() {
    let server = Arc::new(Redis::start());
    let open = || redis::open(&server.url(0), Settings::default());
    let stores = Arc::new(Stores { caller: open(), worker: open() });
    let metas: Vec<_> = (0..200).map(|number| TaskMeta::success(id(), number)).collect();

    let waits: Vec<_> = metas
        .iter()
        .map(|meta| {
            let (stores, id) = (Arc::clone(&stores), meta.id.clone());
            tokio::spawn(async move { stores.wait(&id).await })
        })
        .collect();
    stores.store(&metas[0]).await.unwrap();
    stores.wait(&metas[0].id).await;

    server.kill();
    let work: Vec<_> = metas[1..]
        .iter()
        .map(|meta| {
            let (stores, meta) = (Arc::clone(&stores), meta.clone());
            tokio::spawn(async move { stores.store(&meta).await })
        })
        .collect();
    tokio::task::yield_now().await;
    server.restart();
    for stored in work {
        stored.await.unwrap().unwrap();
    }
    for (seen, meta) in waits.into_iter().zip(&metas) {
        assert_eq!(seen.await.unwrap(), *meta);
    }
    stores.close().await;
}

/// A Redis that is full, has become a replica, has too many clients or still loads its data, is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_waited_for() {
    let server = Arc::new(Redis::start_slow_to_load());
    let store = redis::open(&server.url(0), Settings::default());
    let before = TaskMeta::success(id(), "before");
    store.store(&before, None).await.unwrap();
    let gone = free_port().to_string();
    for (begin, end) in [
        (&["CONFIG", "SET", "maxmemory", "1"][..], &["CONFIG", "SET", "maxmemory", "0"][..]),
        (&["REPLICAOF", "127.0.0.1", &gone], &["REPLICAOF", "NO", "ONE"]),
    ] {
        server.cli(begin);
        let refusals = || -> u64 {
            let errors = server.cli(&["INFO", "errorstats"]);
            let counts = errors.lines().filter(|line| !line.contains("NOSCRIPT"));
            counts.filter_map(|line| line.trim().rsplit('=').next()?.parse::<u64>().ok()).sum()
        };
        let before = refusals();
        let meta = TaskMeta::success(id(), 1);
        let storing = tokio::spawn({
            let (store, meta) = (store.clone(), meta.clone());
            async move { store.store(&meta, None).await }
        });
        eventually(DEADLINE, "it is refused", || (refusals() > before).then_some(()));
        server.cli(end);
        storing.await.unwrap().unwrap();
        assert_eq!(store.fetch(&meta.id).await.unwrap(), meta, "{begin:?}");
    }
    server.kill();
    let restarting = tokio::task::spawn_blocking({
        let server = server.clone();
        move || server.restart()
    });
    eventually(DEADLINE, "it loads", || server.answers("PING").contains("LOADING").then_some(()));
    assert_eq!(store.fetch(&before.id).await.unwrap(), before);
    restarting.await.unwrap();

    // One that this test asks by is let in; another store is not, until there is room.
    server.cli(&["CONFIG", "SET", "maxclients", "1"]);
    let late = redis::open(&server.url(0), Settings::default());
    let fetching = tokio::spawn({
        let (late, id) = (late.clone(), before.id.clone());
        async move { late.fetch(&id).await }
    });
    let rejected = || {
        let stats = server.answers("INFO stats");
        stats.contains("max number of clients").then_some(())
    };
    eventually(DEADLINE, "nobody else is let in", rejected);
    store.close().await;
    assert_eq!(fetching.await.unwrap().unwrap(), before);
    late.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_stays_away_is_told() {
    // Nothing listens there; the clock runs by itself while everything waits.
    let url = format!("redis://:secret@127.0.0.1:{}/0", celeriac_testkit::free_port());
    let store = redis::open(&url, Settings::default());
    for outcome in [
        store.store(&TaskMeta::success("x", 1), None).await.map(|()| TaskMeta::pending("x")),
        store.fetch("x").await,
        store.wait("x").await,
    ] {
        let error = outcome.unwrap_err();
        assert!(error.is_recoverable() && matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    store.close().await;
}

#[tokio::test]
async fn the_reply_queue_is_declared_again_after_a_loss() {
    let memory = MemoryTransport::new();
    let transport: Arc<dyn Transport> = Arc::new(memory.clone());
    let stores = rpc::stores(&transport, Settings::default());
    for round in 0..3 {
        let meta = TaskMeta::success(id(), round);
        stores.caller.expect(&meta.id).await.unwrap();
        stores.store(&meta).await.unwrap();
        assert_eq!(stores.wait(&meta.id).await, meta);
        memory.sever();
        // The loss is seen when nothing is consumed; a call that is sent before would be answered in vain.
        let connection = transport.connect().await.unwrap();
        let queue = stores.caller.reply_to().unwrap();
        let again = async {
            while connection.queue_len(&queue).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), again).await.expect("the queue came back");
    }
    stores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_cuts_every_connection() {
    let vhost = celeriac_testkit::rabbitmq().vhost();
    let stores = rpc::stores(&rpc::amqp(&vhost.url()), Settings::default());
    let meta = TaskMeta::success(id(), 1);
    stores.caller.expect(&meta.id).await.unwrap();
    stores.store(&meta).await.unwrap();
    assert_eq!(stores.wait(&meta.id).await, meta);
    celeriac_testkit::eventually(Duration::from_secs(60), "both connections are cut", || {
        (vhost.close_all_connections() > 0).then_some(())
    });
    // A reply to a queue that is not there yet is lost, as in Celery; so the worker of this test says it again.
    let meta = TaskMeta::success(id(), 2);
    stores.caller.expect(&meta.id).await.unwrap();
    let answer = async {
        loop {
            stores.store(&meta).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        seen = stores.wait(&meta.id) => assert_eq!(seen, meta),
        () = answer => {}
    }
    stores.close().await;
}

#[test]
fn urls_that_cannot_be_served_are_told() {
    for url in ["mongodb://u:secret@h/", "rpc://", "redis://u:secret@h/x", "redis://u:secret@h:0"] {
        let error = celeriac_results::open(url, Settings::default(), None).err().expect("an error");
        assert!(matches!(error, Error::Url { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(BrokerUrl::parse("redis://").is_ok());
}

#[tokio::test]
async fn no_store_is_an_error_only_for_who_asks() {
    for url in ["", "disabled://"] {
        let store = celeriac_results::open(url, Settings::default(), None).unwrap();
        store.store(&TaskMeta::success("x", 1), None).await.unwrap();
        store.expect("x").await.unwrap();
        let error = store.wait("x").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "No result backend is configured. Please see the documentation for more information."
        );
    }
}
