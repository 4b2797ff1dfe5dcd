//! Files that cannot be used, or not any more.

use std::path::Path;

use celeriac_broker::{Address, Error, Event, Prefetch, Transport};
use celeriac_protocol::Message;
use celeriac_sqlite::SqliteTransport;
use celeriac_testkit::TempDir;

use crate::support::*;

async fn reason(file: &Path) -> String {
    match SqliteTransport::open(file).connect().await.map(drop) {
        Err(Error::Connect { reason, .. }) => reason,
        other => panic!("it opened: {other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_told() {
    let folder = TempDir::new();
    let missing = reason(&folder.path().join("no/such/folder/jobs.db")).await;
    assert!(missing.contains("no folder") && missing.contains("such"), "{missing}");
    assert!(!reason(folder.path()).await.is_empty(), "a folder is no file");
    let garbage = folder.write("garbage.db", b"This is not a database. ".repeat(1000));
    let garbage = reason(&garbage).await;
    assert!(garbage.contains("not a database"), "{garbage}");
    assert!(!reason(Path::new("/proc/version")).await.is_empty(), "read-only");
}

#[tokio::test]
async fn whose_lock_is_gone_is_told() {
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(1), "q").await;
    // What a tidy cleaner of temporary folders does: the lock that proves that we live is gone, so others may take
    // our messages.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("-owner-") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let other = connect(&file).await;
    let (_other_session, _other_inbox) = consume(&other, Prefetch::Session(1), "q").await;
    assert!(matches!(inbox.recv().await, Some(Event::Lost(Error::Lost(_)))));
    assert!(inbox.recv().await.is_none());
    connection.closed().await;
    assert!(matches!(connection.queue_len("q").await, Err(Error::Lost(_))));
    assert_eq!(other.queue_len("q").await, Ok(0));
}

/// One message that cannot be stored, as on a full disk, where SQLite even rolls the transaction back by itself:
/// those that were to be committed together with it are, and the connection goes on.
#[tokio::test]
async fn what_cannot_be_stored_is_refused_alone() {
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON kombu_message WHEN length(new.payload) > 10000 \
         BEGIN SELECT RAISE(ROLLBACK, 'the disk is full'); END",
    )
    .unwrap();
    let large = Message { body: vec![0; 10_000].into(), ..Message::default() };
    let address = Address::queue("q");
    let large = async {
        let result = connection.publish(&address, large).await;
        assert_eq!(result, Err(Error::Storage("the disk is full".to_owned())));
    };
    tokio::join!(send(&connection, "q", "1"), large, send(&connection, "q", "2"));
    send(&connection, "q", "3").await;
    assert_eq!(connection.queue_len("q").await, Ok(3));
}

#[tokio::test]
async fn rows_that_nobody_can_read_are_delivered_as_they_are() {
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    let db = rusqlite::Connection::open(&file).unwrap();
    for payload in ["'nonsense'", "x'ff00'", "''", "17"] {
        let sql = format!(
            "INSERT INTO kombu_message (visible, payload, version, queue_id) SELECT 1, {payload}, 1, id FROM \
             kombu_queue WHERE name = 'q'"
        );
        db.execute(&sql, []).unwrap();
    }
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(10), "q").await;
    for body in [&b"nonsense"[..], b"\xff\0", b"", b"17"] {
        let delivery = next(&mut inbox).await;
        assert_eq!(delivery.message.body, body);
        assert_eq!(delivery.routing_key, "q");
    }
}
