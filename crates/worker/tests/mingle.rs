//! Mingling with a neighbour that is made by hand.

use std::sync::Arc;

use celeriac_broker::{Address, Connection, Event, Inbox, Prefetch, Session, Settlement, Subscription};
use celeriac_protocol::codec::Accept;
use celeriac_protocol::control::Request;
use celeriac_protocol::{Map, Message, Properties, State, Value};
use celeriac_worker::{Call, GossipMode, Pidbox, Shutdown};
use tokio::time::{Duration, Instant, timeout};

use crate::control::client::{Client, from_json, rig};
use crate::log::Log;
use crate::shim::Shim;
use crate::steps::ready;
use crate::support::{DEADLINE, Rig, Running, eventually, ints};

/// How long a worker waits for its neighbours.
const PATIENCE: Duration = Duration::from_secs(1);

/// A node that has a mailbox.
pub struct Neighbour {
    pidbox: Pidbox,
    node: &'static str,
    connection: Arc<dyn Connection>,
    session: Arc<dyn Session>,
    inbox: Inbox,
}

/// A question that it got.
struct Hello {
    arguments: Map,
    ticket: String,
    reply_to: String,
}

impl Neighbour {
    pub async fn open(rig: &Rig, node: &'static str) -> Self {
        let (pidbox, connection) = (Pidbox::default(), rig.connection().await);
        let mailbox = pidbox.mailbox(node);
        connection.declare(&mailbox).await.unwrap();
        let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
        session.subscribe(&Subscription::new(&mailbox.queues[0].name)).await.unwrap();
        Neighbour { pidbox, node, connection, session, inbox }
    }

    async fn hello(&mut self) -> Hello {
        let event = timeout(DEADLINE, self.inbox.recv()).await.expect("a question");
        let Some(Event::Delivery(delivery)) = event else { panic!("the session ended") };
        self.session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
        let request = Request::read(delivery.message.decode(&Accept::default()).unwrap()).unwrap();
        assert_eq!(request.method, "hello");
        let reply_to = request.reply_to.unwrap();
        assert_eq!(reply_to.exchange, self.pidbox.replies().exchanges[0].name);
        Hello {
            arguments: request.arguments,
            ticket: request.ticket.unwrap(),
            reply_to: reply_to.routing_key,
        }
    }

    /// Answers as another node.
    async fn answer_as(&self, node: &str, hello: &Hello, ticket: &str, answer: &str) {
        let reply = self.pidbox.reply(node, from_json(answer), Some(ticket.to_owned()));
        self.send(hello, reply.unwrap()).await;
    }

    async fn answer(&self, hello: &Hello, answer: &str) {
        self.answer_as(self.node, hello, &hello.ticket, answer).await;
    }

    async fn send(&self, hello: &Hello, message: Message) {
        let exchange = self.pidbox.replies().exchanges[0].name.clone();
        self.connection.publish(&Address::exchange(exchange, &*hello.reply_to), message).await.unwrap();
    }

    async fn send_raw(&self, hello: &Hello, content_type: &str, body: Vec<u8>) {
        let message = Message {
            headers: Map::from_iter([("ticket", Value::from(&*hello.ticket))]),
            properties: Properties {
                content_type: Some(content_type.to_owned()),
                content_encoding: Some("utf-8".to_owned()),
                ..Properties::default()
            },
            body: body.into(),
        };
        self.send(hello, message).await;
    }
}

/// A worker that mingles and does nothing else with the others, in virtual time.
fn mingling() -> Rig {
    let mut rig = rig();
    rig.settings.mingle = true;
    rig
}

fn start(rig: &Rig) -> (Running, crate::steps::Awaited) {
    let (ready, awaited) = ready();
    (rig.start_as(Arc::new(rig.transport.clone()), |worker| worker.step(ready)), awaited)
}

