use std::sync::Arc;

use celeriac_broker::conformance::Fixture;
use celeriac_broker::{BrokerUrl, Transport};
use celeriac_redis::RedisTransport;

/// A database of its own.
struct NewDatabase {
    url: String,
}

impl NewDatabase {
    fn new() -> Self {
        NewDatabase { url: celeriac_testkit::redis().fresh_url() }
    }
}

impl Fixture for NewDatabase {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(RedisTransport::from_url(&BrokerUrl::parse(&self.url).unwrap()).unwrap())
    }
}

celeriac_broker::conformance_suite!(NewDatabase::new());
