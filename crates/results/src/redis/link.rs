//! The connection that commands share. What is asked for together travels together.

use std::borrow::Borrow;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use celeriac_redis_client::{Target, code, is_lost, is_misplaced};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisError, RedisResult, RetryMethod};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{Error, backoff};

/// How long a connection may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take before the connection counts as lost.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// For how long callers take over that Redis was out of reach, instead of trying in turn.
const FAILURE_HOLDS: Duration = Duration::from_millis(200);

pub(super) struct Link {
    target: Target,
    state: Mutex<State>,
}

enum State {
    Idle,
    /// The number tells connections apart.
    Up(MultiplexedConnection, u64),
    Failed(RedisError, Instant),
    Closed,
}

/// A connection, its number; or why there is none, and whether trying again may help.
type Connected = Result<(MultiplexedConnection, u64), Result<RedisError, Error>>;

impl Link {
    pub(super) fn new(target: Target) -> Self {
        Link { target, state: Mutex::new(State::Idle) }
    }

    pub(super) fn display_url(&self) -> &str {
        self.target.display_url()
    }

    /// Sends a command, again after a loss. What Redis answers that trying again would not change comes back as
    /// the inner error.
    pub(super) async fn query(&self, command: &Cmd) -> Result<RedisResult<redis::Value>, Error> {
        self.query_with(|_| command).await
    }

    /// The same with a command for each time, which is told whether Redis may have obeyed one before: a loss may be
    /// that of the answer alone.
    pub(super) async fn query_with<C: Borrow<Cmd>>(
        &self,
        command: impl Fn(bool) -> C,
    ) -> Result<RedisResult<redis::Value>, Error> {
        let (mut retry, mut again) = (0, false);
        loop {
            let error = match self.connection().await {
                Ok((mut connection, number)) => {
                    let answer = connection.send_packed_command(command(again).borrow()).await;
                    again = true;
                    match answer.and_then(redis::Value::extract_error) {
                        Err(error) if is_lost(&error) || is_elsewhere(&error) => {
                            self.lost(number).await;
                            error
                        }
                        Err(error) if is_busy(&error) => error,
                        answer => return Ok(answer),
                    }
                }
                Err(Ok(error)) => error,
                Err(Err(closed)) => return Err(closed),
            };
            if retry >= backoff::MAX_RETRIES || !may_recover(&error) {
                return Err(self.unavailable(&error));
            }
            let delay = backoff::delay(retry);
            retry += 1;
            tracing::warn!(
                "Connection to Redis lost: retry ({retry}/{}) in {:.2}s: {error}",
                backoff::MAX_RETRIES,
                delay.as_secs_f64(),
            );
            tokio::time::sleep(delay).await;
        }
    }

    async fn connection(&self) -> Connected {
        let mut state = self.state.lock().await;
        match &*state {
            State::Up(connection, number) => return Ok((connection.clone(), *number)),
            State::Failed(error, since) if since.elapsed() < FAILURE_HOLDS => return Err(Ok(error.clone())),
            State::Closed => return Err(Err(self.closed())),
            State::Idle | State::Failed(..) => {}
        }
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        let opened = async {
            let client = self.target.find(CONNECT_TIMEOUT).await?;
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        match opened.await {
            Ok(connection) => {
                let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                *state = State::Up(connection.clone(), number);
                Ok((connection, number))
            }
            Err(error) => {
                *state = State::Failed(error.clone(), Instant::now());
                Err(Ok(error))
            }
        }
    }

    async fn lost(&self, number: u64) {
        let mut state = self.state.lock().await;
        if matches!(*state, State::Up(_, current) if current == number) {
            *state = State::Idle;
        }
    }

    pub(super) async fn close(&self) {
        *self.state.lock().await = State::Closed;
    }

    pub(super) fn unavailable(&self, error: &RedisError) -> Error {
        Error::Unavailable { store: self.display_url().to_owned(), reason: error.to_string() }
    }

    pub(super) fn closed(&self) -> Error {
        Error::Unavailable { store: self.display_url().to_owned(), reason: "it was closed".to_owned() }
    }
}

/// Another server may have the keys: it is sought again. One that loads its data will have them.
fn is_elsewhere(error: &RedisError) -> bool {
    is_misplaced(error) && code(error) != Some("LOADING")
}

/// Loading its data, failing over, running a script, full.
fn is_busy(error: &RedisError) -> bool {
    matches!(error.retry_method(), RetryMethod::WaitAndRetry)
        || matches!(code(error), Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY"))
}

/// A password or a certificate that is refused stays refused; a server that is away or busy may come back.
pub(super) fn may_recover(error: &RedisError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<Arc<dyn StdError + Send + Sync>>());
    let io_error = source.and_then(|source| source.downcast_ref::<io::Error>());
    let is_refused = error.kind() == ErrorKind::AuthenticationFailed
        || io_error.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
    is_busy(error) || is_misplaced(error) || is_lost(error) && !is_refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_from_within_a_script_too() {
        let answer = |text: &str| {
            let value = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
            value.extract_error().unwrap_err()
        };
        // As Redis says it before 7, and since.
        let old = "ERR Error running script (call to f_4521de5f): @user_script:9: @user_script: 9: -";
        for before in ["", old] {
            for (passes, text) in [
                (true, "OOM command not allowed when used memory > 'maxmemory'."),
                (true, "MISCONF Redis is configured to save RDB snapshots"),
                (true, "NOREPLICAS Not enough good replicas to write."),
                (false, "WRONGTYPE Operation against a key"),
            ] {
                let error = answer(&format!("{before}{text}"));
                assert_eq!((is_busy(&error), may_recover(&error)), (passes, passes), "{error}");
            }
            let loading = answer(&format!("{before}LOADING Redis is loading the dataset in memory"));
            assert!(!is_elsewhere(&loading) && may_recover(&loading), "{loading}");
        }
    }
}
