//! Who holds what, and what becomes of it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use celeriac_broker::{Error, Event, Prefetch, Queue, Settlement, Subscription, Topology};
use celeriac_testkit::{Process, Signal};

use crate::support::*;

/// A process is killed while it holds messages, and a queue that is its alone.
#[tokio::test]
async fn a_killed_process_gives_back() {
    if let Some(url) = in_role() {
        let connection = connect(&url).await;
        let own = Queue { exclusive: true, ..Queue::new("own") };
        connection.declare(&Topology { queues: vec![own], ..Topology::default() }).await.unwrap();
        let (_session, mut inbox) = consume(&connection, Prefetch::Session(3), &["q"]).await;
        for _ in 0..3 {
            next(&mut inbox).await;
        }
        println!("\nholding");
        std::future::pending::<()>().await;
    }
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let connection = connect(&url).await;
    declare(&connection, "q").await;
    for number in 0..5 {
        send(&connection, "q", number).await;
    }
    let mut command = role("leases::a_killed_process_gives_back", &url);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holding"));

    let (session, mut inbox) = consume(&connection, Prefetch::Session(10), &["q"]).await;
    for expected in ["3", "4"] {
        let delivery = next(&mut inbox).await;
        assert_eq!((body(&delivery).as_str(), delivery.redelivered), (expected, false));
    }
    assert_eq!(connection.queue_len("own").await, Ok(0));
    let killed = Instant::now();
    child.kill().unwrap();
    child.wait().unwrap();
    for expected in ["0", "1", "2"] {
        let delivery = next(&mut inbox).await;
        assert_eq!((body(&delivery).as_str(), delivery.redelivered), (expected, true));
    }
    // The one bound that is promised.
    assert!(killed.elapsed() < Duration::from_secs(12), "{:?}", killed.elapsed());
    session.settle(&[Settlement::AckThrough(5)]).await.unwrap();
    let database = database(&url);
    until(server, database, &["EXISTS", "celeriac.consumers.own"], "0").await;
    assert!(connection.queue_len("own").await.is_err(), "its exclusive queue is gone");
    connection.close().await;
    until(server, database, &["ZCARD", "celeriac.owners"], "0").await;
    for key in ["unacked", "unacked_index", "q", "celeriac.consumers.q"] {
        assert_eq!(ask(server, database, &["EXISTS", key]), "0", "{key}");
    }
}

/// Leases outlive the visibility timeout as long as somebody holds them, whoever sweeps, and though the one thread of the
/// program is held up meanwhile.
#[tokio::test]
async fn what_is_held_is_renewed() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url() + "?visibility_timeout=1";
    let connection = connect(&url).await;
    declare(&connection, "q").await;
    let (session, mut inbox) = consume(&connection, Prefetch::Session(5), &["q"]).await;
    send(&connection, "q", "long").await;
    let delivery = next(&mut inbox).await;
    let plain = url.split('?').next().unwrap();
    let database = database(plain);
    let score = || ask(server, database, &["ZRANGE", "unacked_index", "0", "-1", "WITHSCORES"]);
    let first = score();
    let seen = || ask(server, database, &["ZRANGE", "celeriac.owners", "0", "-1", "WITHSCORES"]);
    let seen_first = seen();
    // kombu's own sweep, again and again, until the lease has been renewed several times.
    let sweep = "import sys, time\nfrom kombu import Connection\n\
        c = Connection(sys.argv[1], transport_options={'visibility_timeout': 1})\nchannel = c.default_channel\n\
        for _ in range(30):\n    channel.qos.restore_visible(interval=1)\n    time.sleep(.1)\n";
    celeriac_testkit::Python::find().run(sweep, &[plain], &[]);
    assert_ne!(score(), first);
    assert_ne!(seen(), seen_first);
    assert_eq!(ask(server, database, &["LLEN", "q"]), "0");
    assert_eq!(ask(server, database, &["HLEN", "unacked"]), "1");
    session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    assert_eq!(ask(server, database, &["EXISTS", "unacked", "unacked_index"]), "0");
}

