//! What only Python can do.

use std::sync::Arc;

use celeriac_protocol::{Map, Value};
use celeriac_python::host::{About, Action, HostError, Lost, Service};
use celeriac_testkit::eventually;
use futures_util::FutureExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;

use super::{Host, PATIENCE, Task, soon};

fn map<const N: usize>(entries: [(&'static str, Value); N]) -> Map {
    entries.into_iter().collect()
}

async fn settle(service: &Service, task: &Task, why: Lost<'_>) -> Vec<Action> {
    soon(service.lost(&task.call(), why)).await.unwrap()
}

fn named(actions: &[Action]) -> Vec<&str> {
    actions.iter().map(name).collect()
}

fn name(action: &Action) -> &str {
    match action {
        Action::Event { kind, fields } => {
            assert_eq!(fields.get("uuid"), Some(&"the-id".into()));
            kind
        }
        Action::Ack => "ack",
        Action::Reject { requeue: true } => "requeue",
        Action::Reject { requeue: false } => "reject",
    }
}

#[tokio::test]
async fn what_a_child_could_not_end_is_settled_as_celery_does() {
    let host = Host::start("basic", &[]).await;
    let service = host.zygote().service().await.unwrap();
    let of = |name: &str| Task::new("the-id", name, "[]");
    let (late, careful) = (of("basic.late"), of("basic.careful"));
    let (limit, term) = (Value::Float(2.5), Value::Int(15));
    let lost = Lost::Lost("signal 9");
    assert_eq!(named(&settle(&service, &careful, lost).await), ["requeue", "task-rejected"]);
    assert_eq!(named(&settle(&service, &late, lost).await), ["ack", "task-failed"]);
    assert_eq!(named(&settle(&service, &late, Lost::Timeout(&limit)).await), ["ack", "task-failed"]);
    let internal = Lost::Internal { exception: "TypeError('a')", traceback: "Traceback: here" };
    assert_eq!(named(&settle(&service, &late, internal).await), ["ack", "task-failed"]);
    let revoked = Lost::Revoked { reason: "terminated", terminated: true, signum: &term, expired: false };
    assert_eq!(named(&settle(&service, &late, revoked).await), ["task-revoked", "ack"]);
    assert_eq!(named(&settle(&service, &late, Lost::Retry).await), ["task-cancelled"]);
    assert_eq!(named(&settle(&service, &of("no.such"), Lost::Unregistered).await), ["reject", "task-failed"]);
    let stored = host.note("results/celery-task-meta-the-id");
    assert!(stored.contains("NotRegistered"), "{stored}");
}

#[tokio::test]
async fn questions_at_the_same_time_get_their_own_answers() {
    let host = Host::start("signals", &[]).await;
    let service = host.zygote().service().await.unwrap();
    let service = Arc::new(service);
    let mut asked = JoinSet::new();
    for n in 0_i64..600 {
        let service = service.clone();
        asked.spawn(async move { (n, service.control("twice", &map([("n", n.into())])).await.unwrap()) });
    }
    while let Some(answer) = soon(asked.join_next()).await {
        let (n, reply) = answer.unwrap();
        assert_eq!(reply.as_map().unwrap().get("ok"), Some(&Value::Int(2 * n)));
    }
    let broken = soon(service.control("broken", &Map::new())).await;
    assert!(matches!(&broken, Err(HostError::Refused(text)) if text == "ValueError('broken')"), "{broken:?}");
}

#[tokio::test]
async fn signals_and_records_reach_the_app() {
    let host = Host::start("signals", &[]).await;
    let service = host.zygote().service().await.unwrap();
    let task = Task::new("the-id", "signals.noop", "[]");
    service.signal("worker_ready", &Map::new(), None).await.unwrap();
    service.signal("task_received", &Map::new(), Some(About::Task(&task.call()))).await.unwrap();
    let unknown = map([("exc", Value::Null), ("name", "gone".into()), ("id", "1".into())]);
    service.signal("task_unknown", &unknown, Some(About::Message(&task.call()))).await.unwrap();
    service.log(30, "celery.worker", "from the parent", 1.5e9).await.unwrap();
    soon(service.control("twice", &Map::new())).await.unwrap(); // it does one after the other
    assert!(host.note("worker_ready").contains("Consumer"));
    assert!(host.note("task_received").contains("<Request: signals.noop[the-id]"));
    assert!(host.note("task_unknown").contains("'name': \"'gone'\""));
    assert!(host.note("log").contains("WARNING/MainProcess] from the parent"));
}

#[tokio::test]
async fn a_killed_service_leaves_no_question_open() {
    let host = Host::start("basic", &[]).await;
    let zygote = host.zygote().pid();
    let service = host.zygote().service().await.unwrap();
    let pid = eventually(PATIENCE, "it is forked", || {
        std::fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).unwrap().trim().parse().ok()
    });
    let pid = Pid::from_raw(pid).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let task = Task::new("the-id", "basic.late", "[]");
    let mut asked = JoinSet::new();
    let service = Arc::new(service);
    for _ in 0..2 {
        let service = service.clone();
        asked.spawn(async move { service.control("ping", &Map::new()).await });
    }
    let mut taken = 0;
    let (none, call) = (Map::new(), task.call());
    let signal = || service.signal("worker_ready", &none, Some(About::Task(&call)));
    while signal().now_or_never().is_some() {
        taken += 1;
        tokio::task::yield_now().await;
        assert!(taken < 100_000, "what waits for it is bounded");
    }
    kill_process(pid, Signal::KILL).unwrap();
    while let Some(answer) = soon(asked.join_next()).await {
        assert!(matches!(answer.unwrap(), Err(HostError::Gone)));
    }
    soon(service.ended()).await;
    assert!(matches!(soon(service.control("ping", &Map::new())).await, Err(HostError::Gone)));
    let again = soon(host.zygote().service()).await.unwrap();
    assert_eq!(
        soon(again.control("ping", &Map::new())).await.unwrap(),
        Value::Map(map([("ok", "pong".into())]))
    );
}
