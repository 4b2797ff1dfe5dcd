//! A receiver, and senders that are made up, by a broker in memory.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{
    Address, Binding, Connection, Event as Arrival, Exchange, ExchangeKind, Inbox, MemoryTransport, Prefetch,
    Queue, Session, Subscription, Topology, Transport,
};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{Map, Message, Value};

use super::{Event, Received, Receiver};
use crate::{App, TaskCall};
use celeriac_worker::wall::utcoffset;

fn url(name: &str) -> String {
    format!("memory://events-{name}")
}

async fn connect(name: &str) -> Arc<dyn Connection> {
    let connection = MemoryTransport::named(format!("events-{name}")).connect().await.unwrap();
    let exchanges = vec![
        Exchange::new("celeryev", ExchangeKind::Topic),
        Exchange { durable: false, ..Exchange::new("celery.pidbox", ExchangeKind::Fanout) },
    ];
    connection.declare(&Topology { exchanges, ..Topology::default() }).await.unwrap();
    connection
}

struct Tap {
    inbox: Inbox,
    _session: Arc<dyn Session>,
}

/// A queue that hears an exchange.
async fn tap(connection: &dyn Connection, exchange: &str, key: &str) -> Tap {
    let queue = Queue { auto_delete: true, ..Queue::new(format!("tap-{exchange}")) };
    let bindings = vec![Binding::new(&queue.name, exchange, key)];
    let subscription = Subscription { no_ack: true, ..Subscription::new(&queue.name) };
    connection.declare(&Topology { queues: vec![queue], bindings, ..Topology::default() }).await.unwrap();
    let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
    session.subscribe(&subscription).await.unwrap();
    Tap { inbox, _session: session }
}

async fn message(tap: &mut Tap) -> celeriac_broker::Delivery {
    match tap.inbox.recv().await {
        Some(Arrival::Delivery(delivery)) => delivery,
        other => panic!("{other:?}"),
    }
}

async fn publish(connection: &dyn Connection, key: &str, body: &Value) {
    let body = codec::encode(body, Serializer::Json, None).unwrap();
    let address = Address::exchange("celeryev", key);
    connection.publish(&address, Message::transient(Map::new(), body)).await.unwrap();
}

fn event(kind: &'static str, clock: Option<u64>, utcoffset: Option<f64>) -> Event {
    let fields = [("uuid", Value::from("a"))].into_iter().collect();
    let hostname = "w1@here".to_owned();
    Event { kind: kind.into(), hostname, utcoffset, pid: Some(1), clock, timestamp: 1e9, fields }
}

/// The next event; the news of a connection comes before it.
async fn first(receiver: &mut Receiver) -> Event {
    assert!(matches!(receiver.next().await, Received::Connected));
    heard(receiver).await
}

