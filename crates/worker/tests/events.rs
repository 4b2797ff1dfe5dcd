//! What monitors hear of tasks; fields and their order are those of recorded messages of Celery 5.6.2.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Connection, Event as Arrived, Inbox, Prefetch, Session, Settlement, Subscription};
use celeriac_protocol::codec::{Accept, Serializer};
use celeriac_protocol::{Body, Event, Map, Message, State, TaskHeaders, TaskMessage, Value};
use celeriac_results::ResultStore;
use celeriac_worker::{Call, EventSettings, Failure, NativeTask, Shutdown, TaskError, TaskOptions};
use chrono::Utc;

use crate::control::client::{Client, gated, keys, rig};
use crate::support::{DEADLINE, Rig, eventually, ints, task};

const HEAD: [&str; 4] = ["hostname", "utcoffset", "pid", "clock"];
const TAIL: [&str; 2] = ["timestamp", "type"];

/// Hears all events.
struct Monitor {
    _connection: Arc<dyn Connection>,
    session: Arc<dyn Session>,
    inbox: Inbox,
    heard: VecDeque<Event>,
}

impl Monitor {
    async fn open(rig: &Rig) -> Self {
        let connection = rig.connection().await;
        let mut topology = EventSettings::default().listener("monitor", "#");
        topology.queues[0].message_ttl = None;
        connection.declare(&topology).await.unwrap();
        let (session, inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
        session.subscribe(&Subscription::new(&topology.queues[0].name)).await.unwrap();
        Monitor { _connection: connection, session, inbox, heard: VecDeque::new() }
    }

    /// The next message: its routing key, and what it is.
    async fn message(&mut self) -> (String, Message) {
        let event = tokio::time::timeout(DEADLINE, self.inbox.recv()).await.expect("an event");
        let Some(Arrived::Delivery(delivery)) = event else { panic!("the session ended") };
        self.session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
        (delivery.routing_key, delivery.message)
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.heard.pop_front() {
                return event;
            }
            let (_, message) = self.message().await;
            let body = message.decode(&Accept::default()).unwrap();
            self.heard.extend(Event::read_all(body).map(Result::unwrap));
        }
    }

    /// Events of one task, up to one of this kind: their kinds, and the last one.
    async fn until(&mut self, id: &str, kind: &str) -> (Vec<String>, Event) {
        let mut kinds = Vec::new();
        loop {
            let event = self.next().await;
            if event.fields.get("uuid").and_then(Value::as_str) == Some(id) {
                kinds.push(event.subject().to_owned());
                if event.kind == kind {
                    return (kinds, event);
                }
            }
        }
    }
}

/// A worker that sends events, and one who hears them.
async fn heard(rig: &mut Rig) -> Monitor {
    rig.settings.task_events = true;
    Monitor::open(rig).await
}

fn fields(event: &Event) -> Vec<&str> {
    event.fields.iter().map(|(key, _)| key).collect()
}

