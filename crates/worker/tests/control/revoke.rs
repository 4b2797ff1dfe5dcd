//! Tasks that are not to run, or not to go on.

use std::time::Duration;

use celeriac_broker::{Connection, Event, Inbox, Prefetch, Session, Settlement, Subscription};
use celeriac_protocol::codec::{Accept, Serializer};
use celeriac_protocol::{Body, Event as Told, State, TaskHeaders, TaskMessage, Value};
use celeriac_worker::{Call, EventSettings, Run, Shutdown};
use chrono::Utc;

use super::client::{Client, gated, ok, rig};
use crate::support::{DEADLINE, Rig, eventually, ints, prepared};

/// Hears the events of tasks.
struct Ear {
    _connection: std::sync::Arc<dyn Connection>,
    session: std::sync::Arc<dyn Session>,
    inbox: Inbox,
}

impl Ear {
    async fn open(rig: &Rig) -> Self {
        let connection = rig.connection().await;
        let topology = EventSettings::default().listener("ear", "#");
        connection.declare(&topology).await.unwrap();
        let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
        session.subscribe(&Subscription::new(&topology.queues[0].name)).await.unwrap();
        Ear { _connection: connection, session, inbox }
    }

    /// The next event of a kind.
    async fn hear(&mut self, kind: &str) -> Told {
        loop {
            let event = tokio::time::timeout(DEADLINE, self.inbox.recv()).await.expect("an event");
            let Some(Event::Delivery(delivery)) = event else { panic!("the session ended") };
            self.session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
            let body = delivery.message.decode(&Accept::default()).unwrap();
            let found = Told::read_all(body).flatten().find(|event| event.kind == kind);
            if let Some(event) = found {
                return event;
            }
        }
    }
}

async fn reason(rig: &Rig, id: &str) -> String {
    let meta = rig.result(id).await;
    assert_eq!(meta.state, State::Revoked, "{meta:?}");
    meta.exception().unwrap().text()
}

