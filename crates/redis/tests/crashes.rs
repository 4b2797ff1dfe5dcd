//! A day of crashes in seconds: whoever dies, however often, leaves nothing in Redis.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{
    Address, Binding, Connection, Exchange, ExchangeKind, Inbox, Prefetch, Queue, Session, Settlement,
    Topology,
};
use celeriac_testkit::{Process, Redis, Signal, eventually};

use crate::support::*;

const REPLIES: &str = "reply.celery.pidbox";
const NAME: &str = "crashes";
/// How many bytes more Redis may use in the end, whatever has happened: a fiftieth of what an empty one uses.
const SLACK: f64 = 32_768.0;

/// What a worker or a client has: a mailbox, a queue for replies, one for events, one that it never consumes, and
/// leases. Without `consuming`, it gets no further than to declare them.
async fn one(url: &str, number: impl std::fmt::Display, consuming: bool) -> Resident {
    let connection = connect(&named(url, NAME)).await;
    let own = |kind: &str, exclusive| Queue {
        auto_delete: true,
        exclusive,
        expires: Some(Duration::from_secs(60)),
        ..Queue::new(format!("{number}.{kind}"))
    };
    let queues = vec![own("pidbox", false), own("reply", true), own("events", false), own("idle", false)];
    let names: Vec<_> = queues.iter().map(|queue| queue.name.clone()).collect();
    let bindings = vec![
        Binding::new(&names[0], "celery.pidbox", ""),
        Binding::new(&names[1], REPLIES, &names[1]),
        Binding::new(&names[2], "celeryev", "worker.#"),
        Binding::new(&names[3], REPLIES, &names[3]),
    ];
    connection.declare(&Topology { exchanges: exchanges(), queues, bindings }).await.unwrap();
    // Replies that nobody has read when all ends.
    for name in [&names[1], &names[3]] {
        connection.publish(&Address::exchange(REPLIES, name), message("reply", None)).await.unwrap();
    }
    let mut sessions = Vec::new();
    if consuming {
        sessions.push(consume(&connection, Prefetch::Session(1), &[&names[0], &names[1], &names[2]]).await);
        let (session, mut inbox) = consume(&connection, Prefetch::Session(2), &["q"]).await;
        send(&connection, "q", &number).await;
        send(&connection, "q", &number).await;
        next(&mut inbox).await;
        sessions.push((session, inbox));
    }
    Resident { connection, _sessions: sessions }
}

struct Resident {
    connection: Arc<dyn Connection>,
    _sessions: Vec<(Arc<dyn Session>, Inbox)>,
}

fn exchanges() -> Vec<Exchange> {
    vec![
        Exchange::new("celery.pidbox", ExchangeKind::Fanout),
        Exchange::new(REPLIES, ExchangeKind::Direct),
        Exchange::new("celeryev", ExchangeKind::Fanout),
    ]
}

/// All keys but the locks, which go by themselves.
fn keys(server: &Redis) -> BTreeSet<String> {
    let keys = ask(server, "0", &["KEYS", "*"]);
    let locks = ["celeriac.swept", "celeriac.aired", "celeriac.burial", "unacked_mutex"];
    keys.lines().filter(|key| !locks.contains(key)).map(str::to_owned).collect()
}

/// While somebody is connected, Redis keeps more than when nobody is.
fn memory(server: &Redis) -> f64 {
    let info = server.cli(&["INFO", "memory"]);
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
}

/// What Redis has in memory when nobody is connected, in bytes, and of how many keys it remembers who has read them. The
/// scripts that it has seen, and its statistics of each command, are no leak: there are no more of them, however many crash.
fn at_rest(server: &Redis) -> (f64, u64) {
    eventually(DEADLINE, "nobody is connected", || {
        (server.cli(&["CLIENT", "LIST"]).lines().count() == 1).then_some(())
    });
    server.cli(&["SCRIPT", "FLUSH", "SYNC"]);
    server.cli(&["CONFIG", "RESETSTAT"]);
    let stats = server.cli(&["INFO", "stats"]);
    let tracked = stats.lines().find_map(|line| line.strip_prefix("tracking_total_keys:"));
    (memory(server), tracked.unwrap().trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_leaves_nothing() {
    crash(3).await;
}

/// One a minute for a day, and more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn who_dies_for_a_day_leaves_nothing() {
    crash(36).await;
}

/// Has 41 die in each round, one of them by SIGKILL, and a keeper bury them.
async fn crash(rounds: usize) {
    const EACH: usize = 40;
    if let Some(url) = in_role() {
        let _resident = one(&url, std::process::id(), true).await;
        println!("\nsettled in");
        std::future::pending::<()>().await;
    }
    let server = Redis::start();
    let url = server.url(0);
    let first = connect(&url).await;
    declare(&first, "q").await;
    first.declare(&Topology { exchanges: exchanges(), ..Topology::default() }).await.unwrap();
    // Redis remembers who has read the lists of a queue that stays, until they change.
    drop(consume(&first, Prefetch::Session(1), &["q"]).await);
    first.close().await;
    drop(first);
    let (keys_at_first, at_first) = (keys(&server), at_rest(&server));
    // Who stays, and buries the others.
    let keeper = connect(&url).await;
    let (session, mut inbox) = consume(&keeper, Prefetch::Session(0), &[]).await;
    let mine = owners(&server, "0");
    let before = keys(&server);
    let mut first = None;
    for round in 0..rounds {
        // Some hour is over, for whoever looks next.
        ask(&server, "0", &["DEL", "celeriac.aired"]);
        let command = role("crashes::who_dies_leaves_nothing", &url);
        let process = Process::start(&command);
        let mut residents = Vec::new();
        for number in 0..EACH {
            residents.push(one(&url, format!("{round}.{number}"), number % 5 != 0).await);
        }
        process.wait_for_line("settled in", DEADLINE);
        process.signal(Signal::KILL);
        process.wait(DEADLINE);
        cut_off(&server, NAME);
        for resident in &residents {
            resident.connection.closed().await;
        }
        for owner in owners(&server, "0").iter().filter(|owner| !mine.contains(owner)) {
            age(&server, "0", owner);
        }
        until(&server, "0", &["ZCARD", "celeriac.owners"], "1").await;
        // All tasks are there still, those that were held too.
        session.subscribe(&celeriac_broker::Subscription::new("q")).await.unwrap();
        for _ in 0..2 * (EACH - EACH / 5 + 1) {
            let delivery = next(&mut inbox).await;
            session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
        }
        session.unsubscribe("q").await.unwrap();
        assert_eq!(keys(&server), before, "round {round}");
        let used = memory(&server);
        let first = *first.get_or_insert(used);
        assert!(used < first * 1.05, "round {round}: {used} bytes, {first} after the first");
    }
    // As each hour, of the queues that somebody consumes.
    session.subscribe(&celeriac_broker::Subscription::new("q")).await.unwrap();
    ask(&server, "0", &["DEL", "celeriac.aired", "celeriac.swept"]);
    until(&server, "0", &["EXISTS", "celeriac.aired"], "1").await;
    keeper.close().await;
    drop((keeper, session));
    let at_last = at_rest(&server);
    assert_eq!(keys(&server), keys_at_first);
    // Some of these are there whoever comes and goes: Redis since 7.2 counts all that a script has read.
    assert!(at_last.1 < at_first.1 + EACH as u64, "{at_last:?} {at_first:?}");
    // What is left is room that Redis has made for itself.
    assert!(at_last.0 < at_first.0 + SLACK, "{at_last:?} {at_first:?}");
}