fn map(fields: &[(&'static str, Value)]) -> Map {
    fields.iter().cloned().collect()
}

#[tokio::test]
async fn a_success_is_told_as_celery_tells_it() {
    let mut rig = rig();
    let mut monitor = heard(&mut rig).await;
    let worker = rig.start();
    let mut call = Call::new("echo", vec!["hello".into()]);
    call.options.parent_id = Some("parent".to_owned());
    call.options.root_id = Some("root".to_owned());
    rig.send("a", call).await;
    let mut events = Vec::new();
    while events.len() < 3 {
        let (routing_key, message) = monitor.message().await;
        assert_eq!(routing_key, "task.multi");
        assert_eq!(message.headers, map(&[("hostname", "celery@localhost".into())]));
        assert_eq!((message.properties.delivery_mode, message.properties.priority), (Some(1), Some(0)));
        assert_eq!(message.properties.content_type.as_deref(), Some("application/json"));
        events.extend(message.decode(&Accept::default()).unwrap().as_list().unwrap().to_vec());
    }
    let expected: [&[&str]; 3] = [
        &["uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires"],
        &["uuid"],
        &["uuid", "result", "runtime"],
    ];
    for (event, fields) in events.iter().zip(expected) {
        assert_eq!(keys(event), [&HEAD, fields, &TAIL].concat());
    }
    let events: Vec<_> = events.into_iter().map(|event| Event::read(event).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| &*event.kind).collect();
    assert_eq!(kinds, ["task-received", "task-started", "task-succeeded"]);
    let received = [
        ("uuid", "a".into()),
        ("name", "echo".into()),
        ("args", "('hello',)".into()),
        ("kwargs", "{}".into()),
        ("root_id", "root".into()),
        ("parent_id", "parent".into()),
        ("retries", 0.into()),
        ("eta", Value::Null),
        ("expires", Value::Null),
    ];
    assert_eq!(events[0].fields, map(&received));
    assert_eq!(events[2].fields.get("result"), Some(&"'hello'".into()));
    assert!(matches!(events[2].fields.get("runtime"), Some(Value::Float(_))));
    assert!(events.windows(2).all(|pair| pair[0].clock < pair[1].clock));
    assert_eq!(events[0].hostname, "celery@localhost");
    assert_eq!(events[0].pid, Some(std::process::id().into()));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn times_are_told_as_python_writes_them() {
    let mut rig = rig();
    let mut monitor = heard(&mut rig).await;
    let worker = rig.start();
    let mut call = Call::new("echo", ints(&[1]));
    call.options.eta = Some("2030-01-02T03:04:05Z".parse().unwrap());
    call.options.expires = Some(celeriac_worker::Expires::At("2031-01-02T03:04:05.600Z".parse().unwrap()));
    rig.send("a", call).await;
    let (_, event) = monitor.until("a", "task-received").await;
    assert_eq!(event.fields.get("eta"), Some(&"2030-01-02T03:04:05+00:00".into()));
    assert_eq!(event.fields.get("expires"), Some(&"2031-01-02T03:04:05.600000+00:00".into()));
    worker.end(Shutdown::Warm).await.unwrap();
}

fn boom(name: &'static str, options: TaskOptions) -> impl NativeTask {
    task(name, options, |_, _| async { Err(TaskError::Failure(Failure::new("ValueError", "it broke"))) })
}

#[tokio::test]
async fn failures_and_retries_are_told() {
    let unkept = TaskOptions {
        acks_late: Some(true),
        acks_on_failure_or_timeout: Some(false),
        ..TaskOptions::default()
    };
    let again = TaskOptions {
        autoretry: true,
        default_retry_delay: Duration::ZERO,
        max_retries: Some(1),
        ..TaskOptions::default()
    };
    let mut rig = rig()
        .with(boom("boom", TaskOptions::default()))
        .with(boom("late", unkept))
        .with(boom("again", again));
    let mut monitor = heard(&mut rig).await;
    let worker = rig.start();
    rig.send("a", Call::new("boom", Vec::new())).await;
    let (kinds, failed) = monitor.until("a", "task-failed").await;
    assert_eq!(kinds, ["received", "started", "failed"]);
    assert_eq!(fields(&failed), ["uuid", "exception", "traceback"]);
    assert_eq!(failed.fields.get("exception"), Some(&"ValueError('it broke')".into()));
    let traceback = failed.fields.get("traceback").and_then(Value::as_str).unwrap();
    assert!(traceback.starts_with("Traceback (most recent call last):\n"), "{traceback}");

    rig.send("b", Call::new("late", Vec::new())).await;
    let (kinds, _) = monitor.until("b", "task-failed").await;
    assert_eq!(kinds, ["received", "started", "rejected", "failed"]);

    rig.send("c", Call::new("again", Vec::new())).await;
    let (kinds, retried) = monitor.until("c", "task-retried").await;
    assert_eq!(kinds, ["received", "started", "retried"]);
    assert_eq!(fields(&retried), ["uuid", "exception", "traceback"]);
    assert_eq!(retried.fields.get("exception"), Some(&"ValueError('it broke')".into()));
    let (kinds, _) = monitor.until("c", "task-failed").await;
    assert_eq!(kinds, ["received", "started", "failed"]);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn what_is_rejected_is_told_and_a_limit_that_requeues_is_no_failure() {
    let options = TaskOptions {
        acks_late: Some(true),
        acks_on_failure_or_timeout: Some(false),
        time_limit: Some(Duration::from_millis(20)),
        ..TaskOptions::default()
    };
    let hang = task("hang", options.clone(), |_, _| std::future::pending());
    let reject = task("reject", options, |_, _| async {
        Err(TaskError::Reject { requeue: false, reason: "no".to_owned() })
    });
    let mut rig = rig().with(hang).with(reject);
    let mut monitor = heard(&mut rig).await;
    let worker = rig.start();
    rig.send("a", Call::new("reject", Vec::new())).await;
    let (kinds, rejected) = monitor.until("a", "task-rejected").await;
    assert_eq!(kinds, ["received", "started", "rejected"]);
    assert_eq!(rejected.fields, map(&[("uuid", "a".into()), ("requeue", false.into())]));
    rig.send("b", Call::new("hang", Vec::new())).await;
    let (kinds, rejected) = monitor.until("b", "task-rejected").await;
    assert_eq!(kinds, ["received", "started", "rejected"]);
    assert_eq!(rejected.fields, map(&[("uuid", "b".into()), ("requeue", true.into())]));
    // It comes again.
    assert_eq!(monitor.until("b", "task-rejected").await.0, ["received", "started", "rejected"]);
    worker.end(Shutdown::Cold).await.unwrap();
}

fn revoked(id: &str, terminated: bool, signum: Value, expired: bool) -> Map {
    map(&[
        ("uuid", id.into()),
        ("terminated", terminated.into()),
        ("signum", signum),
        ("expired", expired.into()),
    ])
}

#[tokio::test]
async fn what_is_revoked_is_told() {
    let (gate, stuck) = gated("stuck");
    let mut rig = rig().with(stuck);
    let mut monitor = heard(&mut rig).await;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;

    client.ask("revoke", &[("task_id", "before".into())]).await;
    rig.send("before", Call::new("echo", ints(&[1]))).await;
    let (kinds, event) = monitor.until("before", "task-revoked").await;
    assert_eq!(
        (kinds, event.fields),
        (vec!["revoked".to_owned()], revoked("before", false, Value::Null, false))
    );

    let headers = TaskHeaders { expires: Some(Utc::now()), ..TaskHeaders::new("echo", "late") };
    let message = TaskMessage::new(headers, &Body::default(), Serializer::Json, None).unwrap();
    rig.publish(message.into_message()).await;
    let (kinds, event) = monitor.until("late", "task-revoked").await;
    assert_eq!(
        (kinds, event.fields),
        (vec!["revoked".to_owned()], revoked("late", false, Value::Null, true))
    );

    rig.send("running", Call::new("stuck", Vec::new())).await;
    gate.wait_for(1).await;
    client
        .ask(
            "revoke",
            &[("task_id", "running".into()), ("terminate", true.into()), ("signal", "SIGKILL".into())],
        )
        .await;
    let (kinds, event) = monitor.until("running", "task-revoked").await;
    assert_eq!(kinds, ["received", "started", "revoked"]);
    assert_eq!(event.fields, revoked("running", true, 9.into(), false));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn an_unknown_task_is_told_as_a_failure() {
    let mut rig = rig();
    let mut monitor = heard(&mut rig).await;
    let worker = rig.start();
    rig.send("a", Call::new("nope", Vec::new())).await;
    let (kinds, failed) = monitor.until("a", "task-failed").await;
    assert_eq!(kinds, ["failed"]);
    assert_eq!(failed.fields, map(&[("uuid", "a".into()), ("exception", "NotRegistered('nope')".into())]));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn what_a_loss_cancels_is_told_when_the_broker_is_back() {
    let options = TaskOptions { acks_late: Some(true), ..TaskOptions::default() };
    let stuck = task("stuck", options, |task, _| async move {
        if task.request().redelivered { Ok(Value::Null) } else { std::future::pending().await }
    });
    let mut rig = rig().with(stuck);
    rig.settings.cancel_on_connection_loss = true;
    let mut monitor = heard(&mut rig).await;
    let worker = rig.start();
    rig.send("a", Call::new("stuck", Vec::new())).await;
    monitor.until("a", "task-started").await;
    rig.transport.halt();
    // Stored while the broker is away; it runs again when it is back.
    eventually("the word of it", || async {
        (rig.store.fetch("a").await.unwrap().state == State::Retry).then_some(())
    })
    .await;
    rig.transport.resume();
    let mut monitor = Monitor::open(&rig).await;
    let (kinds, event) = monitor.until("a", "task-cancelled").await;
    assert_eq!((kinds, event.fields), (vec!["cancelled".to_owned()], map(&[("uuid", "a".into())])));
    let (kinds, _) = monitor.until("a", "task-succeeded").await;
    assert_eq!(kinds, ["received", "started", "succeeded"]);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn what_ends_while_the_broker_is_away_is_told_later() {
    let (gate, stuck) = gated("stuck");
    let mut rig = rig().with(stuck);
    let mut monitor = heard(&mut rig).await;
    let worker = rig.start();
    rig.send("a", Call::new("stuck", Vec::new())).await;
    monitor.until("a", "task-started").await;
    rig.transport.halt();
    gate.open();
    rig.result("a").await;
    rig.transport.resume();
    let (kinds, _) = Monitor::open(&rig).await.until("a", "task-succeeded").await;
    assert_eq!(kinds, ["succeeded"]);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn groups_are_switched_on_and_off_and_tasks_may_be_silent() {
    let silent = TaskOptions { send_events: false, ..TaskOptions::default() };
    let mut rig = rig().with(task("silent", silent, |_, _| async { Ok(Value::Null) }));
    rig.settings.heartbeat = true;
    let mut monitor = Monitor::open(&rig).await;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    assert_eq!(monitor.next().await.kind, "worker-online");
    let run = async |id: &str, name: &str| {
        rig.send(id, Call::new(name, Vec::new())).await;
        rig.result(id).await;
    };
    run("off", "echo").await;
    client.ask("enable_events", &[]).await;
    run("silent", "silent").await;
    run("on", "echo").await;
    monitor.heard.retain(|event| event.group() == "task");
    let first = loop {
        let event = monitor.next().await;
        if event.group() == "task" {
            break event;
        }
    };
    assert_eq!(first.fields.get("uuid"), Some(&"on".into()), "neither the one before nor the silent one");
    monitor.until("on", "task-succeeded").await;
    client.ask("disable_events", &[]).await;
    run("off again", "echo").await;
    worker.end(Shutdown::Warm).await.unwrap();
    loop {
        let event = monitor.next().await;
        assert_eq!(event.group(), "worker");
        if event.kind == "worker-offline" {
            break;
        }
    }
}

#[tokio::test]
async fn a_heartbeat_is_never_sent_late() {
    let mut rig = rig();
    rig.settings.heartbeat = true;
    rig.settings.heartbeat_interval = Duration::from_millis(500);
    let mut monitor = Monitor::open(&rig).await;
    let worker = rig.start();
    while monitor.next().await.kind != "worker-heartbeat" {}
    rig.transport.halt();
    let away = seconds();
    // Two are due meanwhile.
    while seconds() < away + 1.2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let back = seconds();
    rig.transport.resume();
    let mut monitor = Monitor::open(&rig).await;
    loop {
        let event = monitor.next().await;
        assert!(event.timestamp < away || event.timestamp > back, "{event:?}");
        if event.kind == "worker-heartbeat" && event.timestamp > back {
            break;
        }
    }
    worker.end(Shutdown::Warm).await.unwrap();
}

fn seconds() -> f64 {
    Utc::now().timestamp_micros() as f64 / 1e6
}