#[tokio::test]
async fn a_running_async_task_is_ended_and_told() {
    let (gate, task) = gated("stuck");
    let mut rig = rig().with(task);
    rig.settings.task_events = true;
    rig.settings.concurrency = 1;
    let mut ear = Ear::open(&rig).await;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    rig.send("a", Call::new("stuck", Vec::new())).await;
    gate.wait_for(1).await;
    let arguments = [("task_id", "a".into()), ("terminate", true.into()), ("signal", "SIGKILL".into())];
    assert_eq!(ok(&client.ask("revoke", &arguments).await), "terminate: a");
    assert_eq!(reason(&rig, "a").await, "terminated");
    let event = ear.hear("task-revoked").await;
    assert_eq!(event.fields.get("uuid"), Some(&"a".into()));
    assert_eq!(event.fields.get("terminated"), Some(&true.into()));
    assert_eq!(event.fields.get("signum"), Some(&9.into()));
    assert_eq!(event.fields.get("expired"), Some(&false.into()));
    // Its slot is free.
    rig.send("b", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("b").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_blocking_task_is_told_as_revoked_and_its_thread_runs_on() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (ended, mut over) = tokio::sync::mpsc::unbounded_channel();
    let gone = std::sync::Arc::new(std::sync::Mutex::new(gone));
    let block = prepared("block", move |_, _| {
        let (gone, began, ended) = (gone.clone(), began.clone(), ended.clone());
        Ok(Run::Blocking(Box::new(move || {
            began.send(()).unwrap();
            let _ = gone.lock().unwrap().recv();
            ended.send(()).unwrap();
            Ok(Value::Null)
        })))
    });
    let mut rig = rig().with(block);
    rig.settings.concurrency = 1;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    rig.send("a", Call::new("block", Vec::new())).await;
    begun.recv().await.unwrap();
    let arguments = [("task_id", "a".into()), ("signal", "TERM".into())];
    assert_eq!(ok(&client.ask("terminate", &arguments).await), "terminate: a");
    assert_eq!(reason(&rig, "a").await, "terminated");
    rig.send("b", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("b").await.state, State::Success);
    assert!(over.try_recv().is_err(), "the thread has not ended");
    go.send(()).unwrap();
    over.recv().await.unwrap();
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn what_is_revoked_before_it_starts_does_not_run() {
    let (gate, task) = gated("stuck");
    let mut rig = rig().with(task);
    rig.settings.concurrency = 1;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    // Before it comes: known to the store although nobody has it.
    client.ask("revoke", &[("task_id", "early".into())]).await;
    assert_eq!(reason(&rig, "early").await, "revoked");
    rig.send("early", Call::new("stuck", Vec::new())).await;
    eventually("the end of the first", || async { (worker.counters.revoked.value() == 1).then_some(()) })
        .await;
    // While it waits for a slot.
    for id in ["runs", "waits"] {
        rig.send(id, Call::new("stuck", Vec::new())).await;
    }
    gate.wait_for(1).await;
    eventually("the second", || async { (worker.counters.received.value() == 3).then_some(()) }).await;
    client.ask("revoke", &[("task_id", vec![Value::from("waits")].into())]).await;
    gate.open();
    eventually("its end", || async { (worker.counters.revoked.value() == 2).then_some(()) }).await;
    assert_eq!(reason(&rig, "waits").await, "revoked");
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(gate.started(), 1);
}

#[tokio::test]
async fn what_is_revoked_while_it_waits_for_its_time_does_not_run() {
    let rig = rig();
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let mut call = Call::new("echo", ints(&[1]));
    call.options.eta = Some(Utc::now() + Duration::from_secs(3));
    rig.send("a", call).await;
    eventually("it", || async { (worker.counters.received.value() == 1).then_some(()) }).await;
    client.ask("revoke", &[("task_id", "a".into())]).await;
    eventually("its end", || async { (worker.counters.revoked.value() == 1).then_some(()) }).await;
    assert_eq!((reason(&rig, "a").await.as_str(), worker.counters.started.value()), ("revoked", 0));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn stamps_revoke_what_carries_them() {
    let (gate, task) = gated("stuck");
    let rig = rig().with(task);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let stamped = |task: &str, id: &str, team: Value| {
        let headers = TaskHeaders {
            stamped_headers: Some(vec!["team".to_owned()]),
            stamps: [("team", team)].into_iter().collect(),
            ..TaskHeaders::new(task, id)
        };
        let body = Body { args: ints(&[1]), ..Body::default() };
        TaskMessage::new(headers, &body, Serializer::Json, None).unwrap().into_message()
    };
    rig.publish(stamped("stuck", "red", vec![Value::from("red"), "round".into()].into())).await;
    rig.publish(stamped("stuck", "blue", "blue".into())).await;
    gate.wait_for(2).await;
    let headers = |stamps: &[&str]| {
        let stamps: Vec<Value> = stamps.iter().map(|stamp| Value::from(*stamp)).collect();
        ("headers", Value::Map([("team", Value::from(stamps))].into_iter().collect()))
    };
    let answer = client
        .ask("revoke_by_stamped_headers", &[headers(&["red", "green"]), ("terminate", true.into())])
        .await;
    assert_eq!(ok(&answer), "headers defaultdict(<class 'set'>, {'team': {'red'}}) revoked");
    assert_eq!(reason(&rig, "red").await, "terminated");
    rig.publish(stamped("echo", "another", "red".into())).await;
    assert_eq!(reason(&rig, "another").await, "revoked");
    rig.publish(stamped("echo", "fine", "yellow".into())).await;
    assert_eq!(rig.result("fine").await.state, State::Success);
    gate.open();
    assert_eq!(rig.result("blue").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn events_of_tasks_are_switched_and_a_heartbeat_comes_when_asked() {
    let mut rig = rig();
    rig.settings.heartbeat = true;
    rig.settings.heartbeat_interval = Duration::from_secs(50);
    let mut ear = Ear::open(&rig).await;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    assert_eq!(ok(&client.ask("disable_events", &[]).await), "task events already disabled");
    assert_eq!(ok(&client.ask("enable_events", &[]).await), "task events enabled");
    assert_eq!(ok(&client.ask("enable_events", &[]).await), "task events already enabled");
    rig.send("a", Call::new("echo", ints(&[1]))).await;
    assert_eq!(ear.hear("task-succeeded").await.fields.get("uuid"), Some(&"a".into()));
    assert_eq!(ok(&client.ask("disable_events", &[]).await), "task events disabled");
    rig.send("b", Call::new("echo", ints(&[1]))).await;
    rig.result("b").await;
    client.ask("enable_events", &[]).await;
    rig.send("c", Call::new("echo", ints(&[1]))).await;
    assert_eq!(ear.hear("task-received").await.fields.get("uuid"), Some(&"c".into()));

    assert_eq!(client.ask("heartbeat", &[]).await, Value::Null);
    assert_eq!(ear.hear("worker-heartbeat").await.fields.get("freq").and_then(Value::as_f64), Some(5.0));
    worker.end(Shutdown::Warm).await.unwrap();
}
