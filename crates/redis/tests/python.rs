//! Beside Python's kombu, on one Redis.

use celeriac_broker::{Address, Exchange, ExchangeKind, Prefetch, Published, Queue, Settlement, Topology};
use celeriac_testkit::Python;

use crate::support::*;

/// What we declare and send, Python consumes and routes by; what it sends, comes here.
#[tokio::test]
async fn both_use_the_same_queues() {
    let server = celeriac_testkit::redis();
    let url = server.fresh_url();
    let connection = connect(&url).await;
    declare(&connection, "ours").await;
    let topic = Topology {
        exchanges: vec![Exchange::new("news", ExchangeKind::Topic)],
        queues: vec![Queue::new("all"), Queue::new("some")],
        bindings: vec![
            celeriac_broker::Binding::new("all", "news", "#"),
            celeriac_broker::Binding::new("some", "news", "a_b.*"),
        ],
    };
    connection.declare(&topic).await.unwrap();
    send(&connection, "ours", r#"{"from": "rust"}"#).await;
    let script = r#"
import sys
from kombu import Connection, Exchange, Queue
with Connection(sys.argv[1]) as c:
    q = c.SimpleQueue('ours')
    m = q.get(timeout=10)
    assert m.payload == {'from': 'rust'}, m.payload
    m.ack()
    p = c.Producer(serializer='json')
    p.publish({'n': 1}, exchange='ours', routing_key='ours', priority=5)
    topic = Exchange('news', 'topic')(c)
    topic.declare()
    for key in ('a_b.c', 'axb.c', 'a_b'):
        p.publish({'key': key}, exchange='news', routing_key=key)
    theirs = Queue('theirs', Exchange('theirs'), 'theirs')(c)
    theirs.declare()
    p.publish({'n': 2}, exchange='theirs', routing_key='theirs')
    print(sorted(c.default_channel.get_table('news')))
"#;
    let table = Python::find().run(script, &[&url], &[]);
    assert_eq!(table.trim(), r"[('#', '^.*?$', 'all'), ('a_b.*', '^a\\_b\\.[^\\.]+$', 'some')]");
    let (session, mut inbox) = consume(&connection, Prefetch::Session(9), &["ours", "theirs", "some"]).await;
    let mut seen = Vec::new();
    for tag in 1..=3 {
        let delivery = next(&mut inbox).await;
        seen.push((body(&delivery), delivery.exchange.clone(), delivery.message.properties.priority));
        session.settle(&[Settlement::Ack(tag)]).await.unwrap();
    }
    seen.sort();
    let news = (r#"{"key": "a_b.c"}"#.to_owned(), "news".to_owned(), Some(0));
    let ours = (r#"{"n": 1}"#.to_owned(), "ours".to_owned(), Some(5));
    let theirs = (r#"{"n": 2}"#.to_owned(), "theirs".to_owned(), Some(0));
    assert_eq!(seen, [news, ours, theirs]);
    assert_eq!(connection.queue_len("all").await, Ok(3));
    // An exchange that only Python has declared.
    assert_eq!(try_send(&connection, "theirs", 3).await, Ok(Published::Accepted));
    assert_eq!(body(&next(&mut inbox).await), "3");
}

/// Priorities mean the same on both sides.
#[tokio::test]
async fn priorities_are_kombu_s() {
    let url = celeriac_testkit::redis().fresh_url();
    let connection = connect(&url).await;
    declare(&connection, "q").await;
    for (number, priority) in [Some(9), Some(4), None, Some(6)].into_iter().enumerate() {
        connection.publish(&Address::exchange("q", "q"), message(number, priority)).await.unwrap();
    }
    let script = "import sys\nfrom kombu import Connection\nwith Connection(sys.argv[1]) as c:\n    q = c.SimpleQueue('q')\n    \
        for _ in range(4):\n        m = q.get(timeout=10)\n        print(m.payload)\n        m.ack()\n";
    assert_eq!(
        Python::find().run(script, &[&url], &[]).split_whitespace().collect::<Vec<_>>(),
        ["2", "1", "3", "0"]
    );
}

/// Fanout both ways, by keys with patterns.
#[tokio::test]
async fn fanout_reaches_both() {
    let url = celeriac_testkit::redis().fresh_url();
    let connection = connect(&url).await;
    let topology = Topology {
        exchanges: vec![Exchange::new("ev", ExchangeKind::Fanout)],
        queues: vec![Queue { auto_delete: true, ..Queue::new("mine") }],
        bindings: vec![celeriac_broker::Binding::new("mine", "ev", "worker.#")],
    };
    connection.declare(&topology).await.unwrap();
    let (_session, mut inbox) = consume(&connection, Prefetch::Session(9), &["mine"]).await;
    let script = r#"
import sys
from kombu import Connection, Exchange, Queue
with Connection(sys.argv[1]) as c:
    ev = Exchange('ev', 'fanout')
    queue = Queue('theirs', ev, routing_key='task.#', auto_delete=True)
    got = []
    with c.Consumer(queue, callbacks=[lambda body, message: got.append((body, message.delivery_info))], no_ack=True):
        try:
            c.drain_events(timeout=0.3)
        except Exception:
            pass
        c.Producer().publish({'hello': 1}, exchange=ev, routing_key='worker.online')
        while not got:
            c.drain_events(timeout=20)
    print(got[0][0], got[0][1]['exchange'], got[0][1]['routing_key'])
"#;
    let their_url = url.clone();
    let python = tokio::task::spawn_blocking(move || Python::find().run(script, &[&their_url], &[]));
    let delivery = next(&mut inbox).await;
    assert_eq!(
        (body(&delivery).as_str(), delivery.routing_key.as_str()),
        (r#"{"hello": 1}"#, "worker.online")
    );
    // It listened before it spoke.
    let address = Address::exchange("ev", "task.sent").mandatory();
    assert_eq!(connection.publish(&address, message(r#"{"hello": 2}"#, None)).await, Ok(Published::Accepted));
    assert_eq!(python.await.unwrap().trim(), "{'hello': 2} ev task.sent");
}

/// What a Python process left unacknowledged comes back once its time is over, marked as kombu does; and what ours left,
/// Python takes back, when no celeriac is there to do it.
#[tokio::test]
async fn each_takes_back_what_the_other_left() {
    let server = celeriac_testkit::redis();
    let plain = server.fresh_url();
    let url = format!("{plain}?visibility_timeout=2");
    let connection = connect(&url).await;
    declare(&connection, "q").await;
    send(&connection, "q", r#""left""#).await;
    let leave = "import os, sys\nfrom kombu import Connection\nc = Connection(sys.argv[1])\n\
        q = c.SimpleQueue('q')\nm = q.get(timeout=10)\nprint(m.payload, flush=True)\nos._exit(0)\n";
    assert_eq!(Python::find().run(leave, &[&plain], &[]).trim(), "left");
    assert_eq!(ask(server, database(&plain), &["HLEN", "unacked"]), "1");
    let (session, mut inbox) = consume(&connection, Prefetch::Session(9), &["q"]).await;
    let delivery = next(&mut inbox).await;
    assert_eq!((body(&delivery).as_str(), delivery.redelivered), (r#""left""#, true));
    session.settle(&[Settlement::Ack(1)]).await.unwrap();

    // A lease of ours whose owner is nobody any more, also of something that was no message at all.
    let raw = ask(server, database(&plain), &["LPUSH", "q", "rubbish"]);
    assert_eq!(raw, "1");
    assert_eq!(body(&next(&mut inbox).await), "rubbish");
    send(&connection, "q", r#""ours""#).await;
    next(&mut inbox).await;
    let leases = ask(server, database(&plain), &["HGETALL", "unacked"]);
    connection.close().await;
    ask(server, database(&plain), &["DEL", "q"]);
    let take = r#"
import sys, time
from kombu import Connection
lines = sys.argv[2].splitlines()
c = Connection(sys.argv[1], transport_options={'visibility_timeout': 1})
channel = c.default_channel
for tag, lease in zip(lines[::2], lines[1::2]):
    channel.client.hset('unacked', tag, lease)
    channel.client.zadd('unacked_index', {tag: time.time() - 10})
channel.qos.restore_visible(interval=1)
q = c.SimpleQueue('q')
got = sorted((bytes(m.body), m.delivery_info.get('redelivered')) for m in [q.get(timeout=10), q.get(timeout=10)])
print(got)
"#;
    let got = Python::find().run(take, &[&plain, &leases], &[]);
    assert_eq!(got.trim(), r#"[(b'"ours"', True), (b'rubbish', True)]"#);
}
