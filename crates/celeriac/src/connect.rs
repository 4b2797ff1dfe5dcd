//! URLs to what they name, as far as this build has it.
//!
//! Brokers: `amqp://`, `amqps://` (RabbitMQ; features `amqp`, `tls`), `redis://`, `rediss://`, `redis+socket:///path`,
//! `sentinel://`, `redis+cluster://` (features `redis`, `tls`), `sqlite:file` (feature `sqlite`), `memory://name` (inside
//! this process).
//!
//! Result stores: those of Redis (features `redis-results`, `tls`), `rpc://` (by the broker), `sqlite:file`, `memory://name`; the empty URL and `disabled://` keep nothing.

use std::sync::Arc;

use celeriac_broker::{BrokerUrl, Line, MemoryTransport, Transport};
use celeriac_results::ResultStore;

use crate::{Config, ConfigError};

/// The schemes of brokers that this build serves.
const SCHEMES: &[&str] = &[
    #[cfg(feature = "amqp")]
    "amqp://",
    #[cfg(all(feature = "amqp", feature = "tls"))]
    "amqps://",
    #[cfg(feature = "redis")]
    "redis://",
    #[cfg(all(feature = "redis", feature = "tls"))]
    "rediss://",
    #[cfg(feature = "redis")]
    "sentinel://",
    #[cfg(feature = "redis")]
    "redis+cluster://",
    #[cfg(feature = "sqlite")]
    "sqlite:",
    "memory://",
];

/// The broker of a URL; nothing is opened.
///
/// # Errors
/// [`ConfigError::Broker`] when the URL cannot be understood, or names what this build does not have.
pub fn transport(url: &str) -> Result<Arc<dyn Transport>, ConfigError> {
    #[cfg(feature = "redis")]
    if celeriac_redis::RedisTransport::serves(url) {
        return Ok(Arc::new(url.parse::<celeriac_redis::RedisTransport>()?));
    }
    let parsed = BrokerUrl::parse(url)?;
    Ok(match parsed.scheme.as_str() {
        #[cfg(feature = "amqp")]
        "amqp" | "amqps" | "pyamqp" | "librabbitmq" => Arc::new(celeriac_amqp::AmqpTransport::new(parsed)?),
        #[cfg(feature = "sqlite")]
        "sqlite" | "sqla+sqlite" | "sqlalchemy+sqlite" => {
            Arc::new(celeriac_sqlite::SqliteTransport::from_url(&parsed)?)
        }
        "memory" => {
            let name = if parsed.host.is_empty() { parsed.path } else { parsed.host };
            Arc::new(MemoryTransport::named(name))
        }
        _ => {
            let reason = format!("there is no such broker here; there is {}", SCHEMES.join(", "));
            return Err(ConfigError::Broker { url: parsed.to_string(), reason });
        }
    })
}

/// The result store of a configuration. Only sqlite touches its file here.
///
/// # Errors
/// [`ConfigError::Results`] when its URL cannot be understood, or names what this build does not have.
pub fn result_store(config: &Config, line: &Arc<Line>) -> Result<Arc<dyn ResultStore>, ConfigError> {
    let settings = config.result_settings()?;
    Ok(celeriac_results::open(&config.result_backend, settings, Some(line.clone()))?)
}
