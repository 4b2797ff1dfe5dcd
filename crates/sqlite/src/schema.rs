//! The file: kombu's tables as SQLAlchemy makes them (`kombu/transport/sqlalchemy/models.py`), and our own beside
//! them, with names that begin with `celeriac_`.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::Synchronous;
use crate::fault::is_busy;

/// How long to wait for somebody else's transaction.
const BUSY: Duration = Duration::from_secs(10);

const TABLES: &str = r#"
CREATE TABLE IF NOT EXISTS kombu_queue (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(200),
    UNIQUE (name)
);
CREATE TABLE IF NOT EXISTS kombu_message (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    visible BOOLEAN,
    timestamp DATETIME,
    payload TEXT NOT NULL,
    version SMALLINT NOT NULL,
    queue_id INTEGER,
    CONSTRAINT "FK_kombu_message_queue" FOREIGN KEY(queue_id) REFERENCES kombu_queue (id)
);
CREATE INDEX IF NOT EXISTS ix_kombu_message_timestamp ON kombu_message (timestamp);
CREATE INDEX IF NOT EXISTS ix_kombu_message_visible ON kombu_message (visible);
CREATE INDEX IF NOT EXISTS ix_kombu_message_timestamp_id ON kombu_message (timestamp, id);

-- Kombu looks through all queues' messages for one of its own; we do not.
CREATE INDEX IF NOT EXISTS celeriac_ready ON kombu_message (queue_id, visible);

-- What kombu_message has no column for. A row with an owner is a lease.
CREATE TABLE IF NOT EXISTS celeriac_message (
    id INTEGER PRIMARY KEY,
    queue_id INTEGER NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER,
    deliveries INTEGER NOT NULL DEFAULT 0,
    owner INTEGER
);
CREATE INDEX IF NOT EXISTS celeriac_message_priority ON celeriac_message (queue_id, priority DESC, id)
    WHERE priority > 0 AND owner IS NULL;
CREATE INDEX IF NOT EXISTS celeriac_message_expiry ON celeriac_message (expires_at)
    WHERE expires_at IS NOT NULL AND owner IS NULL;

-- Durations and times in milliseconds. Queues that kombu made have no row here.
CREATE TABLE IF NOT EXISTS celeriac_queue (
    id INTEGER PRIMARY KEY,
    declared TEXT NOT NULL,
    auto_delete INTEGER NOT NULL,
    owner INTEGER,
    max_priority INTEGER,
    message_ttl INTEGER,
    expires INTEGER,
    used_at INTEGER NOT NULL,
    dead_letter_exchange TEXT,
    dead_letter_routing_key TEXT
);
CREATE TABLE IF NOT EXISTS celeriac_exchange (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    declared TEXT NOT NULL,
    auto_delete INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS celeriac_binding (
    exchange TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    queue_id INTEGER NOT NULL,
    PRIMARY KEY (exchange, routing_key, queue_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS celeriac_binding_queue ON celeriac_binding (queue_id);
CREATE TABLE IF NOT EXISTS celeriac_consumer (
    queue_id INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    session INTEGER NOT NULL,
    exclusive INTEGER NOT NULL,
    PRIMARY KEY (queue_id, owner, session)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS celeriac_owner (id INTEGER PRIMARY KEY);
"#;

/// Opens the file, and makes what is missing.
pub(crate) fn open(path: &Path, synchronous: Synchronous) -> rusqlite::Result<Connection> {
    let deadline = Instant::now() + BUSY;
    loop {
        // SQLite does not call the busy handler for everything that happens here.
        match try_open(path, synchronous) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => back_off(0),
            result => return result,
        };
    }
}

fn try_open(path: &Path, synchronous: Synchronous) -> rusqlite::Result<Connection> {
    let mut db = Connection::open(path)?;
    db.busy_handler(Some(back_off))?;
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    let synchronous = match synchronous {
        Synchronous::Normal => "normal",
        Synchronous::Full => "full",
    };
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.commit()?;
    Ok(db)
}

/// SQLite's own back-off grows to a tenth of a second; transactions here take about a millisecond.
fn back_off(attempt: i32) -> bool {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let step = u64::from(100 + clock.subsec_nanos() % 100);
    let pause = Duration::from_micros(step * u64::from(attempt.clamp(1, 10).unsigned_abs()));
    std::thread::sleep(pause);
    attempt < 8000
}