/// Sessions that come and go, with transient queues and messages left unsettled, leave no key behind.
#[tokio::test]
async fn nothing_is_left() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let database = database(&url);
    let mut keys = Vec::new();
    for round in 0..30 {
        let connection = connect(&url).await;
        declare(&connection, "q").await;
        let name = format!("box.{round}");
        let transient = Queue {
            auto_delete: true,
            exclusive: round % 2 == 0,
            expires: Some(Duration::from_secs(60)),
            ..Queue::new(&name)
        };
        connection.declare(&Topology::task_queue(transient)).await.unwrap();
        let (session, mut inbox) = consume(&connection, Prefetch::Session(5), &["q", &name]).await;
        send(&connection, "q", round).await;
        send(&connection, &name, round).await;
        next(&mut inbox).await;
        let second = next(&mut inbox).await;
        session.settle(&[Settlement::AckThrough(second.tag)]).await.unwrap();
        connection.close().await;
        // The exchange's name stays, as in AMQP.
        ask(server, database, &["HDEL", "celeriac.exchanges", &name]);
        keys.push(ask(server, database, &["DBSIZE"]));
    }
    assert_eq!(keys.first(), keys.last(), "{}", ask(server, database, &["KEYS", "*"]));
    assert_eq!(ask(server, database, &["HKEYS", "celeriac.queues"]), "q");
}

/// The bindings of a queue that expires have a deadline, which is put off for as long as somebody consumes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_outlive_their_deadline() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let database = database(&url);
    let connection = connect(&url).await;
    let queue = Queue { expires: Some(Duration::from_secs(60)), ..Queue::new("q") };
    connection.declare(&Topology::task_queue(queue)).await.unwrap();
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(5), &["q"]).await;
    assert_eq!(ask(server, database, &["EXISTS", "_kombu.binding_permanent.q"]), "0");
    // Nearly over, and the table gone, as after a sweep.
    ask(server, database, &["ZADD", "_kombu.binding_deadlines", "1", "q"]);
    ask(server, database, &["DEL", "_kombu.binding.q"]);
    until(server, database, &["EXISTS", "_kombu.binding.q"], "1").await;
    assert_eq!(ask(server, database, &["ZCOUNT", "_kombu.binding_deadlines", "-inf", "1000"]), "0");
    send(&connection, "q", "m").await;
    assert_eq!(body(&next(&mut inbox).await), "m");
}

/// A process that stands still for long has lost what it held, and is told so when it goes on.
#[tokio::test]
async fn a_frozen_process_is_told_that_it_was_taken_for_dead() {
    if let Some(url) = in_role() {
        let connection = connect(&url).await;
        let (_session, mut inbox) = consume(&connection, Prefetch::Session(3), &["q"]).await;
        for _ in 0..3 {
            next(&mut inbox).await;
        }
        println!("\nholding");
        let Some(Event::Lost(error)) = inbox.recv().await else { panic!("it is not told") };
        println!("\n{error}");
        return;
    }
    let url = celeriac_testkit::redis().fresh_url();
    let connection = connect(&url).await;
    declare(&connection, "q").await;
    for number in 0..3 {
        send(&connection, "q", number).await;
    }
    let frozen = Process::start(&role("leases::a_frozen_process_is_told_that_it_was_taken_for_dead", &url));
    frozen.wait_for_line("holding", DEADLINE);
    frozen.signal(Signal::STOP);
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(10), &["q"]).await;
    for expected in ["0", "1", "2"] {
        let delivery = next(&mut inbox).await;
        assert_eq!((body(&delivery).as_str(), delivery.redelivered), (expected, true));
    }
    frozen.signal(Signal::CONT);
    frozen.wait_for_line("what we held is given to others", DEADLINE);
}

/// Who was buried while it stood still takes nothing more, not even before its next sign of life.
#[tokio::test]
async fn who_was_buried_takes_nothing() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let database = database(&url);
    let buried = connect(&url).await;
    declare(&buried, "q").await;
    let (session, mut inbox) = consume(&buried, Prefetch::Session(3), &["q"]).await;
    let [owner] = &owners(server, database)[..] else { panic!("one owner") };
    // At once, so that it hears of the message before it can know.
    let script = "redis.call('ZREM', 'celeriac.owners', ARGV[1]) return redis.call('LPUSH', 'q', 'm')";
    assert_eq!(ask(server, database, &["EVAL", script, "0", owner]), "1");
    let told = tokio::time::timeout(DEADLINE, inbox.recv()).await.unwrap();
    assert!(
        matches!(&told, Some(Event::Lost(Error::Lost(reason))) if reason.contains("given to others")),
        "{told:?}"
    );
    assert!(matches!(session.settle(&[]).await, Err(Error::Lost(_))));
    assert_eq!(ask(server, database, &["LLEN", "q"]), "1");
    assert_eq!(ask(server, database, &["EXISTS", "unacked", "unacked_index"]), "0");
    // By a new connection it is somebody again.
    let (_session, mut inbox) = consume(&connect(&url).await, Prefetch::Session(3), &["q"]).await;
    assert_eq!(body(&next(&mut inbox).await), "m");
}

