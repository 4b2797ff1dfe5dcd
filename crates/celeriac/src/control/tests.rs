//! A client and workers that are made up, by a broker in memory.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{
    Address, Connection, Event, Exchange, ExchangeKind, Inbox, MemoryTransport, Prefetch, Queue, Session,
    Subscription, Topology, Transport,
};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::control::Request;
use celeriac_protocol::{Map, Message, Value};
use tokio::time::Instant;

use super::inspect::by_node;
use super::{AddConsumer, Reply};
use crate::App;
use celeriac_worker::wall::now;

const LONG: Duration = Duration::from_secs(3600);

fn app(name: &str) -> App {
    App::builder("test").broker(format!("memory://control-{name}")).build().unwrap()
}

/// A worker's mailbox.
struct Node {
    connection: Arc<dyn Connection>,
    _session: Arc<dyn Session>,
    inbox: Inbox,
}

impl Node {
    async fn start(name: &str) -> Self {
        let transport = MemoryTransport::named(format!("control-{name}"));
        let connection = transport.connect().await.unwrap();
        let queue = "w1@here.celery.pidbox";
        let exchange = |name: &str, kind| Exchange { durable: false, ..Exchange::new(name, kind) };
        let topology = Topology {
            exchanges: vec![
                exchange("celery.pidbox", ExchangeKind::Fanout),
                exchange("reply.celery.pidbox", ExchangeKind::Direct),
            ],
            queues: vec![Queue { durable: false, auto_delete: true, ..Queue::new(queue) }],
            bindings: vec![celeriac_broker::Binding::new(queue, "celery.pidbox", "")],
        };
        connection.declare(&topology).await.unwrap();
        let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
        session.subscribe(&Subscription { no_ack: true, ..Subscription::new(queue) }).await.unwrap();
        Node { connection, _session: session, inbox }
    }

    /// The next request and its headers.
    async fn next(&mut self) -> (Request, Map) {
        let Some(Event::Delivery(delivery)) = self.inbox.recv().await else { panic!("the mailbox is gone") };
        let headers = delivery.message.headers.clone();
        assert_eq!(delivery.message.properties.delivery_mode, Some(2));
        let body = delivery.message.decode(&Accept::default()).unwrap();
        (Request::read(body).unwrap(), headers)
    }

