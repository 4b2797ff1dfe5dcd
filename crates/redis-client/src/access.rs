//! How a server is entered, wherever it is.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    RedisResult,
};

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
