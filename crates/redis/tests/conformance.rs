use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use celeriac_broker::Transport;
use celeriac_broker::conformance::Fixture;

use crate::secure::let_in;
use crate::support::transport;

/// A place of its own in a Redis.
struct Place {
    url: String,
}

impl Place {
    /// A database, for a user with the rights that docs/redis.md names.
    fn database() -> Self {
        let server = celeriac_testkit::redis();
        let_in(server, "suite");
        Place { url: server.fresh_url().replace("redis://", "redis://suite:word@") }
    }

    /// A hash tag in a cluster.
    fn tag() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("?global_keyprefix={{{}}}", NEXT.fetch_add(1, Ordering::Relaxed));
        Place { url: celeriac_testkit::redis_cluster().url(&prefix) }
    }
}

impl Fixture for Place {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(transport(&self.url))
    }
}

celeriac_broker::conformance_suite!(Place::database());

mod cluster {
    use super::Place;

    celeriac_broker::conformance_suite!(Place::tag());
}
