//! The socket of a connection.
//!
//! By RESP3 one socket is enough for everything. Where the server does not speak it (before Redis 6), messages of fanout
//! exchanges come by a second one, and changes of lists are looked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use celeriac_broker::Error;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, ProtocolVersion, PushInfo, RedisError,
    RedisResult, Value,
};
use tokio::sync::mpsc;

use crate::RedisTransport;
use crate::error::{connect_error, error, error_of_half};
use crate::scripts::{Lua, Scripts};

/// An open socket.
pub(crate) struct Link {
    connection: MultiplexedConnection,
    client: Client,
    pub scripts: Scripts,
    display_url: String,
    is_told: Arc<AtomicBool>,
    /// Whether Redis may send by it what nobody asked for.
    pub pushes: bool,
}

impl Link {
    /// Opens it; what comes by itself comes out of the receiver, and that the socket is gone as the last thing. Without
    /// RESP3 nothing does: the next sign of life tells that it is gone.
    pub async fn open(
        transport: &RedisTransport,
    ) -> Result<(Self, mpsc::UnboundedReceiver<PushInfo>), Error> {
        let refused = |error: RedisError| connect_error(transport.target.display_url(), &error);
        let (sender, pushes) = mpsc::unbounded_channel();
        let found = transport.target.find(transport.keys.options.socket_connect_timeout).await;
        let found = found.map_err(refused)?;
        let given = found.get_connection_info();
        let client = Client::open(speaking(given, ProtocolVersion::RESP3)).map_err(refused)?;
        let (client, connection, has_pushes) = match connect(transport, &client, Some(sender)).await {
            Err(error) if is_old(&error) => {
                let client = Client::open(speaking(given, ProtocolVersion::RESP2)).map_err(refused)?;
                let connection = connect(transport, &client, None).await.map_err(refused)?;
                (client, connection, false)
            }
            connection => (client, connection.map_err(refused)?, true),
        };
        let mut link = Link {
            connection,
            client,
            scripts: Scripts::new(&transport.keys, false),
            display_url: transport.target.display_url().to_owned(),
            is_told: transport.is_told.clone(),
            pushes: has_pushes,
        };
        // One that still loads its data says so.
        link.send(&redis::cmd("PING")).await.map_err(refused)?;
        if let Some(name) = &transport.keys.options.client_name {
            let mut command = Cmd::new();
            link.query(command.arg("CLIENT").arg("SETNAME").arg(name)).await?;
        }
        if link.version().await.is_some_and(|version| version >= 7) {
            link.scripts = Scripts::new(&transport.keys, true);
        }
        Ok((link, pushes))
    }

    /// Runs a script.
    pub async fn call(
        &self,
        script: &Lua,
        keys: &[String],
        arguments: impl Fn(&mut Cmd) -> &mut Cmd,
    ) -> Result<Value, Error> {
        self.run(script, keys, arguments).await.map_err(|failed| error(&self.display_url, &failed))
    }

    /// Runs a script that leaves its connection useless when it may have been done by halves.
    pub async fn call_whole(
        &self,
        script: &Lua,
        keys: &[String],
        arguments: impl Fn(&mut Cmd) -> &mut Cmd,
    ) -> Result<Value, Error> {
        let answer = self.run(script, keys, arguments).await;
        answer.map_err(|failed| error_of_half(&self.display_url, &failed))
    }

    async fn run(
        &self,
        script: &Lua,
        keys: &[String],
        arguments: impl Fn(&mut Cmd) -> &mut Cmd,
    ) -> RedisResult<Value> {
        let call = |command: &str, code: &str| {
            let mut call = Cmd::new();
            call.arg(command).arg(code).arg(keys.len()).arg(keys);
            arguments(&mut call);
            call
        };
        match self.send(&call("EVALSHA", &script.hash)).await {
            Err(error) if error.code() == Some("NOSCRIPT") => self.send(&call("EVAL", &script.code)).await,
            answer => answer,
        }
    }

    pub async fn query(&self, command: &Cmd) -> Result<Value, Error> {
        self.send(command).await.map_err(|failed| error(&self.display_url, &failed))
    }

    /// Has Redis tell when what our scripts read is changed by others; whether it does.
    pub async fn track(&self) -> bool {
        let mut command = Cmd::new();
        command.arg("CLIENT").arg("TRACKING").arg("ON").arg("NOLOOP");
        let refusal = match self.pushes {
            true => self.send(&command).await.err().map(|error| error.to_string()),
            false => Some("it does not speak RESP3".to_owned()),
        };
        if let Some(reason) = &refusal
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "{} does not tell when queues change: they are looked at more often ({reason})",
                self.display_url
            );
        }
        refusal.is_none()
    }

    /// Another socket, for a server that does not speak RESP3.
    pub async fn pubsub(&self) -> Result<redis::aio::PubSub, Error> {
        self.client.get_async_pubsub().await.map_err(|failed| error(&self.display_url, &failed))
    }

    /// The connection itself, for what is neither command nor script.
    pub fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// The same error in the words of all transports.
    pub fn error(&self, failed: &RedisError) -> Error {
        error(&self.display_url, failed)
    }

    pub fn display_url(&self) -> &str {
        &self.display_url
    }

    async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = self.connection.clone();
        connection.send_packed_command(command).await.and_then(Value::extract_error)
    }

    /// The server's major version, if it says.
    async fn version(&self) -> Option<u32> {
        let mut command = Cmd::new();
        let info: String =
            redis::from_redis_value(self.send(command.arg("INFO").arg("server")).await.ok()?).ok()?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?;
        version.split('.').next()?.parse().ok()
    }
}

/// Whether it is the server's way of not knowing RESP3.
fn is_old(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || error.to_string().contains("unknown command 'HELLO'")
        || error.to_string().contains("unknown command `HELLO`")
}

fn speaking(given: &ConnectionInfo, protocol: ProtocolVersion) -> ConnectionInfo {
    given.clone().set_redis_settings(given.redis_settings().clone().set_protocol(protocol))
}

async fn connect(
    transport: &RedisTransport,
    client: &Client,
    pushes: Option<mpsc::UnboundedSender<PushInfo>>,
) -> RedisResult<MultiplexedConnection> {
    let options = &transport.keys.options;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.socket_connect_timeout))
        .set_response_timeout(Some(options.socket_timeout));
    let config = match pushes {
        Some(pushes) => config.set_push_sender(pushes),
        None => config,
    };
    client.get_multiplexed_async_connection_with_config(&config).await
}
