//! What we store, Python's `AsyncResult` reads; what Python's backends store, we read.

use std::time::Duration;

use celeriac_broker::{Event, Prefetch, Queue, Settlement, Subscription, Topology};
use celeriac_protocol::codec::Accept;
use celeriac_protocol::result::{Exception, Extended};
use celeriac_protocol::{State, TaskMessage, TaskMeta, Value};
use celeriac_results::conformance::{DEADLINE, Stores, id};
use celeriac_results::{ReplyTo, ResultStore, Settings};
use celeriac_testkit::Python;
use serde_json::{Value as Json, json};

use crate::{redis, rpc};

const DATE: &str = "2026-11-21T02:40:30.778324+00:00";

/// Prints what Python makes of the results of the ids in argv.
const READ: &str = r#"
import json, os, sys
from celery import Celery
app = Celery(backend=os.environ['BACKEND'])
app.conf.update(result_serializer=os.environ['SERIALIZER'], result_accept_content=[os.environ['SERIALIZER']])
seen = []
for id in sys.argv[1:]:
    result = app.AsyncResult(id)
    value = result.get(timeout=60, propagate=False)
    if isinstance(value, Exception):
        cls = type(value)
        value = [cls.__module__, cls.__qualname__, list(value.args)]
    else:
        value = repr(value)
    seen.append([result.state, value, result.traceback, str(result.date_done), result.name, result.args,
                 result.kwargs, result.worker, result.retries, result.queue,
                 [child.id for child in result.children or []]])
print(json.dumps(seen))
"#;

