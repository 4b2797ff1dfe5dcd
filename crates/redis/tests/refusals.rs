//! What a Redis refuses, and how that is told.

use celeriac_broker::{Connection, Error, Prefetch, Settlement, Transport};
use celeriac_testkit::{Process, Redis, TempDir, eventually, free_port};

use crate::support::*;

async fn refusal(url: &str) -> Error {
    transport(url).connect().await.err().expect("a refusal")
}

/// Passwords, users, databases.
#[tokio::test]
async fn access_is_refused_for_good() {
    let server = Redis::start();
    let port = server.port();
    let error = refusal(&format!("redis://127.0.0.1:{port}/1000000")).await;
    assert!(matches!(error, Error::AccessRefused { .. }), "{error}");
    server.cli(&["ACL", "SETUSER", "reader", "on", ">word", "~*", "&*", "+@read", "+ping", "+info"]);
    server.cli(&["CONFIG", "SET", "requirepass", "s3cret"]);
    for url in [
        format!("redis://127.0.0.1:{port}/0"),
        format!("redis://:wr0ng@127.0.0.1:{port}/0"),
        format!("redis://nobody:wr0ng@127.0.0.1:{port}/0"),
    ] {
        let error = refusal(&url).await;
        assert!(matches!(error, Error::AccessRefused { .. }) && !error.is_recoverable(), "{error}");
        assert!(!error.to_string().contains("wr0ng"), "{error}");
    }
    // May connect, and nothing else.
    let connection = connect(&format!("redis://reader:word@127.0.0.1:{port}/0")).await;
    let outcome = try_send(&connection, "q", 1).await;
    assert!(matches!(outcome, Err(Error::AccessRefused { .. })), "{outcome:?}");
    let outcome = connection.open_session(Prefetch::Session(1)).await.map(drop);
    assert!(matches!(outcome, Err(Error::AccessRefused { .. })), "{outcome:?}");
}

/// Nobody there, too many there: it may help to try again.
#[tokio::test]
async fn what_passes_is_recoverable() {
    let error = refusal(&format!("redis://127.0.0.1:{}/0", free_port())).await;
    assert!(matches!(error, Error::Connect { .. }) && error.is_recoverable(), "{error}");
    let server = Redis::start();
    // One is this test's own, by which the limit is set.
    let first = connect(&server.url(0)).await;
    server.cli(&["CONFIG", "SET", "maxclients", "1"]);
    let error = refusal(&server.url(0)).await;
    assert!(matches!(error, Error::Connect { .. }) && error.is_recoverable(), "{error}");
    assert!(error.to_string().contains("maxclients"), "{error}");
    first.close().await;
}

/// One that still loads its data says so, and is there in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_loads_is_waited_for() {
    let server = std::sync::Arc::new(Redis::start_slow_to_load());
    server.kill();
    let restarting = tokio::task::spawn_blocking({
        let server = server.clone();
        move || server.restart()
    });
    eventually(DEADLINE, "it loads", || server.answers("PING").contains("LOADING").then_some(()));
    let error = refusal(&server.url(0)).await;
    assert!(matches!(error, Error::Connect { .. }) && error.to_string().contains("is loading"), "{error}");
    restarting.await.unwrap();
    connect(&server.url(0)).await.close().await;
}

