//! A client, and a lead that is made up or a real one, by a broker in memory.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{
    Connection, Event, Inbox, MemoryTransport, Prefetch, Session, Subscription, Transport,
};
use celeriac_cluster::watch::message::Beat;
use celeriac_protocol::codec::{self, Compression, Serializer};
use celeriac_protocol::{Map, Value};
use celeriac_worker::{EventSettings, Shutdown};

use super::*;

const LEAD: NodeId = NodeId(7);

fn app(name: &str) -> App {
    App::builder("test").broker(format!("memory://cluster-{name}")).build().unwrap()
}

/// Has the key of the lead.
struct Lead {
    connection: Arc<dyn Connection>,
    _session: Arc<dyn Session>,
    inbox: Inbox,
}

impl Lead {
    async fn start(name: &str) -> Self {
        let connection = MemoryTransport::named(format!("cluster-{name}")).connect().await.unwrap();
        let topology = EventSettings::default().cluster_box("lead", &[Key::Lead]);
        connection.declare(&topology).await.unwrap();
        let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
        let subscription = Subscription { no_ack: true, ..Subscription::new(&topology.queues[0].name) };
        session.subscribe(&subscription).await.unwrap();
        Lead { connection, _session: session, inbox }
    }

    /// The next who asks.
    async fn next(&mut self) -> NodeId {
        let Some(Event::Delivery(delivery)) = self.inbox.recv().await else { panic!("the queue is gone") };
        let body = delivery.message.decode(&accept()).unwrap();
        let Ok(Message::Ask { node }) = Message::read(&body) else { panic!("{body:?}") };
        node
    }

    async fn say(&self, key: Key, body: &Value) {
        let body = codec::encode(body, Serializer::Json, Some(Compression::Zlib)).unwrap();
        let compression = body.compression.clone().unwrap();
        let headers = Map::from_iter([("compression", Value::from(compression))]);
        let message = celeriac_protocol::Message::transient(headers, body);
        let exchange = EventSettings::default().cluster().exchanges.swap_remove(0).name;
        self.connection.publish(&Address::exchange(exchange, key.to_string()), message).await.unwrap();
    }
}

fn member(number: u64, hostname: &str, node: Option<NodeId>) -> Member {
    Member {
        number,
        hostname: hostname.into(),
        incarnation: 1,
        node,
        pid: Some(1),
        freq: 2.0,
        sw_ident: None,
        sw_ver: None,
        sw_sys: None,
    }
}

fn snapshot(members: &[Member]) -> Value {
    let members = members.iter().cloned().map(Arc::new).collect();
    Message::Snapshot(Snapshot { node: LEAD, term: 3, version: 9, members, departures: Vec::new() })
        .to_value()
}

#[tokio::test(start_paused = true)]
async fn where_nobody_leads_that_is_known_at_once() {
    let start = Instant::now();
    assert_eq!(app("nobody").cluster().timeout(Duration::MAX).members().await, Ok(None));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_counts() {
    let members = [member(1, "w1@test", Some(LEAD)), member(4, "py@test", None)];
    for to_all in [false, true] {
        let (app, mut lead) = (app("answers"), Lead::start("answers").await);
        let answering = async {
            let node = lead.next().await;
            let twice = [member(1, "w1@test", None), member(2, "w1@test", None)];
            let beat = Message::Beat(Beat {
                node: LEAD,
                hostname: "w1@test".into(),
                term: 3,
                seq: 1,
                interval: 5.0,
                version: 9,
                size: 2,
                digest: 0,
                watchers: vec![LEAD],
                sure: true,
                revoked: 0,
                clock: 1,
            });
            let mut unknown = snapshot(&members);
            if let Value::Map(map) = &mut unknown {
                map.insert("type", "gossip");
            }
            let mut large = snapshot(&[member(1, "w9@test", Some(LEAD))]);
            if let Value::Map(map) = &mut large {
                map.insert("filler", "x".repeat(accept().max_size));
            }
            let text = "x".repeat(100_000).into();
            for body in [Value::Null, text, unknown, snapshot(&twice), large, beat.to_value()] {
                lead.say(Key::Node(node), &body).await;
            }
            lead.say(if to_all { Key::Change } else { Key::Node(node) }, &snapshot(&members)).await;
        };
        let cluster = app.cluster();
        let (roster, ()) = tokio::join!(cluster.members(), answering);
        let roster = roster.unwrap().unwrap();
        assert_eq!((roster.term, roster.version), (3, 9));
        assert_eq!(roster.members, members);
        assert_eq!(roster.lead(), Some(&members[0]));
        // What was asked leaves nothing behind.
        let queues = lead.connection.bindings().await.unwrap();
        assert_eq!(queues.iter().filter(|binding| binding.exchange.starts_with("celeriac.")).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_says_nothing_useful_is_not_waited_for_longer() {
    let (app, mut lead) = (app("silent"), Lead::start("silent").await);
    let start = Instant::now();
    let cluster = app.cluster().timeout(Duration::from_secs(5));
    let talking = async {
        let node = lead.next().await;
        loop {
            lead.say(Key::Node(node), &Value::Null).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let asked = tokio::select! {
        asked = cluster.members() => asked,
        () = talking => unreachable!("it talks for ever"),
    };
    assert_eq!(asked, Err(ControlError::Silent(Duration::from_secs(5))));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn workers_are_told_by_the_one_that_leads() {
    let app = app("workers");
    let names = ["w1@test", "w2@test", "w3@test"];
    let mut running = Vec::new();
    for name in names {
        let settings = celeriac_worker::Settings { hostname: name.to_owned(), ..app.settings().clone() };
        let worker = app.worker_with(settings);
        running.push((worker.shutdown_handle(), tokio::spawn(worker.run())));
    }
    let all = async {
        loop {
            let roster = app.cluster().members().await.ok().flatten();
            if let Some(roster) = roster.filter(|roster| roster.members.len() == names.len()) {
                return roster;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let roster = tokio::time::timeout(Duration::from_secs(60), all).await.expect("all workers in the roster");
    let mut told: Vec<_> = roster.members.iter().map(|member| &*member.hostname).collect();
    told.sort_unstable();
    assert_eq!(told, names);
    let lead = roster.lead().expect("the lead is a member");
    assert_eq!((lead.sw_ident.as_deref(), lead.pid), (Some("celeriac"), Some(std::process::id().into())));
    for (shutdown, worker) in running {
        shutdown.request(Shutdown::Warm);
        worker.await.unwrap().unwrap();
    }
}