/// Nor does it leave keys that would go with nobody.
#[tokio::test]
async fn who_was_buried_declares_nothing_that_goes_with_it() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let database = database(&url);
    for what in ["declare", "subscribe"] {
        let buried = connect(&url).await;
        declare(&buried, "q").await;
        let (session, _inbox) = buried.open_session(Prefetch::Session(3)).await.unwrap();
        let [owner] = &owners(server, database)[..] else { panic!("one owner") };
        ask(server, database, &["ZREM", "celeriac.owners", owner]);
        let own = Queue { auto_delete: true, ..Queue::new("own") };
        let outcome = match what {
            "declare" => buried.declare(&Topology { queues: vec![own], ..Topology::default() }).await,
            _ => session.subscribe(&Subscription::new("q")).await,
        };
        assert!(matches!(outcome, Err(Error::Lost(_))), "{what}: {outcome:?}");
        assert!(matches!(buried.closed().await, Error::Lost(_)));
        assert_eq!(ask(server, database, &["KEYS", "celeriac.owner.*"]), "", "{what}");
        assert_eq!(ask(server, database, &["HKEYS", "celeriac.queues"]), "q");
    }
}

/// A place in the index without a lease, as it is left when Python's worker dies between the two.
#[tokio::test]
async fn what_is_in_the_index_alone_goes() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let database = database(&url);
    let connection = connect(&format!("{url}?visibility_timeout=1")).await;
    declare(&connection, "q").await;
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(1), &["q"]).await;
    ask(server, database, &["ZADD", "unacked_index", "1", "orphan"]);
    until(server, database, &["ZCARD", "unacked_index"], "0").await;
    send(&connection, "q", "on").await;
    assert_eq!(body(&next(&mut inbox).await), "on");
}

/// A queue goes with the last who wants it: not with a dead one when somebody has declared it again.
#[tokio::test]
async fn a_queue_that_is_declared_again_outlives_the_dead() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let database = database(&url);
    let shared =
        Topology { queues: vec![Queue { auto_delete: true, ..Queue::new("shared") }], ..Topology::default() };
    let victim = format!("declared-again-{database}");
    let dead = connect(&named(&url, &victim)).await;
    dead.declare(&shared).await.unwrap();
    let _consuming = consume(&dead, Prefetch::Session(1), &["shared"]).await;
    let [dead_owner] = &owners(server, database)[..] else { panic!("one owner") };
    let connection = connect(&url).await;
    connection.declare(&shared).await.unwrap();
    cut_off(server, &victim);
    age(server, database, dead_owner);
    until(server, database, &["ZCARD", "celeriac.owners"], "1").await;
    assert_eq!(connection.queue_len("shared").await, Ok(0));
    // Nobody else wants it now.
    connection.close().await;
    assert_eq!(ask(server, database, &["HEXISTS", "celeriac.queues", "shared"]), "0");
}

/// Who could not give its leases back does not take leave, else nobody would know whose they are.
#[tokio::test]
async fn who_owes_is_buried() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let database = database(&url);
    let connection = connect(&url).await;
    declare(&connection, "q").await;
    send(&connection, "q", "m").await;
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(1), &["q"]).await;
    next(&mut inbox).await;
    // What it holds cannot be read while it closes.
    ask(server, database, &["RENAME", "unacked", "aside"]);
    ask(server, database, &["SET", "unacked", "no hash"]);
    connection.close().await;
    ask(server, database, &["RENAME", "aside", "unacked"]);
    let [owner] = &owners(server, database)[..] else { panic!("it has taken leave") };
    age(server, database, owner);
    let other = connect(&url).await;
    let (_session, mut inbox) = consume(&other, Prefetch::Session(1), &["q"]).await;
    let delivery = next(&mut inbox).await;
    assert_eq!((body(&delivery).as_str(), delivery.redelivered), ("m", true));
}
