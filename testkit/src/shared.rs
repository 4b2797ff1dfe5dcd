//! Servers that are started once.

use std::env;
use std::sync::OnceLock;

use crate::{RabbitMq, Redis, RedisCluster};

/// The URL of a RabbitMQ that runs already.
pub const AMQP_URL: &str = "CELERIAC_TEST_AMQP_URL";
/// The address of its management API, `http://127.0.0.1:PORT`.
pub const AMQP_MANAGEMENT: &str = "CELERIAC_TEST_AMQP_MANAGEMENT";
/// The URL of a Redis that runs already.
pub const REDIS_URL: &str = "CELERIAC_TEST_REDIS_URL";

/// The RabbitMQ of this test run: that of `cargo xtask test`, or one for this process, which dies with it.
///
/// Tests share it, so each takes a [`Vhost`](crate::Vhost) of its own.
pub fn rabbitmq() -> &'static RabbitMq {
    static SERVER: OnceLock<RabbitMq> = OnceLock::new();
    SERVER.get_or_init(|| match (port(AMQP_URL), port(AMQP_MANAGEMENT)) {
        (Some(port), Some(management)) => RabbitMq::at(port, management),
        _ => RabbitMq::start(),
    })
}

/// The Redis of this test run: that of `cargo xtask test`, or one for this process, which dies with it.
///
/// Tests share it, so each takes a [`fresh_url`](Redis::fresh_url) of its own.
pub fn redis() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| match port(REDIS_URL) {
        Some(port) => Redis::at(port),
        None => Redis::start(),
    })
}

/// A cluster for this process, which dies with it; nothing moves there.
///
/// Tests share it, so each takes a hash tag of its own.
pub fn redis_cluster() -> &'static RedisCluster {
    static CLUSTER: OnceLock<RedisCluster> = OnceLock::new();
    CLUSTER.get_or_init(RedisCluster::start)
}

/// The port in the URL that the variable holds.
fn port(variable: &str) -> Option<u16> {
    let url = env::var(variable).ok()?;
    let port = url.rsplit(':').next()?.split('/').next()?.parse().ok();
    assert!(port.is_some(), "{variable} has no port: {url}");
    port
}
