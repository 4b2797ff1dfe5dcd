//! Where Redis is elsewhere in the end: sentinels and clusters.

use std::sync::Arc;

use celeriac_protocol::TaskMeta;
use celeriac_results::conformance::{Stores, id};
use celeriac_results::{RedisStore, Settings};
use celeriac_testkit::{Python, RedisCluster, Sentinels};

fn stores(urls: &str) -> Arc<Stores> {
    let open = || Arc::new(RedisStore::parse(urls, Settings::default()).unwrap());
    Arc::new(Stores { caller: open(), worker: open() })
}

/// Waits for a result that is stored only when something has happened meanwhile.
async fn waits_over(stores: &Arc<Stores>, happens: impl FnOnce() + Send + 'static) -> TaskMeta {
    let first = TaskMeta::success(id(), 1);
    stores.store(&first).await.unwrap();
    // Who waits listens by now.
    assert_eq!(stores.wait(&first.id).await, first);
    let meta = TaskMeta::success(id(), 2);
    let waiting = tokio::spawn({
        let (stores, id) = (stores.clone(), meta.id.clone());
        async move { stores.wait(&id).await }
    });
    tokio::task::spawn_blocking(happens).await.unwrap();
    stores.store(&meta).await.unwrap();
    assert_eq!(waiting.await.unwrap(), meta);
    meta
}

/// Prints a result, as Python sees it.
fn read(url: &str, options: &str, id: &str) -> String {
    let script = "import json, sys\nfrom celery import Celery\napp = Celery(backend=sys.argv[1])\n\
        app.conf.result_backend_transport_options = json.loads(sys.argv[2])\n\
        print(app.AsyncResult(sys.argv[3]).get(timeout=30))\n";
    Python::find().run(script, &[url, options, id], &[]).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_sentinels_is_waited_out() {
    let sentinels = Arc::new(Sentinels::start());
    let stores = stores(&sentinels.url(3, &format!("?master_name={}", Sentinels::MASTER)));
    let before = TaskMeta::success(id(), "before");
    stores.store(&before).await.unwrap();
    let failing = sentinels.clone();
    let after = waits_over(&stores, move || {
        failing.wait_until_replicated();
        failing.fail_over();
    })
    .await;
    assert_eq!(stores.wait(&before.id).await, before);
    let options = format!(r#"{{"master_name": "{}"}}"#, Sentinels::MASTER);
    assert_eq!(read(&sentinels.url(3, ""), &options, &after.id), "2");
    stores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moves_is_followed() {
    let cluster = Arc::new(RedisCluster::start());
    let stores = stores(&cluster.url(""));
    let moving = cluster.clone();
    waits_over(&stores, move || moving.fail_over()).await;
    let moving = cluster.clone();
    let last = waits_over(&stores, move || {
        moving.move_slot("{celeriac}", moving.replica(), moving.other());
    })
    .await;
    let options = r#"{"global_keyprefix": "{celeriac}"}"#;
    assert_eq!(read(&cluster.other().url(0), options, &last.id), "2");
    stores.close().await;
}
