//! How a server is entered, wherever it is.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisResult,
};

use crate::is_refused;
use crate::tls::Tls;

/// User, password, database and certificates.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub server: RedisConnectionInfo,
    pub tls: Option<Tls>,
}

impl Access {
    /// A client of the server at this address; it connects later.
    pub fn client(&self, host: &str, port: u16) -> RedisResult<Client> {
        match &self.tls {
            Some(tls) => tls.client(host, port, self.server.clone()),
            None => Client::open(info(ConnectionAddr::Tcp(host.to_owned(), port), self.server.clone())?),
        }
    }

    /// A client of the server behind a socket of the file system.
    pub fn socket(&self, path: &str) -> RedisResult<Client> {
        let path = format!("/{}", path.trim_start_matches('/')).into();
        Client::open(info(ConnectionAddr::Unix(path), self.server.clone())?)
    }
}

pub(crate) fn info(address: ConnectionAddr, server: RedisConnectionInfo) -> RedisResult<ConnectionInfo> {
    Ok(address.into_connection_info()?.set_redis_settings(server))
}

/// A connection on which connecting and each answer take at most this long.
pub(crate) async fn connect(client: &Client, patience: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Asks all at once; the first good answer counts. Without one, what all of them said; that access is refused only when
/// each said so: whoever is away for the moment may let us in.
pub(crate) async fn ask_all<'a, Asked>(
    hosts: &'a [(String, u16)],
    (kind, what): (ErrorKind, &'static str),
    ask: impl Fn(&'a str, u16) -> Asked,
) -> RedisResult<Client>
where
    Asked: Future<Output = RedisResult<Client>>,
{
    let asked = hosts.iter().map(|(host, port)| {
        let answer = ask(host, *port);
        async move { answer.await.map_err(|error| (format!("{host}:{port}"), error)) }
    });
    let mut answers: FuturesUnordered<_> = asked.collect();
    let (mut reasons, mut refused, mut may_pass) = (Vec::new(), None, false);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(client) => return Ok(client),
            Err((address, error)) => {
                reasons.push(format!("{address}: {}", reason(&error)));
                may_pass |= !is_refused(&error);
                refused = Some(error);
            }
        }
    }
    let failure = || RedisError::from((kind, what, reasons.join("; ")));
    Err(refused.filter(|_| !may_pass).unwrap_or_else(failure))
}

/// An error of the server that was named by the one that was asked.
pub(crate) fn at(host: &str, port: u16, error: RedisError) -> RedisError {
    if is_refused(&error) {
        return error;
    }
    RedisError::from((error.kind(), "the server that it names", format!("{host}:{port}: {}", reason(&error))))
}

fn reason(error: &RedisError) -> String {
    error.detail().map_or_else(|| error.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn asked(answers: &[(&str, Option<&str>)]) -> Result<(), RedisError> {
        let hosts: Vec<_> = answers.iter().map(|(host, _)| ((*host).to_owned(), 1)).collect();
        let failure = (ErrorKind::MasterNameNotFoundBySentinel, "nobody");
        let ask = |host: &str, _| {
            let answer = answers.iter().find(|(name, _)| *name == host).and_then(|(_, answer)| *answer);
            async move {
                match answer {
                    None => Client::open("redis://h"),
                    Some("away") => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()),
                    Some(code) => Err(redis::make_extension_error(code.to_owned(), None)),
                }
            }
        };
        ask_all(&hosts, failure, ask).now_or_never().expect("all have answered").map(drop)
    }

    #[test]
    fn access_is_refused_when_nobody_may_let_us_in_later() {
        let refusal = asked(&[("a", Some("WRONGPASS")), ("b", Some("NOAUTH"))]).unwrap_err();
        assert!(is_refused(&refusal), "{refusal}");
        for other in ["away", "LOADING"] {
            for hosts in [["a", "b"], ["b", "a"]] {
                let answers = [(hosts[0], Some("WRONGPASS")), (hosts[1], Some(other))];
                let failure = asked(&answers).unwrap_err();
                assert!(!is_refused(&failure) && failure.to_string().contains("WRONGPASS"), "{failure}");
            }
        }
        asked(&[("a", Some("WRONGPASS")), ("b", None)]).unwrap();
    }
}