    async fn answer(&self, request: &Request, headers: &[(&'static str, Value)], body: &Value) {
        let body = codec::encode(body, Serializer::Json, None).unwrap();
        self.publish(request, Message::transient(headers.iter().cloned().collect(), body)).await;
    }

    async fn publish(&self, request: &Request, message: Message) {
        let to = request.reply_to.clone().unwrap();
        self.connection.publish(&Address::exchange(to.exchange, to.routing_key), message).await.unwrap();
    }
}

fn from(node: &str, value: impl Into<Value>) -> Value {
    Value::Map([(node.to_owned(), value.into())].into_iter().collect())
}

fn ticket(request: &Request) -> (&'static str, Value) {
    ("ticket", request.ticket.clone().unwrap().into())
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_known_at_once() {
    let (app, start) = (app("nobody"), Instant::now());
    assert_eq!(app.control().timeout(LONG).ping().await.unwrap(), []);
    assert!(app.control().timeout(LONG).inspect().stats().await.unwrap().is_empty());
    app.control().shutdown().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn replies_come_from_all_who_were_asked() {
    let (app, mut node) = (app("replies"), Node::start("replies").await);
    app.settings().control.clock.adjust(9);
    let control = app.control().destination(["w1@here", "w2@here"]).timeout(LONG);
    let answering = async {
        let (request, headers) = node.next().await;
        assert_eq!(headers.get("clock"), Some(&11.into()));
        assert!(headers.get("expires").and_then(Value::as_f64).unwrap() > now());
        assert_eq!((request.method.as_str(), &request.arguments), ("ping", &Map::new()));
        assert_eq!(request.destination.as_deref(), Some(&["w1@here".to_owned(), "w2@here".to_owned()][..]));
        let ticket = ticket(&request);
        node.answer(&request, &[ticket.clone(), ("clock", 99.into())], &from("w1@here", 1)).await;
        node.answer(&request, &[ticket], &from("w2@here", 2)).await;
    };
    let start = Instant::now();
    let (replies, ()) = tokio::join!(control.ping(), answering);
    let reply = |node: &str, value: i32| Reply { node: node.to_owned(), value: value.into() };
    assert_eq!(replies.unwrap(), [reply("w1@here", 1), reply("w2@here", 2)]);
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody is waited for any more");
    assert_eq!(app.settings().control.clock.value(), 101, "each message ticks");
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_for_ever() {
    let (app, mut node) = (app("forever"), Node::start("forever").await);
    let control = app.control().timeout(Duration::MAX).limit(2);
    let answering = async {
        let (request, _) = node.next().await;
        for name in ["w1", "w2"] {
            tokio::time::sleep(LONG).await;
            node.answer(&request, &[ticket(&request)], &from(name, 1)).await;
        }
    };
    assert_eq!(tokio::join!(control.ping(), answering).0.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_reply_is_waited_for() {
    let (app, mut node) = (app("last"), Node::start("last").await);
    let answering = async {
        let (request, _) = node.next().await;
        for name in ["w1", "w2", "w3"] {
            tokio::time::sleep(Duration::from_millis(900)).await;
            node.answer(&request, &[ticket(&request)], &from(name, "x")).await;
        }
    };
    let start = Instant::now();
    let inspect = app.control().inspect();
    let (replies, ()) = tokio::join!(inspect.clock(), answering);
    assert_eq!(replies.unwrap().len(), 3);
    assert_eq!(start.elapsed(), Duration::from_millis(3 * 900 + 1000));
    let limited = app.control().limit(1).inspect();
    let answering = async {
        let (request, _) = node.next().await;
        node.answer(&request, &[ticket(&request)], &from("w1", "x")).await;
    };
    let start = Instant::now();
    assert_eq!(tokio::join!(limited.clock(), answering).0.unwrap().len(), 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_reply_to_us_is_left_out_and_gains_no_time() {
    let (app, mut node) = (app("hostile"), Node::start("hostile").await);
    let answering = async {
        let (request, _) = node.next().await;
        let ours = ticket(&request);
        tokio::time::sleep(Duration::from_millis(999)).await;
        let late = ("expires", Value::Float(now() - 1.0));
        node.answer(&request, &[("ticket", "another".into())], &from("forged", 1)).await;
        node.answer(&request, &[("ticket", 7.into())], &from("forged", 1)).await;
        node.answer(&request, &[ours.clone(), late], &from("late", 1)).await;
        node.answer(&request, &[ours.clone(), ("clock", "x".into())], &Value::Int(1)).await;
        node.answer(&request, &[ours.clone(), ("clock", Value::Int(-5))], &Map::new().into()).await;
        let mut rubbish = Message { body: "{".into(), ..Message::default() };
        rubbish.headers.insert(ours.0, ours.1);
        rubbish.properties.content_type = Some("application/json".to_owned());
        node.publish(&request, rubbish.clone()).await;
        rubbish.properties.content_type = Some("application/x-python-serialize".to_owned());
        node.publish(&request, rubbish).await;
        // As kombu takes it: who names no ticket answers whoever asks.
        node.answer(&request, &[], &from("w1", 1)).await;
    };
    let start = Instant::now();
    let inspect = app.control().inspect();
    let (replies, ()) = tokio::join!(inspect.clock(), answering);
    assert_eq!(replies.unwrap(), Map::from_iter([("w1", Value::Int(1))]));
    assert_eq!(start.elapsed(), Duration::from_millis(1999));
}

#[test]
fn workers_of_one_name_are_told_of() {
    let reply = |node: &str, value: i32| Reply { node: node.to_owned(), value: value.into() };
    let mut told = None;
    let nodes = by_node(vec![reply("b", 1), reply("a", 2), reply("b", 3)], |warning| told = Some(warning));
    assert_eq!(nodes, Map::from_iter([("b", Value::Int(3)), ("a", Value::Int(2))]));
    assert!(told.unwrap().starts_with("Received multiple replies from node b: "));
    by_node(vec![reply("a", 1), reply("b", 1)], |warning| panic!("{warning}"));
}

#[tokio::test]
async fn commands_are_celerys() {
    let (app, mut node) = (app("commands"), Node::start("commands").await);
    let control = app.control().pattern("w*", "glob");
    let seconds = |time| Some(Duration::from_secs(time));
    control.revoke(["a"]).await.unwrap();
    control.terminate(["a", "b"], "SIGKILL").await.unwrap();
    control.rate_limit("t", "5/m").await.unwrap();
    control.time_limit("t", seconds(1), None).await.unwrap();
    let consumer =
        AddConsumer { options: Map::from_iter([("durable", Value::Bool(false))]), ..AddConsumer::default() };
    control.add_consumer("q", consumer).await.unwrap();
    control.autoscale(4, 2).await.unwrap();
    control.pool_restart(None, true).await.unwrap();
    for (method, arguments) in [
        ("revoke", r#"{"task_id":["a"],"terminate":false,"signal":"SIGTERM"}"#),
        ("revoke", r#"{"task_id":["a","b"],"terminate":true,"signal":"SIGKILL"}"#),
        ("rate_limit", r#"{"task_name":"t","rate_limit":"5/m"}"#),
        ("time_limit", r#"{"task_name":"t","hard":null,"soft":1.0}"#),
        (
            "add_consumer",
            r#"{"queue":"q","exchange":null,"exchange_type":"direct","routing_key":null,"durable":false}"#,
        ),
        ("autoscale", r#"{"max":4,"min":2}"#),
        ("pool_restart", r#"{"modules":null,"reload":true,"reloader":null}"#),
    ] {
        let (request, _) = node.next().await;
        let sent = codec::encode(&request.arguments.into(), Serializer::Json, None).unwrap();
        assert_eq!((request.method.as_str(), &sent.data[..]), (method, arguments.as_bytes()));
        assert_eq!((request.pattern.as_deref(), request.matcher.as_deref()), (Some("w*"), Some("glob")));
        assert_eq!((request.ticket, request.reply_to), (None, None), "nobody waits for an answer");
    }
    control.election("e1", "task", None).await.unwrap();
    assert_eq!(node.next().await.0.pattern, None, "all take part in an election");
}

#[tokio::test]
async fn a_connection_that_was_lost_is_replaced() {
    let name = "lost";
    let app = app(name);
    drop(Node::start(name).await);
    app.control().heartbeat().await.unwrap();
    for reply in [false, true] {
        MemoryTransport::named(format!("control-{name}")).sever();
        let mut node = Node::start(name).await;
        let control = if reply { app.control().reply().limit(1) } else { app.control() };
        let answering = async {
            let (request, _) = node.next().await;
            if reply {
                node.answer(&request, &[ticket(&request)], &from("w1", 1)).await;
            }
        };
        let (replies, ()) = tokio::join!(control.heartbeat(), answering);
        assert_eq!(replies.unwrap().len(), usize::from(reply));
    }
}

#[tokio::test]
async fn a_purge_needs_no_worker() {
    let app = app("purge");
    assert_eq!(app.control().purge().await.unwrap(), 0);
    for _ in 0..3 {
        app.send_task(crate::Call::new("any", Vec::new())).await.unwrap();
    }
    assert_eq!(app.control().purge().await.unwrap(), 3);
}