async fn revoked(client: &mut Client) -> Vec<String> {
    let revoked = client.ask("revoked", &[]).await;
    let mut ids: Vec<_> =
        revoked.as_list().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn clock(client: &mut Client) -> i64 {
    client.ask("clock", &[]).await.as_map().unwrap().get("clock").unwrap().as_i64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_alone_waits_for_nobody() {
    let log = Log::record();
    let rig = mingling();
    let began = Instant::now();
    let (worker, mut ready) = start(&rig);
    ready.wait().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(log.count("INFO mingle: searching for neighbors"), 1, "{log}");
    assert_eq!(log.count("INFO mingle: all alone"), 1, "{log}");
    assert_eq!(log.count("mingle: sync"), 0, "{log}");
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_that_does_not_answer_costs_a_second() {
    let log = Log::record();
    let rig = mingling();
    let _neighbour = Neighbour::open(&rig, "w2@test").await;
    let began = Instant::now();
    let (worker, mut ready) = start(&rig);
    ready.wait().await;
    let waited = began.elapsed();
    assert!(waited >= PATIENCE && waited < 2 * PATIENCE, "{waited:?}");
    assert_eq!(log.count("mingle: all alone"), 1, "{log}");
    worker.end(Shutdown::Warm).await.unwrap();
}

/// Who starts connects, asks the others, opens its mailbox, takes tasks, listens to events, and says that it is there.
#[tokio::test(start_paused = true)]
async fn others_see_the_steps_in_their_order() {
    let mut rig = mingling();
    (rig.settings.gossip, rig.settings.gossip_mode, rig.settings.heartbeat) =
        (true, GossipMode::Classic, true);
    let shim = Arc::new(Shim::sound(rig.transport.clone()));
    let rig = rig.sending_by(shim.clone());
    let mut neighbour = Neighbour::open(&rig, "w2@test").await;
    rig.producer.send("a".to_owned(), Call::new("echo", ints(&[1]))).await.unwrap();
    let worker = rig.start_on(shim.clone());
    let hello = neighbour.hello().await;
    tokio::time::sleep(PATIENCE / 2).await;
    assert_eq!((rig.len("celery").await, worker.counters.received.value()), (1, 0));
    neighbour.answer(&hello, r#"{"clock": 1, "revoked": {}}"#).await;
    rig.result("a").await;
    let online = "publish celeryev worker.online";
    let is_told = || async { shim.seen().iter().any(|what| what == online).then_some(()) };
    eventually("that it is there", is_told).await;
    let seen = shim.seen();
    let order = [
        "publish celery.pidbox ",
        "consume celery@localhost.celery.pidbox",
        "consume celery",
        "consume celeryev.",
        online,
    ];
    let place = |what: &str| {
        seen.iter().position(|line| line == what || what.ends_with('.') && line.starts_with(what))
    };
    let places = order.map(|what| place(what).unwrap_or_else(|| panic!("no {what} in {seen:#?}")));
    assert!(places.is_sorted(), "{seen:#?}");
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_is_taken_over_as_well() {
    let rig = mingling();
    let mut neighbour = Neighbour::open(&rig, "w2@test").await;
    let (worker, mut ready) = start(&rig);
    let hello = neighbour.hello().await;
    ready.wait().await;
    neighbour.answer(&hello, r#"{"clock": 1000000, "revoked": {"r1": 7.5}}"#).await;
    let mut client = Client::open(&rig).await;
    let heard = async { while revoked(&mut client).await != ["r1"] {} };
    timeout(DEADLINE, heard).await.expect("the late revoke");
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn clock_and_revokes_of_the_neighbours_are_taken_over_before_tasks_are() {
    let log = Log::record();
    let rig = mingling();
    let mut neighbour = Neighbour::open(&rig, "w2@test").await;
    rig.send("r1", Call::new("echo", ints(&[1]))).await;
    let (worker, mut ready) = start(&rig);
    let hello = neighbour.hello().await;
    assert_eq!(hello.arguments.get("from_node"), Some(&"celery@localhost".into()));
    assert_eq!(hello.arguments.get("revoked"), Some(&Map::new().into()));
    // As Python writes them: stamps of another host's monotonic clock.
    neighbour
        .answer(&hello, r#"{"clock": 1000000, "revoked": {"r1": [7.5, "r1"], "r2": [99999999.0, "r2"]}}"#)
        .await;
    neighbour.answer_as("w3@test", &hello, &hello.ticket, r#"{"clock": 5, "revoked": {"r3": 8.5}}"#).await;
    // It has nothing to tell.
    neighbour.answer_as("w4@test", &hello, &hello.ticket, "null").await;
    ready.wait().await;
    assert_eq!(rig.result("r1").await.state, State::Revoked);
    let mut client = Client::open(&rig).await;
    assert_eq!(revoked(&mut client).await, ["r1", "r2", "r3"]);
    assert!(clock(&mut client).await >= 1_000_000);
    assert_eq!(log.count("INFO mingle: sync with 2 nodes"), 1, "{log}");
    assert_eq!(log.count("INFO mingle: sync complete"), 1, "{log}");

    // After a loss it asks again, and tells what it knows by now.
    rig.transport.sever();
    let mut neighbour = Neighbour::open(&rig, "w2@test").await;
    let hello = neighbour.hello().await;
    let told = hello.arguments.get("revoked").and_then(Value::as_map).unwrap();
    assert_eq!(told.iter().map(|(id, _)| id).collect::<Vec<_>>(), ["r1", "r2", "r3"]);
    ready.wait().await;
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn revokes_that_are_over_are_not_told() {
    let mut rig = mingling();
    rig.settings.revoke_expires = Duration::ZERO;
    let (worker, mut ready) = start(&rig);
    ready.wait().await;
    let mut client = Client::open(&rig).await;
    client.ask("revoke", &[("task_id", "r1".into())]).await;
    rig.transport.sever();
    let mut neighbour = Neighbour::open(&rig, "w2@test").await;
    assert_eq!(neighbour.hello().await.arguments.get("revoked"), Some(&Map::new().into()));
    ready.wait().await;
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn replies_that_make_no_sense_spoil_nothing() {
    let log = Log::record();
    let rig = mingling();
    let mut neighbour = Neighbour::open(&rig, "w2@test").await;
    let (worker, mut ready) = start(&rig);
    let hello = neighbour.hello().await;
    let json = "application/json";
    neighbour.answer_as("forger@test", &hello, "another ticket", r#"{"revoked": {"forged": 1.0}}"#).await;
    neighbour.answer_as("celery@localhost", &hello, &hello.ticket, r#"{"revoked": {"own": 1.0}}"#).await;
    let undecodable = [
        b"not json".to_vec(),
        vec![0xff, 0xfe],
        Vec::new(),
        "[".repeat(200_000).into_bytes(),
        vec![b'x'; 5_000_000],
    ];
    let undecodable_count = undecodable.len() + 1;
    for body in undecodable {
        neighbour.send_raw(&hello, json, body).await;
    }
    neighbour.send_raw(&hello, "application/x-python-serialize", vec![0x80, 4]).await;
    for body in ["[]", "7", "null", r#""text""#] {
        neighbour.send_raw(&hello, json, body.as_bytes().to_vec()).await;
    }
    // Nodes and nothing else are dicts of nodes.
    for (node, answer) in [
        ("w3@test", "7"),
        ("w4@test", "[]"),
        ("w5@test", r#"{"clock": "late", "revoked": {"r5": 1.0}}"#),
        ("w6@test", r#"{"clock": [], "revoked": 7}"#),
        ("w7@test", r#"{"clock": -1, "revoked": [7, null, {}, "r7"]}"#),
        ("w8@test", r#"{"clock": 9223372036854775807, "revoked": {"r8": {"a": []}}}"#),
        ("w9@test", r#"{"other": 1}"#),
    ] {
        neighbour.answer_as(node, &hello, &hello.ticket, answer).await;
    }
    let long = format!(r#"{{"clock": 70, "revoked": {{"{}": 1.0}}}}"#, "x".repeat(100_000));
    neighbour.answer(&hello, &long).await;
    // Twice of one node.
    neighbour.answer(&hello, r#"{"clock": 77, "revoked": {"good": 1.0}}"#).await;
    neighbour.answer(&hello, r#"{"clock": 78, "revoked": {"good": 2.0, "better": 2.0}}"#).await;
    ready.wait().await;
    let mut client = Client::open(&rig).await;
    assert_eq!(revoked(&mut client).await, ["better", "good", "r5", "r7", "r8"]);
    let clock = clock(&mut client).await;
    assert!((78..1_000_000).contains(&clock), "{clock}");
    assert_eq!(log.count("mingle: cannot decode a reply"), undecodable_count, "{log}");
    assert_eq!(log.count("mingle: a reply is no dict"), 4, "{log}");
    for node in ["w3@test", "w4@test", "w5@test"] {
        assert_eq!(log.count(&format!("mingle: sync with {node} failed")), 1, "{log}");
    }
    assert_eq!(log.count("mingle: sync with w6@test failed"), 2, "{log}");
    assert_eq!(log.count("all alone"), 0, "{log}");
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn replies_that_come_faster_than_they_are_read_end_with_the_second() {
    let rig = mingling();
    let mut neighbour = Neighbour::open(&rig, "w2@test").await;
    let began = Instant::now();
    let (ready, mut awaited) = ready();
    let lagging = Arc::new(Shim::lagging(rig.transport.clone()));
    let worker = rig.start_as(lagging, |worker| worker.step(ready));
    let hello = neighbour.hello().await;
    for index in 0..1000 {
        neighbour.answer_as(&format!("n{index}@test"), &hello, &hello.ticket, "{}").await;
    }
    awaited.wait().await;
    assert!(began.elapsed() < 3 * PATIENCE, "{:?}", began.elapsed());
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_replies_ends_with_the_second() {
    let rig = mingling();
    let mut neighbour = Neighbour::open(&rig, "w2@test").await;
    let began = Instant::now();
    let (worker, mut ready) = start(&rig);
    let hello = neighbour.hello().await;
    for index in 0..100_000 {
        let node = format!("n{index}@test");
        neighbour
            .answer_as(
                &node,
                &hello,
                &hello.ticket,
                &format!(r#"{{"clock": {index}, "revoked": {{"{index}": 1.0}}}}"#),
            )
            .await;
    }
    ready.wait().await;
    assert!(began.elapsed() < 2 * PATIENCE, "{:?}", began.elapsed());
    let mut client = Client::open(&rig).await;
    assert_eq!(revoked(&mut client).await.len(), rig.settings.revokes_max);
    rig.send("a", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("a").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}
