//! The SQLite file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::Revoked;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};

use super::foreign;
use crate::consumer::Consumer;
use crate::revokes::Revokes;

/// By which a file of ours is known: `celr`.
const APPLICATION: i32 = 0x6365_6c72;
/// The version of the tables.
const VERSION: i32 = 1;
/// How long a worker that is about to end is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// `revoked` is in the order in which ids are forgotten.
const SCHEMA: &str = "
    CREATE TABLE clock (value INTEGER NOT NULL);
    CREATE TABLE revoked (stamp REAL NOT NULL, id TEXT NOT NULL, PRIMARY KEY (stamp, id)) WITHOUT ROWID;
    CREATE TABLE revoked_stamp (header TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (header, value))
        WITHOUT ROWID;
    CREATE TABLE task (name TEXT PRIMARY KEY, runs INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO clock VALUES (0);
";

/// The file, which nobody else can use meanwhile.
pub(super) struct File(Connection);

/// What a file holds.
pub(super) struct Loaded {
    pub(super) clock: u64,
    /// Ids and when they were revoked, in seconds since 1970, oldest first.
    pub(super) ids: Vec<(String, f64)>,
    /// Headers and values, as JSON.
    pub(super) stamps: Vec<(String, Bytes)>,
    pub(super) runs: Vec<(String, u64)>,
}

/// What is known to be in the file.
#[derive(Default, Clone)]
pub(super) struct Saved {
    clock: u64,
    id_changes: Option<u64>,
    /// The newest of the ids, and how many there are.
    newest: Option<f64>,
    ids: usize,
    stamp_changes: Option<u64>,
    runs: HashMap<String, u64>,
}

impl File {
    /// Opens a file of ours, or makes one.
    ///
    /// # Errors
    /// When it is somebody else's, which is left as it is, or another process uses it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        foreign::check(path)?;
        // No SQLITE_OPEN_URI: a path is a path.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| said(&error))?;
        let mut file = File(connection);
        file.claim().map_err(|error| said(&error))??;
        Ok(file)
    }

    /// Makes it ours alone, if it is ours at all.
    fn claim(&mut self) -> rusqlite::Result<Result<(), String>> {
        let connection = &mut self.0;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let (application, version) = (pragma("application_id")?, pragma("user_version")?);
        let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let is_new = application == 0 && tables == 0;
        if !is_new && application != APPLICATION {
            // Python 3.13 has a `dbm` of SQLite.
            let python = connection.table_exists(None, "Dict")?;
            let reason = if python { foreign::PYTHON } else { "it is a database of another program" };
            return Ok(Err(reason.to_owned()));
        }
        if !is_new && version != VERSION {
            return Ok(Err(format!("its version is {version}; this program knows {VERSION}")));
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if is_new {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
        Ok(Ok(()))
    }

    /// All that it holds.
    pub(super) fn load(&self) -> rusqlite::Result<Loaded> {
        let connection = &self.0;
        let clock: i64 = connection.query_row("SELECT value FROM clock", [], |row| row.get(0))?;
        let mut ids = connection.prepare("SELECT id, stamp FROM revoked ORDER BY stamp, id")?;
        let mut stamps = connection.prepare("SELECT header, value FROM revoked_stamp")?;
        let mut runs = connection.prepare("SELECT name, runs FROM task")?;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Loaded {
            clock: count(clock),
            ids: ids.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?,
            stamps: stamps
                .query_map([], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?.into())))?
                .collect::<Result<_, _>>()?,
            runs: runs
                .query_map([], |row| Ok((row.get(0)?, count(row.get(1)?))))?
                .collect::<Result<_, _>>()?,
        })
    }

    /// Writes what is not in it yet, all or nothing.
    pub(super) fn save(&mut self, consumer: &Consumer, saved: &mut Saved) -> rusqlite::Result<()> {
        let mut now = saved.clone();
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Deferred)?;
        save_ids(&transaction, &consumer.revokes, &mut now)?;
        save_stamps(&transaction, &consumer.revokes, &mut now)?;
        save_runs(&transaction, consumer, &mut now)?;
        let clock = consumer.clock.value();
        if std::mem::replace(&mut now.clock, clock) != clock {
            transaction.execute("UPDATE clock SET value = ?1", [i64::try_from(clock).unwrap_or(i64::MAX)])?;
        }
        transaction.commit()?;
        *saved = now;
        Ok(())
    }
}

