//! Many messages, counted exactly.

use std::collections::HashSet;

use celeriac_broker::{Prefetch, Settlement};
use celeriac_testkit::TempDir;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_arrive_once() {
    const COUNT: usize = 100_000;
    const PUBLISHERS: usize = 64;
    let folder = TempDir::new();
    let file = folder.path().join("jobs.db");
    let connection = connect(&file).await;
    declare(&connection, "q").await;
    let receiver = connect(&file).await;
    let (session, mut inbox) = consume(&receiver, Prefetch::Session(500), "q").await;
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let connection = connection.clone();
            tokio::spawn(async move {
                for number in (publisher..COUNT).step_by(PUBLISHERS) {
                    send(&connection, "q", number.to_string()).await;
                }
            })
        })
        .collect();
    let mut seen = HashSet::with_capacity(COUNT);
    while seen.len() < COUNT {
        let delivery = next(&mut inbox).await;
        assert!(seen.insert(delivery.message.body), "twice");
        if delivery.tag % 100 == 0 || seen.len() == COUNT {
            session.settle(&[Settlement::AckThrough(delivery.tag)]).await.unwrap();
        }
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    receiver.close().await;
    assert_eq!(connection.queue_len("q").await, Ok(0));
    let db = rusqlite::Connection::open(&file).unwrap();
    for table in ["kombu_message", "celeriac_message", "celeriac_consumer"] {
        let rows: i64 = db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}
