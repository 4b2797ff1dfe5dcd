//! What becomes of sessions when something fails half way.

use celeriac_broker::{Address, Binding, Error, Event, Exchange, ExchangeKind, Prefetch, Published, Queue};
use celeriac_broker::{Settlement, Topology};
use celeriac_testkit::Redis;

use crate::support::*;

/// A script that fails after it has written leases: their numbers are never given to other messages.
#[tokio::test]
async fn a_script_done_by_halves_ends_the_connection() {
    let server = Redis::start();
    let url = server.url(0);
    let admin = connect(&url).await;
    declare(&admin, "q").await;
    for number in 0..2 {
        send(&admin, "q", number).await;
    }
    server.cli(&["ACL", "SETUSER", "half", "on", ">word", "~*", "&*", "+@all", "-ltrim"]);
    let half = connect(&format!("redis://half:word@127.0.0.1:{}/0", server.port())).await;
    let (_session, mut inbox) = consume(&half, Prefetch::Session(1), &["q"]).await;
    let event = tokio::time::timeout(DEADLINE, inbox.recv()).await.unwrap();
    assert!(matches!(&event, Some(Event::Lost(error)) if error.is_recoverable()), "{event:?}");
    // What it has leased goes back with the dead, and both are there still.
    let [dead] = &owners(&server, "0")[..] else { panic!("one owner") };
    age(&server, "0", dead);
    let (session, mut inbox) = consume(&admin, Prefetch::Session(9), &["q"]).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(body(&next(&mut inbox).await));
    }
    seen.sort();
    assert_eq!(seen, ["0", "0", "1"]);
    session.settle(&[Settlement::AckThrough(3)]).await.unwrap();
    assert_eq!(ask(&server, "0", &["EXISTS", "unacked", "unacked_index", "q"]), "0");
}

/// What is settled before all closes is settled, though the session has not got to it yet.
#[tokio::test]
async fn what_was_settled_last_is_settled() {
    let server = Redis::start();
    for (database, whole) in [(0, true), (1, false)] {
        let url = server.url(database);
        let connection = connect(&url).await;
        declare(&connection, "q").await;
        for number in 0..3 {
            send(&connection, "q", number).await;
        }
        let (session, mut inbox) = consume(&connection, Prefetch::Session(3), &["q"]).await;
        for _ in 0..3 {
            next(&mut inbox).await;
        }
        server.cli(&["CLIENT", "PAUSE", "60000", "WRITE"]);
        let settle = |tag| {
            let session = session.clone();
            tokio::spawn(async move { session.settle(&[Settlement::Ack(tag)]).await })
        };
        let first = settle(1);
        while server.cli(&["INFO", "clients"]).contains("blocked_clients:0") {
            tokio::task::yield_now().await;
        }
        // The session waits for Redis: these wait for the session, the end of all first.
        let (closing, ending) = (connection.clone(), session.clone());
        let closing = tokio::spawn(async move {
            if whole {
                closing.close().await;
            } else {
                ending.close().await;
            }
        });
        tokio::task::yield_now().await;
        let second = settle(2);
        tokio::task::yield_now().await;
        server.cli(&["CLIENT", "UNPAUSE"]);
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(()), Ok(())));
        closing.await.unwrap();
        let other = connect(&url).await;
        let (_session, mut inbox) = consume(&other, Prefetch::Session(3), &["q"]).await;
        assert_eq!(body(&next(&mut inbox).await), "2");
        assert_eq!(ask(&server, &database.to_string(), &["HLEN", "unacked"]), "1");
    }
}

/// A binding that was refused is made when it is asked for again.
#[tokio::test]
async fn a_binding_that_failed_can_be_made_again() {
    let server = Redis::start();
    server.cli(&["ACL", "SETUSER", "deaf", "on", ">word", "~*", "resetchannels", "+@all"]);
    let deaf = connect(&format!("redis://deaf:word@127.0.0.1:{}/0", server.port())).await;
    let queues = Topology {
        exchanges: vec![Exchange::new("news", ExchangeKind::Fanout)],
        queues: vec![Queue { auto_delete: true, ..Queue::new("ear") }],
        bindings: vec![],
    };
    deaf.declare(&queues).await.unwrap();
    let (_session, mut inbox) = consume(&deaf, Prefetch::Session(1), &["ear"]).await;
    let bound = Topology { bindings: vec![Binding::new("ear", "news", "key")], ..Topology::default() };
    let refused = deaf.declare(&bound).await;
    assert!(matches!(refused, Err(Error::AccessRefused { .. })), "{refused:?}");
    server.cli(&["ACL", "SETUSER", "deaf", "allchannels"]);
    deaf.declare(&bound).await.unwrap();
    let address = Address::exchange("news", "key").mandatory();
    assert_eq!(deaf.publish(&address, message("m", None)).await, Ok(Published::Accepted));
    assert_eq!(body(&next(&mut inbox).await), "m");
}
