use std::sync::Arc;

use async_trait::async_trait;
use celeriac_amqp::AmqpTransport;
use celeriac_broker::{BrokerUrl, Line, MemoryTransport, Transport};
use celeriac_protocol::TaskMeta;
use celeriac_results::conformance::{Fixture, Stores, id};
use celeriac_results::{ReplyTo, RpcStore, Settings};

pub fn stores(transport: &Arc<dyn Transport>, settings: Settings) -> Stores {
    let open = || Arc::new(RpcStore::new(Arc::new(Line::new(Arc::clone(transport))), settings.clone()));
    Stores { caller: open(), worker: open() }
}

pub fn amqp(url: &str) -> Arc<dyn Transport> {
    Arc::new(AmqpTransport::new(BrokerUrl::parse(url).unwrap()).unwrap())
}

struct Memory;

#[async_trait]
impl Fixture for Memory {
    async fn open(&self, settings: Settings) -> Stores {
        let transport: Arc<dyn Transport> = Arc::new(MemoryTransport::new());
        stores(&transport, settings)
    }
}

mod by_memory {
    use super::Memory;

    celeriac_results::suite!(Memory);
}

struct Amqp;

#[async_trait]
impl Fixture for Amqp {
    async fn open(&self, settings: Settings) -> Stores {
        stores(&amqp(&celeriac_testkit::rabbitmq().url()), settings)
    }
}

mod by_amqp {
    use super::Amqp;

    celeriac_results::suite!(Amqp);
}

#[tokio::test]
async fn replies_without_a_caller_go_nowhere() {
    let stores = stores(&(Arc::new(MemoryTransport::new()) as _), Settings::default());
    let meta = TaskMeta::success(id(), 1);
    stores.worker.store(&meta, None).await.unwrap();
    stores.worker.store(&meta, Some(&ReplyTo::default())).await.unwrap();
    let gone = ReplyTo { queue: "no-such-queue".to_owned(), correlation_id: meta.id.clone() };
    stores.worker.store(&meta, Some(&gone)).await.unwrap();
    stores.close().await;
}

/// The caller may know a task by another id than the task's own, and what it did not ask for is not kept.
#[tokio::test]
async fn replies_are_told_apart_by_correlation_id() {
    let stores = stores(&(Arc::new(MemoryTransport::new()) as _), Settings::default());
    let (known, last) = (id(), TaskMeta::success(id(), 2));
    stores.caller.expect(&known).await.unwrap();
    stores.caller.expect(&last.id).await.unwrap();
    let meta = TaskMeta::success(id(), 1);
    let queue = stores.caller.reply_to().unwrap();
    stores.worker.store(&meta, Some(&ReplyTo { queue, correlation_id: known.clone() })).await.unwrap();
    assert_eq!(stores.wait(&known).await, meta);
    stores.store(&meta).await.unwrap();
    stores.store(&last).await.unwrap();
    stores.wait(&last.id).await;
    assert_eq!(stores.caller.fetch(&meta.id).await.unwrap(), TaskMeta::pending(&meta.id));
    stores.close().await;
}

#[tokio::test]
async fn the_queue_is_declared_as_celery_does() {
    let vhost = celeriac_testkit::rabbitmq().vhost();
    let stores = stores(&amqp(&vhost.url()), Settings::default());
    stores.caller.expect(&id()).await.unwrap();
    let name = stores.caller.reply_to().unwrap();
    let path = format!("queues/{}/{name}", vhost.name());
    let queue = celeriac_testkit::rabbitmq().management(&path);
    let flags = ["durable", "auto_delete", "exclusive"].map(|flag| queue[flag].as_bool());
    assert_eq!(flags, [Some(false), Some(true), Some(false)], "{queue}");
    assert_eq!(queue["arguments"], serde_json::json!({"x-expires": 86_400_000}), "{queue}");
    stores.close().await;
}
