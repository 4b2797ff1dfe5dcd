//! Results that wait for Redis: in memory, within bounds, written in their order when it is back.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use redis::Cmd;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::link::Link;
use super::{Keys, run};
use crate::{Error, Settings};

/// How much may wait: then whoever has more waits too.
const MAX_COUNT: usize = 10_000;
const MAX_BYTES: usize = 64 << 20;
/// What a result costs besides its bytes, about.
const OVERHEAD: usize = 256;
/// How long a write may take before its task goes on without it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many are written at once when Redis is back.
const BATCH: usize = 256;
/// How long the last ones may take when the store is closed.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Writes results.
pub(super) struct Writer {
    pub(super) link: Arc<Link>,
    pub(super) keys: Arc<Keys>,
    pub(super) settings: Arc<Settings>,
    pub(super) hash: String,
}

/// Keeps and publishes a result unless a success is there. The status stands first in what Celery's JSON and
/// msgpack write, and in a line of its own in YAML; only what looks otherwise is decoded. Redis runs it as one step
/// and one round trip, where Celery reads, decides and writes.
pub(super) const STORE: &str = r#"
local key, data, seconds, serializer = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local function is_success(kept)
    if kept:sub(1, 12) == '{"status": "' then
        return kept:sub(13, 20) == 'SUCCESS"'
    elseif serializer == 'yaml' then
        return kept:find('\nstatus: SUCCESS\n', 1, true)
    elseif serializer == 'msgpack' and kept:sub(2, 8) == '\166status' then
        return kept:sub(9, 16) == '\167SUCCESS'
    end
    local ok, meta = pcall(serializer == 'msgpack' and cmsgpack.unpack or cjson.decode, kept)
    return ok and type(meta) == 'table' and meta.status == 'SUCCESS'
end
local kept = redis.call('GET', key)
if kept and is_success(kept) then
    return 0
end
if seconds == '' then
    redis.call('SET', key, data)
else
    redis.call('SETEX', key, seconds, data)
end
redis.call('PUBLISH', key, data)
return 1
"#;

impl Writer {
    async fn write(&self, id: &str, data: &[u8]) -> Result<(), Error> {
        let seconds = self.settings.seconds().unwrap_or_default();
        let call = |command: &str, script: &str| {
            let mut call = Cmd::new();
            call.arg(command).arg(script).arg(1).arg(self.keys.key(id));
            call.arg(data).arg(&seconds).arg(self.settings.serializer.name());
            call
        };
        run(&self.link, &self.hash, STORE, call).await.map(drop)
    }
}

/// What waits. Nothing passes it: a state of a task must not come after its next one.
pub(super) struct Writes {
    writer: Writer,
    waiting: Mutex<Waiting>,
    /// Something was written, or never will be.
    moved: Notify,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Entry>,
    bytes: usize,
    drain: Option<JoinHandle<()>>,
    closed: bool,
}

struct Entry {
    id: String,
    data: Bytes,
    /// Who waits until it is written; nobody where its task has gone on.
    waits: Option<oneshot::Sender<Result<(), Error>>>,
}

impl Writes {
    pub(super) fn new(writer: Writer) -> Arc<Self> {
        Arc::new(Writes { writer, waiting: Mutex::default(), moved: Notify::new() })
    }

    /// Writes a result; returns when it is written.
    pub(super) async fn write(self: &Arc<Self>, id: &str, data: Bytes) -> Result<(), Error> {
        if self.is_empty() {
            return self.writer.write(id, &data).await;
        }
        let (done, written) = oneshot::channel();
        self.push(Entry { id: id.to_owned(), data, waits: Some(done) });
        written.await.unwrap_or_else(|_| Err(self.writer.link.closed()))
    }

