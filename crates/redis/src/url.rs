//! Redis URLs, as kombu reads them (`Channel._connparams`).

use celeriac_broker::BrokerUrl;
use celeriac_broker::url::UrlError;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use crate::Options;

/// What a URL names.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub client: Client,
    pub database: i64,
    pub options: Options,
}

const SOCKETS: [&str; 4] = ["redis+socket", "socket", "unix", "redis+unix"];

/// Reads a URL; nothing is opened.
pub(crate) fn target(url: &BrokerUrl) -> Result<Target, UrlError> {
    let fail = |reason: String| UrlError { url: url.to_string(), reason };
    let parameter = |name| url.parameter(name).filter(|value| !value.is_empty());
    let is_socket = SOCKETS.contains(&url.scheme.as_str());
    if !is_socket && !matches!(url.scheme.as_str(), "redis" | "rediss") {
        return Err(fail("its scheme is none of redis, rediss, redis+socket, socket, unix".to_owned()));
    }
    let path = if is_socket { "" } else { url.path.as_str() };
    let digits = parameter("virtual_host").or(parameter("db")).unwrap_or(path).trim_matches('/');
    let database = match digits {
        "" => 0,
        digits => digits
            .parse()
            .ok()
            .filter(|database: &i64| *database >= 0)
            .ok_or_else(|| fail(format!("the database must be a number, not {digits:?}")))?,
    };
    let mut server = RedisConnectionInfo::default().set_db(database);
    if let Some(user) = url.user.as_deref().filter(|user| !user.is_empty()).or(parameter("username")) {
        server = server.set_username(user);
    }
    if let Some(word) = url.password.as_deref().filter(|word| !word.is_empty()).or(parameter("password")) {
        server = server.set_password(word);
    }
    let options = Options::read(url).map_err(fail)?;
    let host = if url.host.is_empty() { "127.0.0.1" } else { &url.host }.to_owned();
    let port = url.port.unwrap_or(6379);
    let client = if url.scheme == "rediss" {
        tls_client(url, host, port, server)?
    } else {
        let address = match is_socket {
            true => ConnectionAddr::Unix(format!("/{}", url.path.trim_start_matches('/')).into()),
            false => ConnectionAddr::Tcp(host, port),
        };
        let client = info(address, server).and_then(Client::open);
        client.map_err(|error| fail(error.to_string()))?
    };
    Ok(Target { client, database, options })
}

fn info(address: ConnectionAddr, server: RedisConnectionInfo) -> redis::RedisResult<ConnectionInfo> {
    Ok(address.into_connection_info()?.set_redis_settings(server))
}

#[cfg(not(feature = "tls"))]
fn tls_client(
    url: &BrokerUrl,
    _host: String,
    _port: u16,
    _server: RedisConnectionInfo,
) -> Result<Client, UrlError> {
    let reason = "this build has no TLS for Redis (feature `tls`)".to_owned();
    Err(UrlError { url: url.to_string(), reason })
}

/// `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` are redis-py's. Unlike there, certificates are
/// checked when nothing is said.
#[cfg(feature = "tls")]
fn tls_client(
    url: &BrokerUrl,
    host: String,
    port: u16,
    server: RedisConnectionInfo,
) -> Result<Client, UrlError> {
    let fail = |reason: String| UrlError { url: url.to_string(), reason };
    let read = |name: &str| {
        let file = url.parameter(name).filter(|file| !file.is_empty());
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

    fn read(url: &str) -> Result<Target, UrlError> {
        target(&BrokerUrl::parse(url).unwrap())
    }

    #[test]
    fn urls_are_read_as_kombu_does() {
        for (url, address, database) in [
            ("redis://", "127.0.0.1:6379", 0),
            ("redis://h:1/5", "h:1", 5),
            ("redis://h//7", "h:6379", 7),
            ("redis+socket:///run/r.sock?virtual_host=3", "/run/r.sock", 3),
            ("unix:///run/r.sock", "/run/r.sock", 0),
        ] {
            let target = read(url).unwrap();
            let info = target.client.get_connection_info();
            assert_eq!(info.addr().to_string(), address, "{url}");
            assert_eq!((info.redis_settings().db(), target.database), (database, database), "{url}");
        }
        let target = read("redis://us%40er:p%2Fw@h").unwrap();
        let server = target.client.get_connection_info().redis_settings();
        assert_eq!((server.username(), server.password()), (Some("us@er"), Some("p/w")));
    }

    #[test]
    fn bad_urls_are_told_without_the_password() {
        for url in [
            "redis://u:secret@h/x",
            "redis://u:secret@h/-1",
            "redis://u:secret@h/0?sep=:&visibility_timeout=x",
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains("is a number") || error.contains("must be a number"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(read("amqp://h").is_err());
    }
}
