use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use celeriac_broker::url::UrlError;
use celeriac_broker::{BrokerUrl, Capabilities, Connection, Error, Transport};

use crate::connection::RedisConnection;
use crate::keys::Keys;
use crate::url::{self, Target};

/// A Redis server.
#[derive(Debug, Clone)]
pub struct RedisTransport {
    pub(crate) target: Target,
    pub(crate) keys: Arc<Keys>,
    pub(crate) display_url: String,
    /// It was said that this server does not tell of changes.
    pub(crate) is_told: Arc<AtomicBool>,
}

impl RedisTransport {
    /// Reads `redis://user:password@host:port/database`, `rediss://` (feature `tls`), `redis+socket:///path` and
    /// `unix:///path` with `?virtual_host=database`; the parameters are [`Options`](crate::Options).
    ///
    /// # Errors
    /// When the URL makes no sense.
    pub fn from_url(url: &BrokerUrl) -> Result<Self, UrlError> {
        let target = url::target(url)?;
        let keys = Arc::new(Keys::new(target.options.clone(), target.database));
        Ok(RedisTransport { target, keys, display_url: url.to_string(), is_told: Arc::default() })
    }
}

#[async_trait]
impl Transport for RedisTransport {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn display_url(&self) -> String {
        self.display_url.clone()
    }

    /// Priorities there are, but kombu's: four steps, the lowest number first.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            priorities: false,
            expiry: false,
            dead_letters: false,
            quorum_queues: false,
            streams: false,
            durable: true,
            fanout_queues: false,
        }
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Error> {
        Ok(Arc::new(RedisConnection::open(self).await?))
    }
}
