//! A Redis that goes away, and messages that make no sense.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Error, Event, Prefetch, Settlement};
use celeriac_testkit::Redis;

use crate::support::*;

/// Redis is killed and comes back with its data, again and again, while messages are sent and consumed: each that was
/// accepted comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_loses_nothing() {
    const COUNT: usize = 4_000;
    let server = Arc::new(Redis::start());
    // It answers once it is on the disk.
    server.cli(&["CONFIG", "SET", "appendfsync", "always"]);
    let url = server.url(0);
    declare(&connect(&url).await, "q").await;
    let sending = tokio::spawn({
        let url = url.clone();
        async move {
            let mut connection = connect(&url).await;
            for number in 0..COUNT {
                while let Err(error) = try_send(&connection, "q", number).await {
                    assert!(error.is_recoverable(), "{error}");
                    connection = again(&url).await;
                }
            }
        }
    });
    let receiving = tokio::spawn({
        let url = url.clone();
        async move {
            let mut seen = HashSet::new();
            while seen.len() < COUNT {
                let connection = again(&url).await;
                let Ok((session, mut inbox)) = connection.open_session(Prefetch::Session(50)).await else {
                    continue;
                };
                if session.subscribe(&celeriac_broker::Subscription::new("q")).await.is_err() {
                    continue;
                }
                while seen.len() < COUNT {
                    match tokio::time::timeout(DEADLINE, inbox.recv()).await.expect("a message or a loss") {
                        Some(Event::Delivery(delivery)) => {
                            seen.insert(body(&delivery));
                            if session.settle(&[Settlement::Ack(delivery.tag)]).await.is_err() {
                                break;
                            }
                        }
                        Some(Event::Lost(error)) => {
                            assert!(error.is_recoverable(), "{error}");
                            break;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    });
    let killing = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(300));
            server.kill();
            server.restart();
            server.cli(&["CONFIG", "SET", "appendfsync", "always"]);
        }
        server
    });
    let _server = killing.await.unwrap();
    tokio::time::timeout(DEADLINE, sending).await.expect("all is sent").unwrap();
    tokio::time::timeout(DEADLINE, receiving).await.expect("all comes").unwrap();
}

async fn again(url: &str) -> Arc<dyn celeriac_broker::Connection> {
    use celeriac_broker::Transport;
    let transport = transport(url);
    loop {
        match transport.connect().await {
            Ok(connection) => return connection,
            Err(error) => assert!(error.is_recoverable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whoever waits learns at once that Redis is gone.
#[tokio::test]
async fn a_loss_is_told() {
    let server = Redis::start();
    let connection = connect(&server.url(0)).await;
    declare(&connection, "q").await;
    let (session, mut inbox) = consume(&connection, Prefetch::Session(9), &["q"]).await;
    server.kill();
    assert!(matches!(inbox.recv().await, Some(Event::Lost(Error::Lost(_)))));
    assert!(matches!(connection.closed().await, Error::Lost(_)));
    assert!(matches!(session.settle(&[]).await, Err(Error::Lost(_))));
    assert!(matches!(try_send(&connection, "q", 1).await, Err(Error::Lost(_))));
}

/// What is no envelope is handed on, what is no list is told, and the rest goes on.
#[tokio::test]
async fn rubbish_stops_nothing() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let database = database(&url);
    let connection = connect(&url).await;
    for queue in ["q", "odd", "good"] {
        declare(&connection, queue).await;
    }
    ask(server, database, &["SET", "odd", "no list"]);
    let huge = "[".repeat(100_000);
    for rubbish in ["", "rubbish", "{}", r#"{"properties": {}, "body": 7}"#, huge.as_str()] {
        ask(server, database, &["LPUSH", "q", rubbish]);
    }
    let (session, mut inbox) = consume(&connection, Prefetch::Session(9), &["q", "odd", "good"]).await;
    send(&connection, "good", "good").await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        let delivery = next(&mut inbox).await;
        seen.push(body(&delivery).len());
        let settlement = match delivery.tag % 2 {
            0 => Settlement::Reject(delivery.tag),
            _ => Settlement::Ack(delivery.tag),
        };
        session.settle(&[settlement]).await.unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 2, 4, 7, 29, 100_000]);
    assert_eq!(ask(server, database, &["EXISTS", "unacked", "unacked_index", "q"]), "0");
    ask(server, database, &["DEL", "odd"]);
    send(&connection, "odd", "a list now").await;
    assert_eq!(body(&next(&mut inbox).await), "a list now");
}
