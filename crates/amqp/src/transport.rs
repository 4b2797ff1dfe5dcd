use std::sync::Arc;
use std::time::Duration;

use amqprs::connection::OpenConnectionArguments;
use amqprs::security::SecurityCredentials;
use async_trait::async_trait;
use celeriac_broker::url::UrlError;
use celeriac_broker::{BrokerUrl, Capabilities, Connection, Error, Transport};

use crate::connection::AmqpConnection;
use crate::io;

/// Celery's `broker_connection_timeout`.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);
/// Seconds; the broker's own wish counts when it is lower.
const HEARTBEAT: u16 = 60;

/// How to reach one RabbitMQ.
///
/// The URL's parameters are RabbitMQ's: `heartbeat` (seconds), `connection_timeout` (milliseconds), `auth_mechanism`
/// (`plain`, `amqplain` or `external`), and with `amqps` `cacertfile`, `certfile`, `keyfile` (PEM), `server_name_indication`, `verify=verify_none`.
#[derive(Debug, Clone)]
pub struct AmqpTransport {
    url: BrokerUrl,
    timeout: Duration,
    heartbeat: u16,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::Settings>,
}

impl AmqpTransport {
    /// The schemes that this transport serves.
    pub const SCHEMES: [&str; 4] = ["amqp", "pyamqp", "librabbitmq", "amqps"];

    /// Reads a URL; nothing is opened.
    ///
    /// # Errors
    /// When a parameter makes no sense.
    pub fn new(url: BrokerUrl) -> Result<Self, UrlError> {
        let fail = |reason: &str| UrlError { url: url.to_string(), reason: reason.to_owned() };
        let timeout = match url.parameter("connection_timeout") {
            None => CONNECTION_TIMEOUT,
            Some(text) => Duration::from_millis(
                text.parse().map_err(|_| fail("connection_timeout must be milliseconds"))?,
            ),
        };
        let heartbeat = match url.parameter("heartbeat") {
            None => HEARTBEAT,
            // Zero switches heartbeats off; the client library would send them without pause.
            Some("0") => u16::MAX,
            Some(text) => text.parse().map_err(|_| fail("heartbeat must be seconds, at most 65535"))?,
        };
        credentials(&url).map_err(|reason| fail(&reason))?;
        if url.host.len() > 255 || url.path.len() > 255 {
            return Err(fail("host and virtual host hold at most 255 bytes"));
        }
        #[cfg(feature = "tls")]
        let tls = if url.scheme == "amqps" { Some(crate::tls::Settings::new(&url)?) } else { None };
        #[cfg(not(feature = "tls"))]
        if url.scheme == "amqps" {
            return Err(fail("this program was built without the feature `tls`"));
        }
        Ok(AmqpTransport {
            timeout,
            heartbeat,
            #[cfg(feature = "tls")]
            tls,
            url,
        })
    }

    fn arguments(&self) -> Result<OpenConnectionArguments, String> {
        let url = &self.url;
        let host = if url.host.is_empty() { "localhost" } else { &url.host };
        let port = url.port.unwrap_or(if url.scheme == "amqps" { 5671 } else { 5672 });
        // `amqp://host` and `amqp://host//` both mean the virtual host `/`.
        let vhost = if url.path.is_empty() { "/" } else { &url.path };
        let mut arguments = OpenConnectionArguments::default();
        // A colon in the address is an IPv6 address, which the resolver wants in brackets.
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        arguments.host(&host).port(port).virtual_host(vhost).credentials(credentials(url)?);
        arguments.heartbeat(self.heartbeat);
        arguments.connection_name(&format!("celeriac {}", std::process::id()));
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            arguments.tls_adaptor(tls.adaptor()?);
        }
        Ok(arguments.finish())
    }
}

#[async_trait]
impl Transport for AmqpTransport {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn display_url(&self) -> String {
        self.url.to_string()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            priorities: true,
            expiry: true,
            dead_letters: true,
            quorum_queues: true,
            streams: true,
            durable: true,
            fanout_queues: true,
            kept_places: false,
        }
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Error> {
        let connect = |reason: String| Error::Connect { broker: self.display_url(), reason };
        let arguments = self.arguments().map_err(connect)?;
        let timeout = self.timeout;
        let opened = io::run(async move {
            Ok(match tokio::time::timeout(timeout, AmqpConnection::open(arguments)).await {
                Ok(opened) => opened.map_err(|error| explain(&error)),
                Err(_) => Err(format!("no answer within {} s", timeout.as_secs_f64())),
            })
        })
        .await?;
        Ok(Arc::new(opened.map_err(connect)?))
    }
}

/// How to log in.
fn credentials(url: &BrokerUrl) -> Result<SecurityCredentials, String> {
    let (user, password) =
        (url.user.as_deref().unwrap_or("guest"), url.password.as_deref().unwrap_or("guest"));
    match url.parameter("auth_mechanism") {
        None | Some("plain") => Ok(SecurityCredentials::new_plain(user, password)),
        // The client library panics at a length that is no ASCII.
        Some("amqplain") if user.len().max(password.len()) > 127 => {
            Err("with amqplain, user and password hold at most 127 bytes".to_owned())
        }
        Some("amqplain") => Ok(SecurityCredentials::new_amqplain(user, password)),
        Some("external") => Ok(SecurityCredentials::new_external()),
        Some(other) => Err(format!("auth_mechanism {other}: there are plain, amqplain and external")),
    }
}

/// What the system said. RabbitMQ tells a refused login only to clients that ask for it, and the client library does not.
fn explain(error: &amqprs::error::Error) -> String {
    let text = match error {
        amqprs::error::Error::NetworkError(text) => {
            text.strip_prefix("network io error: ").unwrap_or(text).to_owned()
        }
        other => other.to_string(),
    };
    if text.to_lowercase().contains("peer shutdown") || text.contains("Connection reset") {
        return format!("{text} (during login: are user, password and virtual host right?)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        AmqpTransport::new(BrokerUrl::parse(url).unwrap()).err().map(|error| error.reason).unwrap_or_default()
    }

    #[test]
    fn a_login_that_cannot_be_is_refused_at_once() {
        for mechanism in ["plain", "amqplain", "external"] {
            assert_eq!(refused(&format!("amqp://a:b@c//?auth_mechanism={mechanism}")), "");
        }
        assert!(
            refused("amqp://a:b@c//?auth_mechanism=gssapi")
                .contains("there are plain, amqplain and external")
        );
        let long = "x".repeat(128);
        assert!(
            refused(&format!("amqp://a:{long}@c//?auth_mechanism=amqplain")).contains("at most 127 bytes")
        );
        assert_eq!(refused(&format!("amqp://a:{long}@c//")), "");
    }
}