/// A full Redis takes nothing more, but what it has can be worked off.
#[tokio::test]
async fn a_full_redis_can_be_emptied() {
    let server = Redis::start();
    let connection = connect(&server.url(0)).await;
    declare(&connection, "q").await;
    for number in 0..20 {
        send(&connection, "q", number).await;
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let outcome = try_send(&connection, "q", "more").await;
    assert!(
        matches!(&outcome, Err(error @ Error::NotAccepted(reason)) if reason.contains("OOM") && error.is_recoverable()),
        "{outcome:?}"
    );
    // Who comes only now works it off as well.
    let connection = connect(&server.url(0)).await;
    declare(&connection, "q").await;
    declare(&connection, "another").await;
    let (session, mut inbox) = consume(&connection, Prefetch::Session(3), &["q"]).await;
    for number in 0..20 {
        let delivery = next(&mut inbox).await;
        assert_eq!(body(&delivery), number.to_string());
        session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    send(&connection, "q", "more").await;
    assert_eq!(body(&next(&mut inbox).await), "more");
}

/// What a dead worker held comes back though Redis is full.
#[tokio::test]
async fn a_full_redis_takes_back_what_the_dead_held() {
    let server = Redis::start();
    let url = server.url(0);
    let keeper = connect(&url).await;
    declare(&keeper, "q").await;
    let dead = connect(&named(&url, "dead")).await;
    let held = consume(&dead, Prefetch::Session(1), &["q"]).await;
    send(&keeper, "q", "a").await;
    until(&server, "0", &["HLEN", "unacked"], "1").await;
    let owner = owners(&server, "0").remove(0);
    let (_session, mut inbox) = consume(&keeper, Prefetch::Session(1), &["q"]).await;
    cut_off(&server, "dead");
    dead.closed().await;
    age(&server, "0", &owner);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let delivery = next(&mut inbox).await;
    assert_eq!((body(&delivery).as_str(), delivery.redelivered), ("a", true));
    drop(held);
}

/// A server that has become a replica is a loss: the connection is made anew, perhaps to another one.
#[tokio::test]
async fn a_replica_is_a_loss() {
    let server = Redis::start();
    let connection = connect(&server.url(0)).await;
    declare(&connection, "q").await;
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(3), &["q"]).await;
    server.cli(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    let outcome = try_send(&connection, "q", 1).await;
    assert!(
        matches!(&outcome, Err(Error::Lost(reason)) if reason.contains("read only replica")),
        "{outcome:?}"
    );
    let event = tokio::time::timeout(DEADLINE, inbox.recv()).await.unwrap();
    assert!(matches!(&event, Some(celeriac_broker::Event::Lost(Error::Lost(_)))), "{event:?}");
}

/// Without news of changes queues are looked at instead.
#[tokio::test]
async fn without_tracking_messages_come_all_the_same() {
    let server = Redis::start();
    server.cli(&["ACL", "SETUSER", "plain", "on", ">word", "~*", "&*", "+@all", "-client|tracking"]);
    ping_pong(&format!("redis://plain:word@127.0.0.1:{}/0", server.port())).await;
}

/// A server that knows no RESP3, as before Redis 6.
#[tokio::test]
async fn an_old_server_serves() {
    let (port, dir) = (free_port(), TempDir::new());
    let mut command = std::process::Command::new("redis-server");
    command.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--rename-command",
        "HELLO",
        "",
    ]);
    let _server = Process::start(command.arg("--dir").arg(dir.path()));
    eventually(DEADLINE, "Redis is there", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    ping_pong(&format!("redis://127.0.0.1:{port}/0")).await;
}

/// A list and a fanout exchange, from one connection to another.
pub async fn ping_pong(url: &str) {
    use celeriac_broker::{Address, Binding, Exchange, ExchangeKind, Published, Queue, Topology};
    let (one, other) = (connect(url).await, connect(url).await);
    declare(&one, "q").await;
    let news = Topology {
        exchanges: vec![Exchange::new("news", ExchangeKind::Fanout)],
        queues: vec![Queue { auto_delete: true, ..Queue::new("box") }],
        bindings: vec![Binding::new("box", "news", "a.*"), Binding::new("box", "news", "exact")],
    };
    one.declare(&news).await.unwrap();
    let (session, mut inbox) = consume(&one, Prefetch::Session(9), &["q", "box"]).await;
    for number in 0..3 {
        send(&other, "q", number).await;
        assert_eq!(body(&next(&mut inbox).await), number.to_string());
        for key in ["a.b", "exact"] {
            let published =
                other.publish(&Address::exchange("news", key).mandatory(), message(key, None)).await;
            assert_eq!(published, Ok(Published::Accepted));
            assert_eq!(body(&next(&mut inbox).await), key);
        }
    }
    session.settle(&[Settlement::AckThrough(9)]).await.unwrap();
    session.unsubscribe("box").await.unwrap();
    let published = other.publish(&Address::exchange("news", "exact").mandatory(), message("m", None)).await;
    assert_eq!(published, Ok(Published::Returned));
    close(&one).await;
}

async fn close(connection: &std::sync::Arc<dyn Connection>) {
    connection.close().await;
}
