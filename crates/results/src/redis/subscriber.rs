//! The connection that all waiting calls share: it listens to the channels of the tasks that are waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use celeriac_redis_client::Target;
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{RedisError, RedisResult};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Keys;
use super::link::{ANSWER_TIMEOUT, CONNECT_TIMEOUT, may_recover};
use crate::watchers::{Change, Notice, Watchers};
use crate::{Error, Settings, backoff};

/// How many channels one command names.
const BATCH: usize = 500;
/// How often a quiet connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Starts listening when somebody first waits.
pub(super) struct Subscriber {
    state: Mutex<State>,
    idle: Arc<Idle>,
    display_url: String,
}

enum State {
    Running(Option<JoinHandle<()>>),
    Stopped,
}

/// What listening needs, while nobody listens.
struct Idle {
    run: Mutex<Option<Box<Run>>>,
    /// Whoever listened has ended with his runtime.
    ended: Notify,
}

/// What listening needs.
pub(super) struct Run {
    pub(super) target: Target,
    pub(super) keys: Arc<Keys>,
    pub(super) settings: Arc<Settings>,
    pub(super) watchers: Arc<Watchers>,
    pub(super) changes: mpsc::UnboundedReceiver<Change>,
}

impl Subscriber {
    pub(super) fn new(run: Run) -> Self {
        let display_url = run.target.display_url().to_owned();
        let idle = Arc::new(Idle { run: Mutex::new(Some(Box::new(run))), ended: Notify::new() });
        Subscriber { state: Mutex::new(State::Running(None)), idle, display_url }
    }

    /// Listens, if nobody does.
    pub(super) fn start(&self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Running(task) = &mut *state else {
            let reason = "it was closed".to_owned();
            return Err(Error::Unavailable { store: self.display_url.clone(), reason });
        };
        if let Some(run) = self.idle.take() {
            let turn = Turn { run: Some(run), idle: Arc::clone(&self.idle) };
            *task = Some(tokio::spawn(turn.take()));
        }
        Ok(())
    }

    /// Resolves when whoever listens has ended before the store is closed, after the call.
    pub(super) fn ended(&self) -> Notified<'_> {
        self.idle.ended.notified()
    }

    pub(super) async fn stop(&self) {
        let state = std::mem::replace(
            &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner),
            State::Stopped,
        );
        if let State::Running(Some(task)) = state {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let State::Running(Some(task)) = self.state.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Idle {
    fn take(&self) -> Option<Box<Run>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The turn of whoever listens.
struct Turn {
    run: Option<Box<Run>>,
    idle: Arc<Idle>,
}

impl Turn {
    async fn take(mut self) {
        if let Some(run) = &mut self.run {
            run.run().await;
        }
    }
}

impl Drop for Turn {
    /// The runtime ends: what listening needs is left to whoever waits on another.
    fn drop(&mut self) {
        *self.idle.run.lock().unwrap_or_else(PoisonError::into_inner) = self.run.take();
        self.idle.ended.notify_waiters();
    }
}

impl Run {
    /// Listens for as long as the store lives, over as many connections as it takes.
    async fn run(&mut self) {
        let mut retry = 0;
        loop {
            let opened = async { self.target.find(CONNECT_TIMEOUT).await?.get_async_pubsub().await };
            let error = match timeout(CONNECT_TIMEOUT, opened).await {
                Ok(Ok(connection)) => {
                    let (sink, stream) = connection.split();
                    let (error, listened) = self.listen(sink, stream).await;
                    if listened {
                        retry = 0;
                    }
                    error
                }
                Ok(Err(error)) => error,
                Err(_) => timed_out("no connection in time"),
            };
            if retry >= backoff::MAX_RETRIES || !may_recover(&error) {
                // Whoever waits hears of it; later calls try again, in a while.
                tracing::error!("Redis results at {} are out of reach: {error}", self.target.display_url());
                let reason = error.to_string();
                let failed = Error::Unavailable { store: self.target.display_url().to_owned(), reason };
                self.watchers.notify_all(&Notice::Failed(failed));
                retry = 0;
            }
            sleep(backoff::delay(retry)).await;
            retry += 1;
        }
    }

    /// Uses up one connection. Returns why it ended, and whether it had been of use.
    async fn listen(&mut self, mut sink: PubSubSink, mut stream: PubSubStream) -> (RedisError, bool) {
        // Everything that is waited for now is subscribed below, so older changes say nothing new.
        while self.changes.try_recv().is_ok() {}
        let waiting = self.watchers.ids();
        let mut listened = false;
        let (keys, settings, watchers) = (&self.keys, &self.settings, &self.watchers);
        let receive = async {
            while let Some(message) = stream.next().await {
                let Ok(channel) = message.get_channel::<String>() else { continue };
                let Some(id) = keys.id(&channel) else { continue };
                match settings.decode(id, Bytes::copy_from_slice(message.get_payload_bytes())) {
                    Ok(meta) if meta.state.is_ready() => watchers.notify(id, Notice::Ready(Arc::new(meta))),
                    Ok(_) => {}
                    Err(error) => watchers.notify(id, Notice::Failed(error)),
                }
            }
        };
        let changes = &mut self.changes;
        let subscribe = async {
            subscribe(&mut sink, keys, watchers, waiting).await?;
            listened = true;
            loop {
                let mut batch = Vec::new();
                tokio::select! {
                    count = changes.recv_many(&mut batch, BATCH) => {
                        if count == 0 {
                            std::future::pending::<()>().await;
                        }
                        apply(&mut sink, keys, watchers, batch).await?;
                    }
                    () = sleep(PING_INTERVAL) => answer(sink.ping::<redis::Value>()).await.map(drop)?,
                }
            }
        };
        let end: RedisResult<()> = tokio::select! {
            () = receive => Err(lost()),
            end = subscribe => end,
        };
        (end.err().unwrap_or_else(lost), listened)
    }
}

/// Listens to the channels of tasks, then has their waiting calls look: what was stored before is seen so.
async fn subscribe(
    sink: &mut PubSubSink,
    keys: &Keys,
    watchers: &Watchers,
    ids: Vec<String>,
) -> RedisResult<()> {
    for ids in ids.chunks(BATCH) {
        let channels: Vec<_> = ids.iter().map(|id| keys.key(id)).collect();
        answer(sink.subscribe(channels)).await?;
        for id in ids {
            watchers.notify(id, Notice::Check);
        }
    }
    Ok(())
}

/// Follows who waits for what, in few commands: only the last change of each task counts.
async fn apply(
    sink: &mut PubSubSink,
    keys: &Keys,
    watchers: &Watchers,
    changes: Vec<Change>,
) -> RedisResult<()> {
    let mut wanted = std::collections::HashMap::new();
    for change in changes {
        match change {
            Change::Added(id) => wanted.insert(id, true),
            Change::Removed(id) => wanted.insert(id, false),
        };
    }
    let (added, removed): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, wanted)| *wanted);
    if !removed.is_empty() {
        let channels: Vec<_> = removed.iter().map(|(id, _)| keys.key(id)).collect();
        answer(sink.unsubscribe(channels)).await?;
    }
    subscribe(sink, keys, watchers, added.into_iter().map(|(id, _)| id).collect()).await
}

async fn answer<T>(request: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(ANSWER_TIMEOUT, request).await.unwrap_or_else(|_| Err(timed_out("no answer in time")))
}

fn timed_out(what: &'static str) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, what).into()
}

fn lost() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection lost").into()
}