fn run(script: &str, args: &[&str], env: &[(&str, &str)]) -> Json {
    let output = Python::find().run(script, args, env);
    serde_json::from_str(output.trim()).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// A result of every kind, and what Python must see.
fn kinds() -> Vec<(TaskMeta, Json)> {
    let dated = |meta| TaskMeta { date_done: Some(DATE.to_owned()), ..meta };
    let date = "2026-11-21 02:40:30.778324+00:00";
    let none = |state: &str, value: Json, traceback: Json| {
        json!([state, value, traceback, date, null, null, null, null, null, null, []])
    };
    let value = Value::List(vec![
        1.into(),
        "é\u{1F409}".into(),
        Value::Bytes(vec![255, 0]),
        Value::DateTime(DATE.to_owned()),
        0.5.into(),
    ]);
    let python = "[1, 'é\u{1F409}', b'\\xff\\x00', datetime.datetime(2026, 11, 21, 2, 40, 30, 778324, \
                  tzinfo=datetime.timezone.utc), 0.5]";
    let error = Exception::new("ValueError", "builtins", "boom");
    let ours = Exception::new("Broken", "no.such.module", "boom");
    let traceback = "Traceback (most recent call last):\nValueError: boom\n";
    let child = Value::List(vec![Value::List(vec!["child".into(), Value::Null]), Value::Null]);
    vec![
        (dated(TaskMeta::success(id(), value)), none("SUCCESS", json!(python), json!(null))),
        (
            dated(TaskMeta::failure(id(), error, Some(traceback.to_owned()))),
            none("FAILURE", json!(["builtins", "ValueError", ["boom"]]), json!(traceback)),
        ),
        (
            dated(TaskMeta::failure(id(), ours, None)),
            none("FAILURE", json!(["celery.exceptions", "Broken", ["boom"]]), json!(null)),
        ),
        (
            dated(TaskMeta::revoked(id(), "terminated")),
            none("REVOKED", json!(["celery.exceptions", "TaskRevokedError", ["terminated"]]), json!(null)),
        ),
        (
            dated(TaskMeta {
                children: vec![child],
                extended: Some(Extended {
                    name: Some("tasks.add".to_owned()),
                    args: Value::List(vec![2.into(), 2.into()]),
                    kwargs: [("k", Value::from("v"))].into_iter().collect::<celeriac_protocol::Map>().into(),
                    worker: Some("w1@host".to_owned()),
                    retries: Some(3),
                    queue: Some("celery".to_owned()),
                }),
                ..TaskMeta::success(id(), 4)
            }),
            json!(["SUCCESS", "4", null, date, "tasks.add", [2, 2], {"k": "v"}, "w1@host", 3, "celery", ["child"]]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_reads_our_redis_results() {
    for serializer in ["json", "msgpack", "yaml"] {
        let url = celeriac_testkit::redis().url(9);
        let store = redis::open(&url, settings(serializer));
        let kinds: Vec<_> = kinds()
            .into_iter()
            // Python's msgpack and YAML keep no datetimes in kombu's own way.
            .filter(|(meta, _)| serializer == "json" || meta.result.as_list().is_none())
            .collect();
        for (meta, _) in &kinds {
            store.store(meta, None).await.unwrap();
        }
        let ids: Vec<_> = kinds.iter().map(|(meta, _)| meta.id.as_str()).collect();
        let seen = run(READ, &ids, &[("BACKEND", &url), ("SERIALIZER", serializer)]);
        let expected: Vec<_> = kinds.iter().map(|(_, expected)| expected.clone()).collect();
        assert_eq!(seen, Json::from(expected), "{serializer}");
        store.close().await;
    }
}

/// A `get()` that began before the result was there hears of it by our message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_waits_for_our_redis_results() {
    let url = celeriac_testkit::redis().url(9);
    let store = redis::open(&url, Settings::default());
    let meta = TaskMeta::success(id(), 42);
    let (id, backend) = (meta.id.clone(), url.clone());
    let waiting = tokio::task::spawn_blocking(move || {
        run(READ, &[&id], &[("BACKEND", &backend), ("SERIALIZER", "json")])
    });
    let channel = format!("celery-task-meta-{}", meta.id);
    celeriac_testkit::eventually(DEADLINE, "Python listens", || {
        let count = celeriac_testkit::redis().cli(&["PUBSUB", "NUMSUB", &channel]);
        (count.split_whitespace().last() == Some("1")).then_some(())
    });
    store.store(&meta, None).await.unwrap();
    assert_eq!(waiting.await.unwrap()[0][1], json!("42"));
    store.close().await;
}

/// Stores results by Python's backend, as its worker would.
const WRITE: &str = r#"
import datetime, decimal, json, os, sys
from celery import Celery
from celery.app.task import Context
from celery.exceptions import Retry
app = Celery(broker=os.environ.get('BROKER'), backend=os.environ['BACKEND'])
app.conf.update(result_serializer=os.environ['SERIALIZER'], result_accept_content=[os.environ['SERIALIZER']],
                result_extended=True)
success, failure, retry, revoked, started = sys.argv[1:6]
def request(id):
    return Context(id=id, correlation_id=id, reply_to=os.environ.get('REPLY_TO'), task='tasks.add', args=[2, 2],
                   kwargs={'k': 'v'}, hostname='w1@host', retries=3, delivery_info={'routing_key': 'celery'},
                   group='group', parent_id='parent', _children=[app.AsyncResult('child')],
                   stamped_headers=['s'], stamps={'s': ['v']})
backend = app.backend
value = [1, 'é', float('inf')] if os.environ['SERIALIZER'] != 'json' else [
    1, 'é', float('inf'), b'\xff', datetime.date(2026, 11, 21), decimal.Decimal('1.10'), 2**70]
backend.mark_as_done(success, value, request=request(success))
class Broken(Exception): pass
backend.mark_as_failure(failure, Broken('boom', 7), traceback='Traceback: é', request=request(failure),
                        call_errbacks=False)
backend.mark_as_retry(retry, ValueError('again'), traceback='Traceback', request=request(retry))
backend.mark_as_revoked(revoked, 'terminated', request=request(revoked))
backend.store_result(started, {'pid': 7, 'hostname': 'w1@host'}, 'STARTED', request=request(started))
print('{}')
"#;

fn settings(serializer: &str) -> Settings {
    Settings {
        serializer: celeriac_protocol::codec::Serializer::from_name(serializer).unwrap(),
        accept: Accept::new([serializer]).unwrap(),
        ..Settings::default()
    }
}

/// What `WRITE` stored under its five ids.
async fn check_written(stores: &Stores, ids: &[String], serializer: &str) {
    let [success, failure, retry, revoked, started] = ids else { panic!("five ids") };
    let done = stores.wait(success).await;
    assert_eq!(done.state, State::Success);
    let mut value = vec![1.into(), "é".into(), f64::INFINITY.into()];
    if serializer == "json" {
        value.extend([
            Value::Bytes(vec![255]),
            Value::Date("2026-11-21".to_owned()),
            Value::Decimal("1.10".to_owned()),
            Value::BigInt("1180591620717411303424".to_owned()),
        ]);
    }
    assert_eq!(done.result, Value::List(value));
    assert_eq!(done.children.len(), 1);

    let failed = stores.wait(failure).await;
    assert_eq!((failed.state.clone(), failed.traceback.as_deref()), (State::Failure, Some("Traceback: é")));
    let exception = failed.exception().unwrap();
    assert_eq!((exception.kind.as_str(), exception.module.as_deref()), ("Broken", Some("__main__")));
    assert_eq!(exception.args(), ["boom".into(), Value::Int(7)]);
    assert_eq!(exception.repr(), "Broken('boom', 7)");

    let again = stores.fetch_until(retry, |meta| meta.state == State::Retry).await;
    assert_eq!(again.exception(), Some(Exception::new("ValueError", "builtins", "again")));
    let gone = stores.wait(revoked).await;
    assert_eq!(gone.exception(), TaskMeta::revoked("", "terminated").exception());
    let runs = stores.fetch_until(started, |meta| meta.state == State::Started).await;
    assert_eq!(runs.result, TaskMeta::started("", 7, "w1@host").result);

    for (meta, id) in [&done, &failed, &again, &gone, &runs].into_iter().zip(ids) {
        assert_eq!(&meta.id, id);
        if stores.replies() {
            continue;
        }
        assert_eq!(meta.date_done.is_some(), meta.state.is_ready());
        assert_eq!((meta.group_id.as_deref(), meta.parent_id.as_deref()), (Some("group"), Some("parent")));
        let extended = meta.extended.as_ref().unwrap();
        assert_eq!(
            (extended.name.as_deref(), extended.queue.as_deref()),
            (Some("tasks.add"), Some("celery"))
        );
        assert_eq!((extended.worker.as_deref(), extended.retries), (Some("w1@host"), Some(3)));
        assert_eq!(extended.args, Value::List(vec![2.into(), 2.into()]));
        assert_eq!(meta.other.get("s"), Some(&Value::List(vec!["v".into()])));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_read_pythons_redis_results() {
    for serializer in ["json", "msgpack", "yaml"] {
        let url = celeriac_testkit::redis().url(9);
        let open = || redis::open(&url, settings(serializer));
        let stores = Stores { caller: open(), worker: open() };
        let ids: Vec<_> = (0..5).map(|_| id()).collect();
        let args: Vec<_> = ids.iter().map(String::as_str).collect();
        run(WRITE, &args, &[("BACKEND", &url), ("SERIALIZER", serializer)]);
        check_written(&stores, &ids, serializer).await;

        // Python's success stays; its failure may be replaced.
        stores.store(&TaskMeta::revoked(&ids[0], "late")).await.unwrap();
        assert_eq!(stores.caller.fetch(&ids[0]).await.unwrap().state, State::Success, "{serializer}");
        stores.store(&TaskMeta::success(&ids[1], 1)).await.unwrap();
        assert_eq!(
            stores.caller.fetch(&ids[1]).await.unwrap(),
            TaskMeta::success(&ids[1], 1),
            "{serializer}"
        );
        stores.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_read_pythons_rpc_results() {
    let vhost = celeriac_testkit::rabbitmq().vhost();
    for serializer in ["json", "msgpack", "yaml"] {
        let stores = rpc::stores(&rpc::amqp(&vhost.url()), settings(serializer));
        let ids: Vec<_> = (0..5).map(|_| id()).collect();
        for id in &ids {
            stores.caller.expect(id).await.unwrap();
        }
        let args: Vec<_> = ids.iter().map(String::as_str).collect();
        let queue = stores.caller.reply_to().unwrap();
        let env = [
            ("BROKER", &*vhost.url()),
            ("BACKEND", "rpc://"),
            ("SERIALIZER", serializer),
            ("REPLY_TO", &queue),
        ];
        run(WRITE, &args, &env);
        check_written(&stores, &ids, serializer).await;
        stores.close().await;
    }
}

/// Sends two tasks and prints what comes of them.
const SEND: &str = r#"
import json, os, sys
from celery import Celery
app = Celery(broker=os.environ['BROKER'], backend='rpc://')
sent = [app.send_task('tasks.add', (2, 2)), app.send_task('tasks.fail', ())]
done = sent[0].get(timeout=60)
error = sent[1].get(timeout=60, propagate=False)
print(json.dumps([done, sent[0].state, type(error).__name__, list(error.args), sent[1].traceback]))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_gets_our_rpc_results() {
    let vhost = celeriac_testkit::rabbitmq().vhost();
    let url = vhost.url();
    let transport = rpc::amqp(&url);
    let connection = transport.connect().await.unwrap();
    connection.declare(&Topology::task_queue(Queue::new("celery"))).await.unwrap();
    let (session, mut inbox) = connection.open_session(Prefetch::Session(10)).await.unwrap();
    session.subscribe(&Subscription::new("celery")).await.unwrap();

    let sending = tokio::task::spawn_blocking(move || run(SEND, &[], &[("BROKER", &url)]));
    let stores = rpc::stores(&transport, Settings::default());
    for _ in 0..2 {
        let event = tokio::time::timeout(DEADLINE, inbox.recv()).await.expect("a task").unwrap();
        let Event::Delivery(delivery) = event else { panic!("{event:?}") };
        let task = TaskMessage::decode(delivery.message, &Accept::default()).unwrap();
        let reply_to = ReplyTo {
            queue: task.properties.reply_to.unwrap(),
            correlation_id: task.properties.correlation_id.unwrap(),
        };
        let id = task.headers.id;
        stores.worker.store(&TaskMeta::started(&id, 7, "w1@host"), Some(&reply_to)).await.unwrap();
        let meta = match task.headers.task.as_str() {
            "tasks.add" => TaskMeta::success(&id, 4),
            _ => {
                let error = Exception::new("KeyError", "builtins", "boom");
                TaskMeta::failure(&id, error, Some("Traceback".to_owned()))
            }
        };
        stores.worker.store(&meta, Some(&reply_to)).await.unwrap();
        session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
    }
    let seen = tokio::time::timeout(2 * DEADLINE, sending).await.expect("Python ends").unwrap();
    assert_eq!(seen, json!([4, "SUCCESS", "KeyError", ["boom"], "Traceback"]));
    stores.close().await;
    tokio::time::timeout(Duration::from_secs(30), connection.close()).await.expect("closed");
}