async fn heard(receiver: &mut Receiver) -> Event {
    match receiver.next().await {
        Received::Event { event, at } => {
            assert!(at > 1e9);
            event
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn events_come_single_and_in_lists_whatever_is_between_them() {
    let name = "heard";
    let app = App::builder("test").broker(url(name)).build().unwrap();
    let connection = connect(name).await;
    let mut requests = tap(&*connection, "celery.pidbox", "").await;
    let mut receiver = app.events();
    let sending = async {
        // Once it asks for heartbeats it listens.
        message(&mut requests).await;
        app.clock().adjust(20);
        publish(&*connection, "worker.online", &event("worker-online", Some(40), None).into_value()).await;
        let rubbish = Message { body: "{".into(), ..Message::default() };
        connection.publish(&Address::exchange("celeryev", "any"), rubbish).await.unwrap();
        publish(&*connection, "any", &Value::Int(1)).await;
        let list = vec![
            event("task-sent", Some(7), Some(f64::from(utcoffset()) + 2.0)).into_value(),
            Value::Null,
            Value::Map(Map::from_iter([("type", Value::Int(1))])),
            event("task-received", None, Some(utcoffset().into())).into_value(),
        ];
        publish(&*connection, "task.multi", &list.into()).await;
    };
    let (online, ()) = tokio::join!(first(&mut receiver), sending);
    assert_eq!((online.kind.as_ref(), online.clock, online.timestamp), ("worker-online", Some(40), 1e9));
    let sent = heard(&mut receiver).await;
    assert_eq!((sent.kind.as_ref(), sent.clock), ("task-sent", Some(40)), "a client's clock says nothing");
    assert_eq!(sent.timestamp, 1e9 - 2.0 * 3600.0);
    let received = heard(&mut receiver).await;
    assert_eq!((received.clock, received.timestamp), (Some(43), 1e9), "each message ticks");
    assert_eq!(received.fields.get("uuid"), Some(&"a".into()));
    assert_eq!(receiver.skipped(), 4);
}

#[tokio::test]
async fn a_receiver_comes_back_after_a_loss() {
    let name = "loss";
    let app = App::builder("test").broker(url(name)).build().unwrap();
    let transport = MemoryTransport::named(format!("events-{name}"));
    let mut receiver = app.events();
    for _ in 0..2 {
        let connection = connect(name).await;
        let mut requests = tap(&*connection, "celery.pidbox", "").await;
        let sending = async {
            message(&mut requests).await;
            publish(&*connection, "any.thing", &event("any-thing", Some(1), None).into_value()).await;
        };
        let (event, ()) = tokio::join!(first(&mut receiver), sending);
        assert_eq!(event.kind, "any-thing");
        transport.halt();
        assert!(matches!(receiver.next().await, Received::Lost(_)));
        transport.resume();
    }
}

#[tokio::test]
async fn a_receiver_that_is_dropped_leaves_nothing() {
    let name = "dropped";
    let connection = connect(name).await;
    let mut requests = tap(&*connection, "celery.pidbox", "").await;
    let app = App::builder("test").broker(url(name)).build().unwrap();
    let mut receiver = app.events().routing_key("task.#");
    let next = tokio::time::timeout(Duration::from_secs(30), async {
        tokio::select! {
            _ = first(&mut receiver) => panic!("there is no event"),
            _ = message(&mut requests) => {}
        }
    });
    next.await.unwrap();
    let queues = async || {
        let bindings = connection.bindings().await.unwrap();
        bindings.into_iter().filter(|binding| binding.queue.starts_with("celeryev.")).collect::<Vec<_>>()
    };
    let [queue] = &queues().await[..] else { panic!("one queue") };
    assert_eq!((queue.exchange.as_str(), queue.routing_key.as_str()), ("celeryev", "task.#"));
    drop(receiver);
    tokio::time::timeout(Duration::from_secs(30), async {
        while !queues().await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn sent_calls_are_told_of() {
    let name = "sent";
    let builder = App::builder("test").broker(url(name)).config(|config| config.task_send_sent_event = true);
    let app = builder.build().unwrap();
    let connection = connect(name).await;
    let mut events = tap(&*connection, "celeryev", "#").await;
    let call = TaskCall::<Value>::new("tasks.add").arg(&1).kwarg("y", &2).task_id("id-1");
    let call = call.countdown(Duration::from_secs(60)).expires(Duration::from_secs(90));
    app.send(call).await.unwrap();
    let delivery = message(&mut events).await;
    assert_eq!(delivery.routing_key, "task.sent");
    assert_eq!(delivery.message.properties.delivery_mode, Some(1));
    let body = delivery.message.decode(&Accept::default()).unwrap();
    let names: Vec<_> = body.as_map().unwrap().iter().map(|(name, _)| name.to_owned()).collect();
    let order = "hostname utcoffset pid clock uuid root_id parent_id name args kwargs retries eta expires queue \
                 exchange routing_key timestamp type";
    assert_eq!(names.join(" "), order, "Celery's order");
    let event = Event::read(body).unwrap();
    let text = |name: &str| event.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(
        (text("uuid"), text("root_id"), text("name")),
        ("id-1".into(), "id-1".into(), "tasks.add".into())
    );
    assert_eq!((text("args"), text("kwargs")), ("(1,)".into(), "{'y': 2}".into()));
    assert_eq!(
        (text("queue"), text("exchange"), text("routing_key")),
        ("celery".into(), "".into(), "celery".into())
    );
    let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
    session.subscribe(&Subscription::new("celery")).await.unwrap();
    let headers = message(&mut Tap { inbox, _session: session }).await.message.headers;
    for name in ["eta", "expires"] {
        assert_eq!(headers.get(name), Some(&text(name).into()), "{name} of message and event");
    }

    app.send(TaskCall::<Value>::new("tasks.add").queue("other")).await.unwrap();
    let body = message(&mut events).await.message.decode(&Accept::default()).unwrap();
    assert_eq!(body.as_map().unwrap().get("queue"), Some(&"other".into()));
}
