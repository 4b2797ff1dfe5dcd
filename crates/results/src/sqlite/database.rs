//! The thread that owns the file.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::oneshot;

use crate::watchers::{Notice, Watchers};

/// How many requests are taken at once.
const BATCH: usize = 512;
/// How many expired results go in one transaction.
const SWEEP: usize = 1_000;
/// How often expired results are looked for, while results are stored.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// How soon the file is looked at again while somebody waits: sooner when there was news.
const LOOK_SOONEST: Duration = Duration::from_millis(5);
const LOOK_LATEST: Duration = Duration::from_millis(100);

/// Where an answer goes; errors are text.
pub(super) type Reply<T> = oneshot::Sender<Result<T, String>>;

pub(super) enum Request {
    Write(Write, Reply<()>),
    Read(Read, Reply<Option<Vec<u8>>>),
    Close(Reply<()>),
}

pub(super) enum Write {
    Store { id: String, state: String, meta: Bytes, expires: Option<Duration> },
    Forget { id: String },
}

pub(super) struct Read {
    pub(super) id: String,
}

pub(super) struct Database {
    connection: Connection,
    watchers: Arc<Watchers>,
    /// The newest row that those who wait were told of, while there are any.
    told: Option<i64>,
    look_in: Duration,
    next_sweep: Instant,
}

impl Database {
    pub(super) fn new(connection: Connection, watchers: Arc<Watchers>) -> Self {
        Database { connection, watchers, told: None, look_in: LOOK_SOONEST, next_sweep: Instant::now() }
    }

    /// Works until the store is closed or dropped.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let mut next_look = Instant::now();
        loop {
            let first = if self.told.is_none() {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                requests.recv_timeout(next_look.saturating_duration_since(Instant::now()))
            };
            let mut writes = Vec::new();
            let mut reads = Vec::new();
            let mut closing = None;
            match first {
                Ok(first) => {
                    for request in std::iter::once(first).chain(requests.try_iter()).take(BATCH) {
                        match request {
                            Request::Write(write, reply) => writes.push((write, reply)),
                            Request::Read(read, reply) => reads.push((read, reply)),
                            Request::Close(reply) => closing = Some(reply),
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let has_written = !writes.is_empty();
            if has_written {
                self.write(writes);
            }
            // Before the reads: what is stored after them is then seen as new.
            if has_written || self.told.is_none() || Instant::now() >= next_look {
                self.look();
                next_look = Instant::now() + self.look_in;
            }
            for (read, reply) in reads {
                let _ = reply.send(self.read(&read).map_err(|error| error.to_string()));
            }
            if let Some(reply) = closing {
                let _ = reply.send(Ok(()));
                return;
            }
        }
    }

    /// One transaction for all; it is kept whole or not at all, and nobody hears of it before.
    fn write(&mut self, writes: Vec<(Write, Reply<()>)>) {
        let (writes, replies): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        let outcome = self.try_write(&writes).map_err(|error| error.to_string());
        for reply in replies {
            let _ = reply.send(outcome.clone());
        }
    }

    fn try_write(&mut self, writes: &[Write]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = now();
        for write in writes {
            match write {
                Write::Store { id, state, meta, expires } => {
                    let expires = expires.map(|expires| now.saturating_add(millis(expires)));
                    transaction
                        .prepare_cached(
                            "INSERT OR REPLACE INTO celeriac_result (id, state, expires, meta)
                             SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (
                                 SELECT 1 FROM celeriac_result
                                 WHERE id = ?1 AND (expires IS NULL OR expires > ?5) AND (state = 'SUCCESS'
                                     OR ?2 = 'RETRY' AND state IN ('FAILURE', 'REVOKED')))",
                        )?
                        .execute(params![id, state, expires, meta.as_ref(), now])?;
                }
                Write::Forget { id } => {
                    transaction.prepare_cached("DELETE FROM celeriac_result WHERE id = ?1")?.execute([id])?;
                }
            }
        }
        if Instant::now() >= self.next_sweep {
            let swept = transaction
                .prepare_cached(
                    "DELETE FROM celeriac_result WHERE seq IN (
                         SELECT seq FROM celeriac_result WHERE expires <= ?1 LIMIT ?2)",
                )?
                .execute(params![now, SWEEP as i64])?;
            // A full sweep has left some: go on at the next write.
            if swept < SWEEP {
                self.next_sweep = Instant::now() + SWEEP_INTERVAL;
            }
        }
        transaction.commit()
    }

    fn read(&self, read: &Read) -> rusqlite::Result<Option<Vec<u8>>> {
        self.connection
            .prepare_cached(
                "SELECT meta FROM celeriac_result WHERE id = ?1 AND (expires IS NULL OR expires > ?2)",
            )?
            .query_row(params![read.id, now()], |row| {
                // What is neither bytes nor text is no result, as no bytes are none.
                Ok(row.get_ref(0)?.as_bytes().unwrap_or_default().to_vec())
            })
            .optional()
    }

    /// Tells those who wait what is new, whoever wrote it.
    fn look(&mut self) {
        if self.watchers.is_empty() {
            self.told = None;
            self.look_in = LOOK_SOONEST;
            return;
        }
        match self.try_look() {
            Ok(true) => self.look_in = LOOK_SOONEST,
            Ok(false) => self.look_in = (self.look_in * 2).min(LOOK_LATEST),
            Err(error) => {
                tracing::warn!("Results cannot be looked for: {error}");
                self.look_in = LOOK_LATEST;
            }
        }
    }

    /// Returns whether there was news.
    fn try_look(&mut self) -> rusqlite::Result<bool> {
        let Some(told) = self.told else {
            // Whoever waits now has yet to read for the first time.
            let newest = "SELECT COALESCE(MAX(seq), 0) FROM celeriac_result";
            self.told = Some(self.connection.prepare_cached(newest)?.query_row([], |row| row.get(0))?);
            return Ok(true);
        };
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, id FROM celeriac_result WHERE seq > ?1 ORDER BY seq")?;
        let mut rows = statement.query([told])?;
        let mut newest = told;
        while let Some(row) = rows.next()? {
            newest = row.get(0)?;
            let id = row.get_ref(1)?;
            if let Ok(id) = id.as_str() {
                self.watchers.notify(id, Notice::Check);
            }
        }
        self.told = Some(newest);
        Ok(newest > told)
    }
}

/// Milliseconds since the epoch, by the wall clock: processes must agree.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
