//! The file: how it is opened, and its table.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// A result gets a new `seq` whenever it is stored, so that whoever waits reads what is new and nothing else. The
/// bytes come last: a look at the other columns need not read them.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS celeriac_result (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        expires INTEGER,
        meta BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS celeriac_result_expires ON celeriac_result (expires)
        WHERE expires IS NOT NULL;
";

/// How often a locked file is tried, some milliseconds apart: about half a minute.
const MAX_TRIES: i32 = 10_000;

pub(super) fn open(path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    // No SQLITE_OPEN_URI: a path is a path.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_lock))?;
    set_wal(&connection)?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?;
    Ok(connection)
}

/// SQLite does not call the busy handler when two processes change the mode at once.
fn set_wal(connection: &Connection) -> rusqlite::Result<()> {
    let mut tries = 0;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && wait_for_lock(tries) =>
            {
                tries += 1;
            }
            done => return done,
        }
    }
}

/// A transaction of a neighbour takes about a millisecond; SQLite's own handler soon waits a hundred.
fn wait_for_lock(tries: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1 + u64::from(tries.unsigned_abs() % 5)));
    tries < MAX_TRIES
}
