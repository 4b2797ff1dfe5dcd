//! What other workers tell one that gossips as Celery's do.

mod mingle;
mod party;
mod watch;

use std::sync::Arc;

use celeriac_broker::{Address, Connection};
use celeriac_cluster::state::Worker as Member;
use celeriac_protocol::{Map, Message, Properties};
use celeriac_worker::wall::now;
use celeriac_worker::{EventSettings, GossipMode, Shutdown};
use tokio::sync::mpsc;

use crate::control::client::{Client, ok, rig};
use crate::support::{DEADLINE, Rig, Running, eventually};

/// Sends events by hand.
struct Sender(Arc<dyn Connection>);

impl Sender {
    /// Waits until the worker listens.
    async fn open(rig: &Rig) -> Self {
        let connection = rig.connection().await;
        let exchange = EventSettings::default().exchange;
        eventually("a listener", || async {
            let bindings = connection.bindings().await.unwrap();
            bindings.iter().any(|binding| binding.exchange == exchange).then_some(())
        })
        .await;
        Sender(connection)
    }

    async fn send(&self, routing_key: &str, content_type: &str, body: &[u8]) {
        let message = Message {
            headers: Map::new(),
            properties: Properties {
                content_type: Some(content_type.to_owned()),
                content_encoding: Some("utf-8".to_owned()),
                ..Properties::default()
            },
            body: body.to_vec().into(),
        };
        let address = Address::exchange(EventSettings::default().exchange, routing_key);
        self.0.publish(&address, message).await.unwrap();
    }

    async fn json(&self, routing_key: &str, body: &str) {
        self.send(routing_key, "application/json", body.as_bytes()).await;
    }
}

async fn invalid_events(worker: &Running, expected: u64) {
    eventually("the invalid events", || async {
        (worker.counters.invalid_events.value() >= expected).then_some(())
    })
    .await;
    assert_eq!(worker.counters.invalid_events.value(), expected);
}

#[tokio::test]
async fn each_event_that_cannot_be_used_is_counted_and_gossip_goes_on() {
    let mut rig = rig();
    (rig.settings.gossip, rig.settings.gossip_mode) = (true, GossipMode::Classic);
    let (told, mut joined) = mpsc::unbounded_channel();
    let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| {
        worker.on_node_join(move |member| drop(told.send(member.hostname.to_string())))
    });
    let sender = Sender::open(&rig).await;
    let mut count = 0;
    for (content_type, body) in [
        ("application/json", &b"not json"[..]),
        ("application/json", &[0xff, 0xfe]),
        ("application/json", &b"["[..].repeat(100_000)),
        ("application/x-python-serialize", &[0x80, 4]),
    ] {
        sender.send("worker.heartbeat", content_type, body).await;
        count += 1;
        invalid_events(&worker, count).await;
    }
    let bad = [
        "null",
        "7",
        r#""text""#,
        "{}",
        r#"{"type": "worker-online"}"#,
        r#"{"type": 7, "hostname": "h", "timestamp": 1}"#,
        r#"{"type": "worker-online", "hostname": {}, "timestamp": 1}"#,
        r#"{"type": "worker-online", "hostname": "h", "timestamp": "now"}"#,
    ];
    for body in bad {
        sender.json("worker.online", body).await;
        count += 1;
        invalid_events(&worker, count).await;
    }
    // Each of a list is one; those between them are heard.
    sender
        .json(
            "worker.multi",
            r#"[7, {"type": "worker-online", "hostname": "between@test", "timestamp": 1}, {}]"#,
        )
        .await;
    count += 2;
    invalid_events(&worker, count).await;
    for body in [
        r#"{"type": "worker-elect", "hostname": "h", "timestamp": 1, "clock": 1, "pid": 1}"#,
        r#"{"type": "worker-elect", "hostname": "h", "timestamp": 1, "clock": 1, "pid": 1, "id": [], "topic": "task"}"#,
    ] {
        sender.json("worker.elect", body).await;
        count += 1;
        invalid_events(&worker, count).await;
    }
    sender.json("worker.online", r#"{"type": "worker-online", "hostname": "w2@test", "timestamp": 1}"#).await;
    let listening = async { while joined.recv().await.unwrap() != "w2@test" {} };
    tokio::time::timeout(DEADLINE, listening).await.expect("the one that makes sense");
    let mut client = Client::open(&rig).await;
    assert_eq!(ok(&client.ask("ping", &[]).await), "pong");
    assert_eq!(worker.counters.invalid_events.value(), count);
    assert_eq!(worker.counters.invalid_control.value(), 0);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_program_is_told_once_who_is_lost() {
    let mut rig = rig();
    (rig.settings.gossip, rig.settings.gossip_mode) = (true, GossipMode::Classic);
    let (told, mut heard) = mpsc::unbounded_channel();
    let say = |what: &'static str| {
        let told = told.clone();
        move |member: &Member| drop(told.send(format!("{what} {}", member.hostname)))
    };
    let (join, leave, lost) = (say("joined"), say("left"), say("lost"));
    let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| {
        let panics = |_: &Member| panic!("as told");
        worker.on_node_join(join).on_node_leave(leave).on_node_lost(panics).on_node_lost(lost)
    });
    let sender = Sender::open(&rig).await;
    let at = now();
    for host in ["w2@test", "w3@test"] {
        let online = format!(
            r#"{{"type": "worker-online", "hostname": "{host}", "timestamp": {at}, "clock": 5, "freq": 0.5}}"#
        );
        sender.json("worker.online", &online).await;
    }
    let offline =
        format!(r#"{{"type": "worker-offline", "hostname": "w3@test", "timestamp": {at}, "clock": 6}}"#);
    sender.json("worker.offline", &offline).await;
    let mut next = async || tokio::time::timeout(DEADLINE, heard.recv()).await.expect("a word").unwrap();
    for expected in ["joined w2@test", "joined w3@test", "left w3@test", "lost w2@test"] {
        assert_eq!(next().await, expected);
    }
    // Lost is forgotten: another sign of life is a new one.
    let back =
        format!(r#"{{"type": "worker-online", "hostname": "w2@test", "timestamp": {at}, "clock": 7}}"#);
    sender.json("worker.online", &back).await;
    assert_eq!(next().await, "joined w2@test");
    worker.end(Shutdown::Warm).await.unwrap();
}
