use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use celeriac_broker::url::UrlError;
use celeriac_broker::{BrokerUrl, Capabilities, Connection, Error, Transport};
use celeriac_redis_client::{Dialect, Target, Urls};

use crate::Options;
use crate::connection::RedisConnection;
use crate::keys::Keys;

/// A Redis server, the master that sentinels know, or a cluster.
#[derive(Debug, Clone)]
pub struct RedisTransport {
    pub(crate) target: Target,
    pub(crate) keys: Arc<Keys>,
    /// It was said that this server does not tell of changes.
    pub(crate) is_told: Arc<AtomicBool>,
}

impl RedisTransport {
    /// Reads `redis://user:password@host:port/database`, `rediss://` (feature `tls`), `redis+socket:///path` and
    /// `unix:///path` with `?virtual_host=database`; the parameters are [`Options`](crate::Options). What has several
    /// hosts is read from text.
    ///
    /// # Errors
    /// When the URL makes no sense.
    pub fn from_url(url: &BrokerUrl) -> Result<Self, UrlError> {
        Self::new(&Urls::try_from(url.clone())?)
    }

    fn new(urls: &Urls) -> Result<Self, UrlError> {
        let mut options = Options::read(&urls.first).map_err(|reason| urls.error(reason))?;
        let target = Target::read(urls, Dialect::Kombu, Some(&options.global_keyprefix))?;
        target.prefix().clone_into(&mut options.global_keyprefix);
        let keys = Arc::new(Keys::new(options, target.database(), target.is_sentinel()));
        Ok(RedisTransport { target, keys, is_told: Arc::default() })
    }

    /// Whether a URL, or the first of several, is for this transport, by its scheme.
    pub fn serves(url: &str) -> bool {
        celeriac_redis_client::serves(url)
    }
}

/// Also several URLs of one place: `sentinel://a:26379;sentinel://b:26379/database?master_name=name`,
/// `redis+cluster://a:6379,b:6379`.
impl FromStr for RedisTransport {
    type Err = UrlError;

    fn from_str(urls: &str) -> Result<Self, UrlError> {
        Self::new(&Urls::parse(urls)?)
    }
}

#[async_trait]
impl Transport for RedisTransport {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn display_url(&self) -> String {
        self.target.display_url().to_owned()
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
            kept_places: true,
        }
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Error> {
        Ok(Arc::new(RedisConnection::open(self).await?))
    }
}
