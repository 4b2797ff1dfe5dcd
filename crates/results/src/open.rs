use std::sync::Arc;

use celeriac_broker::{BrokerUrl, Line};

use crate::{DisabledStore, Error, MemoryStore, ResultStore, RpcStore, Settings};

/// The schemes that this build serves.
const SCHEMES: &[&str] = &[
    "rpc://",
    #[cfg(feature = "redis")]
    "redis://",
    #[cfg(all(feature = "redis", feature = "redis-tls"))]
    "rediss://",
    #[cfg(feature = "redis")]
    "redis+socket://",
    #[cfg(feature = "redis")]
    "sentinel://",
    #[cfg(feature = "redis")]
    "redis+cluster://",
    #[cfg(feature = "sqlite")]
    "sqlite:",
    "memory://",
    "disabled://",
];

/// The store of a URL (`result_backend`); the empty URL is no store. Only sqlite touches its file here, all others
/// connect when they are first used. The rpc store answers by `line`.
///
/// # Errors
/// [`Error::Url`] when the URL cannot be understood or served, [`Error::Unavailable`] when an sqlite file cannot
/// be opened.
pub fn open(url: &str, settings: Settings, line: Option<Arc<Line>>) -> Result<Arc<dyn ResultStore>, Error> {
    if url.is_empty() {
        return Ok(Arc::new(DisabledStore));
    }
    // Celery takes bare names too: `rpc`, `redis`.
    let url = if url.contains(':') { url.to_owned() } else { format!("{url}://") };
    #[cfg(feature = "redis")]
    if celeriac_redis_client::serves(&url) {
        return Ok(Arc::new(crate::RedisStore::parse(&url, settings)?));
    }
    let parsed =
        BrokerUrl::parse(&url).map_err(|error| Error::Url { url: error.url, reason: error.reason })?;
    Ok(match parsed.scheme.as_str() {
        "disabled" => Arc::new(DisabledStore),
        "rpc" => {
            let reason = "it answers by the broker, and there is none".to_owned();
            let line = line.ok_or_else(|| Error::Url { url: parsed.to_string(), reason })?;
            Arc::new(RpcStore::new(line, settings))
        }
        "memory" | "cache+memory" => {
            let name = if parsed.host.is_empty() { &parsed.path } else { &parsed.host };
            Arc::new(MemoryStore::named(name, settings))
        }
        #[cfg(feature = "sqlite")]
        "sqlite" | "file" => Arc::new(crate::SqliteStore::open(&parsed, settings)?),
        _ => {
            let reason = format!("there is no such result store here; there is {}", SCHEMES.join(", "));
            return Err(Error::Url { url: parsed.to_string(), reason });
        }
    })
}
