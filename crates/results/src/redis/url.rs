//! Redis URLs, as Celery reads them (`celery/backends/redis.py`, `_params_from_url`).

use celeriac_broker::BrokerUrl;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use crate::Error;

/// A client of the server that a URL names; it connects later. Parameters win over what stands before them.
pub(super) fn client(url: &BrokerUrl) -> Result<Client, Error> {
    let fail = |reason: String| Error::Url { url: url.to_string(), reason };
    let parameter = |name| url.parameter(name).filter(|value| !value.is_empty());
    let is_socket = matches!(url.scheme.as_str(), "redis+socket" | "socket");

    let db = match parameter("db").or(parameter("virtual_host")) {
        Some(db) => db,
        None if is_socket => "",
        None => &url.path,
    };
    let db = match db.trim_matches('/') {
        "" => 0,
        digits => match digits.parse::<i64>() {
            Ok(db) if db >= 0 => db,
            _ => return Err(fail(format!("the database must be a number, not {digits:?}"))),
        },
    };
    let mut server = RedisConnectionInfo::default().set_db(db);
    if let Some(user) = parameter("username").or(url.user.as_deref().filter(|user| !user.is_empty())) {
        server = server.set_username(user);
    }
    if let Some(password) = parameter("password").or(url.password.as_deref().filter(|word| !word.is_empty()))
    {
        server = server.set_password(password);
    }

    let host = if url.host.is_empty() { "localhost" } else { &url.host }.to_owned();
    let port = url.port.unwrap_or(6379);
    let address = match url.scheme.as_str() {
        "rediss" => return tls_client(url, host, port, server),
        _ if is_socket => ConnectionAddr::Unix(format!("/{}", url.path.trim_start_matches('/')).into()),
        _ => ConnectionAddr::Tcp(host, port),
    };
    Client::open(info(address, server).map_err(|error| fail(error.to_string()))?)
        .map_err(|error| fail(error.to_string()))
}

fn info(address: ConnectionAddr, server: RedisConnectionInfo) -> redis::RedisResult<ConnectionInfo> {
    Ok(address.into_connection_info()?.set_redis_settings(server))
}

#[cfg(not(feature = "redis-tls"))]
fn tls_client(
    url: &BrokerUrl,
    _host: String,
    _port: u16,
    _server: RedisConnectionInfo,
) -> Result<Client, Error> {
    let reason = "this build has no TLS for Redis (feature `redis-tls`)".to_owned();
    Err(Error::Url { url: url.to_string(), reason })
}

/// `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` are redis-py's. Unlike Celery, certificates are
/// checked when nothing is said.
#[cfg(feature = "redis-tls")]
fn tls_client(
    url: &BrokerUrl,
    host: String,
    port: u16,
    server: RedisConnectionInfo,
) -> Result<Client, Error> {
    let fail = |reason: String| Error::Url { url: url.to_string(), reason };
    let read = |name: &str| {
        let file = url.parameter(name);
        file.map(|file| std::fs::read(file).map_err(|error| fail(format!("{name} {file}: {error}"))))
            .transpose()
    };
    let insecure = match url.parameter("ssl_cert_reqs") {
        None | Some("" | "required" | "CERT_REQUIRED") => false,
        Some("none" | "CERT_NONE") => true,
        Some(other) => return Err(fail(format!("ssl_cert_reqs must be required or none, not {other:?}"))),
    };
    let client_tls = match (read("ssl_certfile")?, read("ssl_keyfile")?) {
        (Some(client_cert), Some(client_key)) => Some(redis::ClientTlsConfig { client_cert, client_key }),
        (None, None) => None,
        _ => return Err(fail("ssl_certfile and ssl_keyfile belong together".to_owned())),
    };
    // The client takes the process's provider; it panics when there is none and the build has two.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = redis::TlsCertificates { client_tls, root_cert: read("ssl_ca_certs")? };
    let address = ConnectionAddr::TcpTls { host, port, insecure, tls_params: None };
    info(address, server)
        .and_then(|info| Client::build_with_tls(info, certificates))
        .map_err(|error| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Client, Error> {
        client(&BrokerUrl::parse(url).unwrap())
    }

    #[test]
    fn urls_are_read_as_celery_does() {
        for (url, address, db) in [
            ("redis://", "localhost:6379", 0),
            ("redis://h:1/5", "h:1", 5),
            ("redis://h//7", "h:6379", 7),
            ("redis://h/5?db=6", "h:6379", 6),
            ("redis+socket:///run/r.sock?virtual_host=3", "/run/r.sock", 3),
            ("socket:///run/r.sock", "/run/r.sock", 0),
        ] {
            let client = parsed(url).unwrap();
            let info = client.get_connection_info();
            assert_eq!(
                (info.addr().to_string().as_str(), info.redis_settings().db()),
                (address, db),
                "{url}"
            );
        }
        let client = parsed("redis://us%40er:p%2Fw@h").unwrap();
        let server = client.get_connection_info().redis_settings();
        assert_eq!((server.username(), server.password()), (Some("us@er"), Some("p/w")));
    }

    #[test]
    fn bad_urls_are_told_without_the_password() {
        for url in ["redis://u:secret@h/x", "redis://u:secret@h/-1"] {
            let error = parsed(url).unwrap_err().to_string();
            assert!(error.contains("must be a number") && !error.contains("secret"), "{error}");
        }
    }
}
