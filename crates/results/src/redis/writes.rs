//! Results that wait for Redis: in memory, within bounds, written in their order when it is back.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::writer::{Encoded, Writer};
use crate::Error;

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

/// What waits. Nothing passes it: a state of a task must not come after its next one.
pub(super) struct Writes {
    writer: Writer,
    waiting: Mutex<Waiting>,
    /// Something was written, or never will be.
    moved: Notify,
    /// Whether somebody writes what waits. Whoever waits looks after that: who wrote may have ended with his runtime.
    draining: AtomicBool,
    stopped: Notify,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Entry>,
    bytes: usize,
    drain: Option<JoinHandle<()>>,
    closed: bool,
}

struct Entry {
    state: Arc<Encoded>,
    /// Who waits until it is written; nobody where its task has gone on.
    waits: Option<oneshot::Sender<Result<(), Error>>>,
}

impl Writes {
    pub(super) fn new(writer: Writer) -> Arc<Self> {
        Arc::new(Writes {
            writer,
            waiting: Mutex::default(),
            moved: Notify::new(),
            draining: AtomicBool::new(false),
            stopped: Notify::new(),
        })
    }

    /// Writes a result; returns when it is written.
    pub(super) async fn write(self: &Arc<Self>, state: Encoded) -> Result<(), Error> {
        if self.is_empty() {
            return self.writer.write(&state).await;
        }
        let (done, mut written) = oneshot::channel();
        self.push(Entry { state: Arc::new(state), waits: Some(done) });
        loop {
            let stopped = self.stopped.notified();
            tokio::pin!(stopped);
            stopped.as_mut().enable();
            self.keep_draining();
            tokio::select! {
                answer = &mut written => return answer.unwrap_or_else(|_| Err(self.writer.link.closed())),
                () = stopped => {}
            }
        }
    }

    /// Writes a result; returns when it is written, or waits here with room for it.
    pub(super) async fn hold(self: &Arc<Self>, mut state: Encoded) -> Result<(), Error> {
        if self.is_empty() {
            match timeout(PATIENCE, self.writer.write(&state)).await {
                Ok(Err(error)) if error.is_recoverable() => {}
                Ok(answer) => return answer,
                Err(_) => {}
            }
        }
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            self.keep_draining();
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
        state.late |= !state.is_ready;
        self.push(Entry { state: Arc::new(state), waits: None });
        self.keep_draining();
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
    }

    /// Has what waits written, if nobody does that.
    fn keep_draining(self: &Arc<Self>) {
        let mut waiting = self.lock();
        if waiting.closed || waiting.queue.is_empty() || self.draining.swap(true, Relaxed) {
            return;
        }
        tracing::warn!("Results wait in memory for {}, which is away", self.writer.link.display_url());
        let turn = Turn { writes: Arc::clone(self), is_over: false };
        waiting.drain = Some(tokio::spawn(turn.take()));
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
            let writes = batch.iter().map(|state| self.writer.write(state));
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
    fn next(&self, size: usize) -> Vec<Arc<Encoded>> {
        let waiting = self.lock();
        let mut ids = HashSet::new();
        let batch = waiting.queue.iter().take(size).take_while(|entry| ids.insert(entry.state.id.as_str()));
        let batch: Vec<_> = batch.map(|entry| Arc::clone(&entry.state)).collect();
        if batch.is_empty() {
            // Under the lock: what comes now starts anew.
            self.draining.store(false, Relaxed);
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

/// The turn of whoever writes what waits.
struct Turn {
    writes: Arc<Writes>,
    is_over: bool,
}

impl Turn {
    async fn take(mut self) {
        self.writes.clone().drain().await;
        self.is_over = true;
    }
}

impl Drop for Turn {
    /// The runtime has ended before the turn has: somebody else may take one. No lock may be taken here, since a
    /// runtime that is ending drops what is spawned on it at once.
    fn drop(&mut self) {
        if !self.is_over {
            self.writes.draining.store(false, Relaxed);
            self.writes.stopped.notify_waiters();
            self.writes.moved.notify_waiters();
        }
    }
}

impl Entry {
    fn cost(&self) -> usize {
        self.state.id.len() + self.state.data.len() + OVERHEAD
    }

    fn tell(self, answer: Result<(), Error>) {
        if let Some(waits) = self.waits {
            let _ = waits.send(answer);
        }
    }

    /// It is never written: who waits is told, or the log.
    fn give_up(self, error: &Error) {
        if self.waits.is_none() {
            tracing::error!("The result of {} is lost: {error}", self.state.id);
        }
        self.tell(Err(error.clone()));
    }
}
