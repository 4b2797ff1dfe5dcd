use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::BrokerUrl;
use celeriac_protocol::TaskMeta;
use celeriac_results::conformance::{Fixture, Stores, id};
use celeriac_results::{Error, RedisStore, ResultStore, Settings};

struct Redis;

pub fn open(url: &str, settings: Settings) -> Arc<RedisStore> {
    Arc::new(RedisStore::new(&BrokerUrl::parse(url).unwrap(), settings).unwrap())
}

#[async_trait]
impl Fixture for Redis {
    async fn open(&self, settings: Settings) -> Stores {
        let url = celeriac_testkit::redis().url(9);
        Stores { caller: open(&url, settings.clone()), worker: open(&url, settings) }
    }
}

celeriac_results::suite!(Redis);

fn cli(args: &[&str]) -> String {
    let args: Vec<_> = ["-n", "9"].iter().chain(args).copied().collect();
    celeriac_testkit::redis().cli(&args).trim().to_owned()
}

#[tokio::test]
async fn keys_and_expiry_are_celerys() {
    let url = celeriac_testkit::redis().url(9);
    let day = open(&url, Settings::default());
    let id = id();
    day.store(&TaskMeta::success(&id, 1), None).await.unwrap();
    let key = format!("celery-task-meta-{id}");
    let seconds: u32 = cli(&["TTL", &key]).parse().unwrap();
    assert!((86_000..=86_400).contains(&seconds), "{seconds}");
    day.close().await;

    for (global, prefix) in [("mine", "mine_"), ("mine:", "mine:")] {
        let global_keyprefix = Some(global.to_owned());
        let store = open(&url, Settings { expires: None, global_keyprefix, ..Settings::default() });
        store.store(&TaskMeta::success(&id, 1), None).await.unwrap();
        assert_eq!(cli(&["TTL", &format!("{prefix}celery-task-meta-{id}")]), "-1");
        assert_eq!(store.wait(&id).await.unwrap(), TaskMeta::success(&id, 1));
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_no_result_is_told_and_replaced() {
    let store = open(&celeriac_testkit::redis().url(9), Settings::default());
    for garbage in ["not json", "[1, 2]", "{}", r#"{"status": 5}"#] {
        let id = id();
        cli(&["SET", &format!("celery-task-meta-{id}"), garbage]);
        for outcome in [store.fetch(&id).await, store.wait(&id).await] {
            assert!(matches!(outcome, Err(Error::Invalid { .. })), "{garbage}: {outcome:?}");
        }
        store.store(&TaskMeta::success(&id, 1), None).await.unwrap();
        assert_eq!(store.fetch(&id).await.unwrap(), TaskMeta::success(&id, 1));
    }
    let id = id();
    cli(&["RPUSH", &format!("celery-task-meta-{id}"), "x"]);
    let outcome = store.fetch(&id).await;
    assert!(matches!(outcome, Err(Error::Invalid { .. })), "{outcome:?}");
    store.close().await;
}

/// Other writers order their keys as they like.
#[tokio::test]
async fn a_success_of_another_writer_stays() {
    let store = open(&celeriac_testkit::redis().url(9), Settings::default());
    for kept in [r#"{"result":"theirs","status":"SUCCESS"}"#, r#"{"status":"SUCCESS","result":"theirs"}"#] {
        let id = id();
        cli(&["SET", &format!("celery-task-meta-{id}"), kept]);
        store.store(&TaskMeta::success(&id, "ours"), None).await.unwrap();
        assert_eq!(store.fetch(&id).await.unwrap(), TaskMeta::success(&id, "theirs"));
    }
    store.close().await;
}

#[tokio::test]
async fn a_store_costs_one_command() {
    let server = celeriac_testkit::Redis::start();
    let store = open(&server.url(0), Settings::default());
    store.store(&TaskMeta::success(id(), 1), None).await.unwrap();
    server.cli(&["CONFIG", "RESETSTAT"]);
    let metas: Vec<_> = (0..100).map(|number| TaskMeta::success(id(), number)).collect();
    futures_util::future::try_join_all(metas.iter().map(|meta| store.store(meta, None))).await.unwrap();
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = |command: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")))?;
        line.split(',').next()?.parse::<u32>().ok()
    };
    // What the script calls is counted too; a round trip is what came over the connection.
    assert_eq!((calls("evalsha"), calls("eval"), calls("multi")), (Some(100), None, None), "{stats}");
    assert_eq!(
        (calls("get"), calls("setex"), calls("publish")),
        (Some(100), Some(100), Some(100)),
        "{stats}"
    );
    store.close().await;
}

/// Nobody stays subscribed to what nobody waits for.
#[tokio::test]
async fn subscriptions_end_with_their_waits() {
    let server = celeriac_testkit::Redis::start();
    let stores = Stores {
        caller: open(&server.url(0), Settings::default()),
        worker: open(&server.url(0), Settings::default()),
    };
    let channels =
        || server.cli(&["PUBSUB", "CHANNELS", "*"]).lines().filter(|line| !line.is_empty()).count();
    let metas: Vec<_> = (0..100).map(|number| TaskMeta::success(id(), number)).collect();
    let mut waits = Box::pin(futures_util::future::join_all(metas.iter().map(|meta| stores.wait(&meta.id))));
    let poll = async {
        while channels() < 100 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = &mut waits => panic!("ready before it was stored"),
        () = poll => {}
    }
    for meta in &metas[..50] {
        stores.store(meta).await.unwrap();
    }
    drop(waits);
    while channels() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    stores.close().await;
}
