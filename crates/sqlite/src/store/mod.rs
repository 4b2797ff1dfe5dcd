//! The SQL. Everything here runs inside a transaction, and changes nothing outside of the file: what follows from
//! a commit is collected as [`Effect`]s.

mod declare;
mod expire;
mod lease;
mod publish;
mod queue;
mod reap;
mod settle;

pub(crate) use publish::Parcel;
pub(crate) use settle::opaque;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use celeriac_broker::Prefetch;
use rusqlite::{Connection, OptionalExtension};

use crate::session::{Held, Sessions, Source};

/// A transaction of one connection.
pub(crate) struct Tx<'a> {
    pub db: &'a Connection,
    pub path: &'a Path,
    pub owner: i64,
    /// Milliseconds since the epoch.
    pub now: i64,
    pub sessions: &'a Sessions,
    pub effects: Vec<Effect>,
}

/// What happens after the commit.
pub(crate) enum Effect {
    /// Some queue may have something to deliver.
    Ready,
    /// Something has to be looked after at this time, in milliseconds since the epoch.
    Due(i64),
    /// A session consumes a queue.
    Subscribed { session: u64, source: Source },
    /// A session does not any more.
    Unsubscribed { session: u64, queue_id: i64 },
    /// A session's queue was deleted.
    Cancelled { session: u64, queue_id: i64 },
    /// A session may hold more, or less.
    Prefetch { session: u64, prefetch: Prefetch },
    /// Deliveries are no longer a session's.
    Settled { session: u64, tags: Vec<u64> },
    /// Messages were leased for a session.
    Leased { session: u64, queue: Arc<str>, leases: Vec<Lease> },
    /// A session is over.
    Closed { session: u64 },
}

/// A message for a session.
pub(crate) struct Lease {
    /// What to hold until it is settled; nothing where the subscription is without acks.
    pub held: Option<Held>,
    pub payload: Vec<u8>,
    pub redelivered: bool,
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

impl<'a> Tx<'a> {
    pub fn new(db: &'a Connection, path: &'a Path, owner: i64, sessions: &'a Sessions) -> Self {
        Tx { db, path, owner, now: now(), sessions, effects: Vec::new() }
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.db.prepare_cached(sql)?.execute(params)
    }

    /// The first row, if there is one.
    fn row<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.db.prepare_cached(sql)?.query_row(params, read).optional()
    }

    /// The first column of every row.
    fn column<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> rusqlite::Result<Vec<T>> {
        self.db.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
    }
}