/// The oldest go, the newest come: what is in between need not be looked at, unless the numbers do not fit.
fn save_ids(transaction: &Transaction<'_>, revokes: &Revokes, saved: &mut Saved) -> rusqlite::Result<()> {
    let changes = revokes.id_changes.load(Ordering::Acquire);
    if saved.id_changes.replace(changes) == Some(changes) {
        return Ok(());
    }
    let (oldest, added, count) = {
        let ids = revokes.ids();
        let oldest = ids.iter().next().map(|(id, stamp)| (id.to_owned(), stamp));
        (oldest, since(&ids, saved.newest.unwrap_or(f64::NEG_INFINITY)), ids.len())
    };
    let dropped = match oldest {
        Some((id, stamp)) => {
            transaction.execute("DELETE FROM revoked WHERE (stamp, id) < (?1, ?2)", params![stamp, id])?
        }
        None => transaction.execute("DELETE FROM revoked", [])?,
    };
    saved.newest = added.last().map(|(_, stamp)| *stamp).or(saved.newest);
    saved.ids = saved.ids.saturating_sub(dropped) + insert_ids(transaction, &added)?;
    if saved.ids != count {
        let all = since(&revokes.ids(), f64::NEG_INFINITY);
        transaction.execute("DELETE FROM revoked", [])?;
        saved.ids = insert_ids(transaction, &all)?;
    }
    Ok(())
}

/// The ids that were revoked at or after a time, oldest first.
fn since(ids: &Revoked, time: f64) -> Vec<(String, f64)> {
    let newest = ids.iter().rev().take_while(|(_, stamp)| *stamp >= time);
    let mut newest: Vec<_> = newest.map(|(id, stamp)| (id.to_owned(), stamp)).collect();
    newest.reverse();
    newest
}

fn insert_ids(transaction: &Transaction<'_>, ids: &[(String, f64)]) -> rusqlite::Result<usize> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO revoked (id, stamp) VALUES (?1, ?2)")?;
    ids.iter().map(|(id, stamp)| insert.execute(params![id, stamp])).sum()
}

fn save_stamps(transaction: &Transaction<'_>, revokes: &Revokes, saved: &mut Saved) -> rusqlite::Result<()> {
    let changes = revokes.stamp_changes.load(Ordering::Acquire);
    if saved.stamp_changes.replace(changes) == Some(changes) {
        return Ok(());
    }
    let stamps = revokes.stamps().clone();
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO revoked_stamp (header, value) VALUES (?1, ?2)")?;
    for (header, values) in &stamps {
        for value in values {
            insert.execute(params![header, value.as_ref()])?;
        }
    }
    Ok(())
}

fn save_runs(transaction: &Transaction<'_>, consumer: &Consumer, saved: &mut Saved) -> rusqlite::Result<()> {
    let mut upsert =
        transaction.prepare_cached("INSERT OR REPLACE INTO task (name, runs) VALUES (?1, ?2)")?;
    for (name, task) in &consumer.tasks {
        let runs = task.runs.load(Ordering::Relaxed);
        if saved.runs.get(name).copied().unwrap_or_default() != runs {
            upsert.execute(params![name, i64::try_from(runs).unwrap_or(i64::MAX)])?;
            saved.runs.insert(name.clone(), runs);
        }
    }
    Ok(())
}

fn said(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process uses it; each worker needs a file of its own".to_owned()
        }
        Some(ErrorCode::NotADatabase) => "it is no database".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(file: &File) -> Vec<(String, f64)> {
        file.load().unwrap().ids
    }

    #[test]
    fn the_file_has_the_ids_that_are_known_whatever_the_clock_does() {
        let folder = std::env::temp_dir().join(format!("celeriac-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let mut file = File::open(&folder.join("state")).unwrap();
        let (revokes, mut saved) = (Revokes::new(5, 100.0), Saved::default());
        let rounds: [&[(&str, f64)]; 9] = [
            &[("a", 1.0), ("b", 2.0)],
            &[],
            &[("c", 2.0), ("d", 2.0)],
            // Back in time.
            &[("e", 1.5)],
            // One too many, of several of one time.
            &[("f", 9.0)],
            &[("g", 9.0), ("h", 9.0)],
            // All but the last expire, and one that was dropped comes again.
            &[("a", 105.0)],
            &[("i", 300.0), ("j", 301.0)],
            // Revoked again.
            &[("i", 302.0)],
        ];
        for round in rounds {
            if !round.is_empty() {
                revokes.change_ids(|ids| round.iter().for_each(|(id, stamp)| _ = ids.revoke(id, *stamp)));
            }
            let transaction = file.0.transaction().unwrap();
            save_ids(&transaction, &revokes, &mut saved).unwrap();
            transaction.commit().unwrap();
            let known: Vec<_> = revokes.ids().iter().map(|(id, stamp)| (id.to_owned(), stamp)).collect();
            assert_eq!(rows(&file), known, "after {round:?}");
            assert_eq!(saved.ids, known.len());
        }
        drop(file);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