    /// Writes a result; returns when it is written, or waits here with room for it.
    pub(super) async fn hold(self: &Arc<Self>, id: &str, data: Bytes) -> Result<(), Error> {
        if self.is_empty() {
            match timeout(PATIENCE, self.writer.write(id, &data)).await {
                Ok(Err(error)) if error.is_recoverable() => {}
                Ok(answer) => return answer,
                Err(_) => {}
            }
        }
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            {
                let waiting = self.lock();
                if waiting.closed {
                    return Err(self.writer.link.closed());
                }
                if waiting.queue.len() < MAX_COUNT && waiting.bytes < MAX_BYTES {
                    break;
                }
            }
            moved.await;
        }
        self.push(Entry { id: id.to_owned(), data, waits: None });
        Ok(())
    }

    /// Gives what waits a last chance. What is left is lost, and told.
    pub(super) async fn close(self: &Arc<Self>) {
        let drain = {
            let mut waiting = self.lock();
            waiting.closed = true;
            waiting.drain.take()
        };
        if let Some(drain) = drain {
            // It runs where the first result had to wait: on the threads of tasks, which may be gone before the store is.
            drain.abort();
            let _ = timeout(PATIENCE, drain).await;
            let _ = timeout(LAST_WORDS, self.clone().drain()).await;
        }
        let left: Vec<_> = self.lock().queue.drain(..).collect();
        let error = self.writer.link.closed();
        left.into_iter().for_each(|entry| entry.give_up(&error));
        self.moved.notify_waiters();
    }

    fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    fn push(self: &Arc<Self>, entry: Entry) {
        let mut waiting = self.lock();
        if waiting.closed {
            return entry.give_up(&self.writer.link.closed());
        }
        waiting.bytes += entry.cost();
        waiting.queue.push_back(entry);
        if waiting.drain.as_ref().is_none_or(JoinHandle::is_finished) {
            tracing::warn!("Results wait in memory for {}, which is away", self.writer.link.display_url());
            waiting.drain = Some(tokio::spawn(self.clone().drain()));
        }
    }

    /// Writes what waits until nothing does: one alone while Redis is away, then many at once.
    async fn drain(self: Arc<Self>) {
        let (mut size, mut tries, mut written) = (1, 0, 0);
        let retry = self.writer.settings.retry;
        loop {
            let batch = self.next(size);
            if batch.is_empty() {
                tracing::info!("All {written} results that waited are stored");
                return;
            }
            let writes = batch.iter().map(|(id, data)| self.writer.write(id, data));
            let answers = join_all(writes).await;
            // Those behind one that is not written wait with it.
            let done = answers.iter().take_while(|answer| !answer.as_ref().is_err_and(Error::is_recoverable));
            let done = done.count();
            written += done;
            match answers.get(done) {
                None => (size, tries) = ((size * 2).min(BATCH), 0),
                Some(_) if done > 0 => size = 1,
                Some(Err(error)) if retry.is_over(tries) => {
                    let error = error.clone();
                    let given_up = self.take(1);
                    given_up.into_iter().for_each(|entry| entry.give_up(&error));
                    tries = 0;
                }
                Some(answer) => {
                    size = 1;
                    let pause = retry.pause(tries);
                    tries = tries.saturating_add(1);
                    if let Err(error) = answer {
                        let count = self.lock().queue.len();
                        let pause = pause.as_secs_f64();
                        tracing::warn!(
                            "{count} results wait in memory, retry {tries} in {pause:.2}s: {error}"
                        );
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            for (entry, answer) in self.take(done).into_iter().zip(answers) {
                match answer {
                    Ok(()) => entry.tell(Ok(())),
                    Err(error) => entry.give_up(&error),
                }
            }
        }
    }

    /// The first of what waits, no task twice. Nothing is taken away.
    fn next(&self, size: usize) -> Vec<(String, Bytes)> {
        let mut waiting = self.lock();
        let mut ids = HashSet::new();
        let batch = waiting.queue.iter().take(size).take_while(|entry| ids.insert(entry.id.as_str()));
        let batch: Vec<_> = batch.map(|entry| (entry.id.clone(), entry.data.clone())).collect();
        if batch.is_empty() {
            // Under the lock: what comes now starts anew.
            waiting.drain = None;
        }
        batch
    }

    fn take(&self, count: usize) -> Vec<Entry> {
        let mut waiting = self.lock();
        let count = count.min(waiting.queue.len());
        let taken: Vec<_> = waiting.queue.drain(..count).collect();
        waiting.bytes -= taken.iter().map(Entry::cost).sum::<usize>();
        drop(waiting);
        self.moved.notify_waiters();
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn cost(&self) -> usize {
        self.id.len() + self.data.len() + OVERHEAD
    }

    fn tell(self, answer: Result<(), Error>) {
        if let Some(waits) = self.waits {
            let _ = waits.send(answer);
        }
    }

    /// It is never written: who waits is told, or the log.
    fn give_up(self, error: &Error) {
        if self.waits.is_none() {
            tracing::error!("The result of {} is lost: {error}", self.id);
        }
        self.tell(Err(error.clone()));
    }
}
