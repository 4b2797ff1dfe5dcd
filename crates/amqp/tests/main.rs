//! The AMQP transport on a real RabbitMQ.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod access;
mod losses;
mod prefetch;
mod streams;
mod tls;

use std::sync::Arc;

use celeriac_amqp::AmqpTransport;
use celeriac_broker::conformance::Fixture;
use celeriac_broker::{BrokerUrl, Transport};
use celeriac_testkit::Vhost;

struct Corner(Vhost);

impl Corner {
    fn new() -> Self {
        Corner(celeriac_testkit::rabbitmq().vhost())
    }
}

impl Fixture for Corner {
    fn transport(&self) -> Arc<dyn Transport> {
        transport(&self.0.url())
    }
}

fn transport(url: &str) -> Arc<dyn Transport> {
    Arc::new(AmqpTransport::new(BrokerUrl::parse(url).unwrap()).unwrap())
}

/// The testkit blocks; the runtime's threads must not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

mod conformance {
    use super::*;

    celeriac_broker::conformance_suite!(blocking(Corner::new).await);
}
