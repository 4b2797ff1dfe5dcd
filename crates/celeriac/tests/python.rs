//! A Rust client and a Python worker, on RabbitMQ.

use std::time::Duration;

use celeriac::{App, Map, ResultError, State, TaskCall, Value, types};
use celeriac_testkit::{CeleryWorker, TempDir, Vhost, eventually, rabbitmq, redis};
use chrono::{TimeDelta, Utc};
use tokio::runtime::Runtime;

/// A task that tells what its worker knows of the call.
const APP: &str = r"
import os
from celery import Celery

app = Celery('far', broker=os.environ['BROKER'], backend=os.environ['BACKEND'])
app.conf.update(
    accept_content=['json', 'msgpack', 'yaml'],
    broker_connection_retry_on_startup=True,
    task_queue_max_priority=10,
)
FIELDS = ('id', 'eta', 'expires', 'timelimit', 'retries', 'root_id', 'parent_id', 'origin', 'shadow', 'argsrepr',
          'kwargsrepr', 'ignore_result', 'correlation_id', 'reply_to', 'tenant')

@app.task(name='far.tell', bind=True)
def tell(self, *args, **kwargs):
    request = self.request
    fields = {field: getattr(request, field, None) for field in FIELDS}
    fields['priority'] = request.delivery_info['priority']
    fields['queue'] = request.delivery_info['routing_key']
    return {'args': args, 'kwargs': kwargs, 'request': fields}

@app.task(name='far.echo')
def echo(value):
    return value

@app.task(name='far.types')
def types(**values):
    return {name: type(value).__name__ for name, value in values.items()}

@app.task(name='far.fail')
def fail(message):
    raise ValueError(message, 7)

@app.task(name='far.sum')
def sum_(*numbers):
    return sum(numbers)
";

/// A Python worker, and an app that sends to it.
struct Far {
    runtime: Runtime,
    app: App,
    _worker: CeleryWorker,
    _code: TempDir,
    vhost: Vhost,
}

impl Far {
    fn new(backend: &str) -> Self {
        let vhost = rabbitmq().vhost();
        let code = TempDir::new();
        code.write("far.py", APP);
        let env = [("BROKER", vhost.url()), ("BACKEND", backend.to_owned())];
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let args = ["-c", "2", "-Q", "celery,slow", "--without-gossip", "--without-mingle"];
        let dir = code.path().to_str().unwrap();
        let worker = CeleryWorker::start(dir, "far", &args, &env);
        let accepted = ["json", "msgpack", "yaml"].map(str::to_owned).to_vec();
        let app = App::builder("near").broker(vhost.url()).result_backend(backend).config(|config| {
            config.task_queue_max_priority = Some(10);
            config.accept_content = accepted;
        });
        let runtime = Runtime::new().unwrap();
        Far { runtime, app: app.build().unwrap(), _worker: worker, _code: code, vhost }
    }

    fn get<T: serde::de::DeserializeOwned>(&self, call: TaskCall<T>) -> Result<T, ResultError> {
        self.runtime.block_on(async { self.app.send(call).await.unwrap().get_timeout(DEADLINE).await })
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.runtime.block_on(self.app.close());
    }
}

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn results_come_back_by_redis() {
    let far = Far::new(&redis().fresh_url());
    results_come_back(&far);
    states_are_seen(&far);
}

#[test]
fn results_come_back_by_rpc() {
    results_come_back(&Far::new("rpc://"));
}

fn results_come_back(far: &Far) {
    let value: Map = [
        ("int", Value::Int(-3)),
        ("big", Value::BigInt("123456789012345678901234567890".to_owned())),
        ("float", Value::Float(1.5)),
        ("text", "日本 \u{1F980}".into()),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("none", Value::Null),
        ("list", vec![Value::Bool(true), Value::List(vec![])].into()),
        ("decimal", Value::Decimal("1.10".to_owned())),
        ("uuid", Value::Uuid("6ba7b8109dad11d180b400c04fd430c8".to_owned())),
        ("date", Value::Date("2026-11-21".to_owned())),
    ]
    .into_iter()
    .collect();
    let kinds = far
        .get(TaskCall::<std::collections::BTreeMap<String, String>>::new("far.types").kwargs(value.clone()));
    let kinds: Vec<_> = kinds.unwrap().into_values().collect();
    assert_eq!(kinds.join(" "), "int bytes date Decimal float int list NoneType str UUID");
    let value = Value::Map(value);
    assert_eq!(far.get(TaskCall::<Value>::new("far.echo").arg(&value)).unwrap(), value);

    match far.get(TaskCall::<()>::new("far.fail").arg("no")).unwrap_err() {
        ResultError::Task { exception, traceback } => {
            assert_eq!(
                (exception.kind.as_str(), exception.args()),
                ("ValueError", &["no".into(), 7.into()][..])
            );
            assert_eq!(exception.module.as_deref(), Some("builtins"));
            assert!(traceback.is_some_and(|text| text.starts_with("Traceback (most recent call last)")));
        }
        other => panic!("{other}"),
    }
    let error = far.get(TaskCall::<Value>::new("far.echo")).unwrap_err().to_string();
    assert_eq!(error, "TypeError: echo() missing 1 required positional argument: 'value'");

    let results = far.runtime.block_on(async {
        let mut sent = Vec::new();
        for number in 0..100 {
            sent.push(far.app.send(TaskCall::<i64>::new("far.sum").arg(&number).arg(&1)).await.unwrap());
        }
        let mut results = Vec::new();
        for result in sent {
            results.push(result.get_timeout(DEADLINE).await.unwrap());
        }
        results
    });
    assert_eq!(results, (1..=100).collect::<Vec<_>>());
}

fn states_are_seen(far: &Far) {
    let call = TaskCall::<i64>::new("far.sum").arg(&20);
    let linked = TaskCall::<i64>::new("far.sum").arg(&300).task_id("linked");
    assert_eq!(far.get(call.link(linked)).unwrap(), 20);
    let linked = far.app.result::<i64>("linked");
    assert_eq!(far.runtime.block_on(linked.get_timeout(DEADLINE)).unwrap(), 320);

    let after = TaskCall::<i64>::new("far.sum").arg(&1).task_id("after");
    let ignored = TaskCall::<i64>::new("far.sum").ignore_result(true).link(after);
    let result = far.runtime.block_on(far.app.send(ignored)).unwrap();
    assert_eq!(far.runtime.block_on(result.get()), Err(ResultError::Ignored));
    far.runtime.block_on(far.app.result::<i64>("after").get_timeout(DEADLINE)).unwrap();
    assert_eq!(far.runtime.block_on(result.state()).unwrap(), State::Pending);

    // Its time is over before the worker, whose clock is the same, can look at it.
    let expired = TaskCall::<i64>::new("far.sum")
        .countdown(Duration::from_secs(3))
        .expires(Duration::from_millis(2900));
    match far.get(expired) {
        Err(ResultError::Revoked(reason)) => assert_eq!(reason, "expired"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn python_reads_every_encoding() {
    let far = Far::new(&redis().fresh_url());
    let value = Value::List(vec!["x".repeat(1000).into(), Value::Float(0.5), Value::Null]);
    for serializer in ["json", "msgpack", "yaml"] {
        for compression in [None, Some("zlib"), Some("bzip2"), Some("lzma"), Some("zstd"), Some("brotli")] {
            let mut call = TaskCall::<Value>::new("far.echo").arg(&value).serializer(serializer);
            if let Some(compression) = compression {
                call = call.compression(compression);
            }
            assert_eq!(far.get(call).unwrap(), value, "{serializer} {compression:?}");
        }
    }
}

#[test]
fn python_sees_every_option() {
    let far = Far::new("rpc://");
    #[derive(serde::Deserialize)]
    struct Told {
        args: Vec<Value>,
        kwargs: Map,
        request: Map,
    }
    let tell = || TaskCall::<Told>::new("far.tell");
    let now = Utc::now();
    let call = tell()
        .arg(&1)
        .kwarg("name", "v")
        .queue("slow")
        .priority(7)
        .header("tenant", "acme")
        .expires_at(now + TimeDelta::hours(1))
        .time_limit(Duration::from_secs(300))
        .soft_time_limit(Duration::from_millis(200_500))
        .shadow("shade")
        .task_id("the-id");
    let Told { args, kwargs, request } = far.get(call).unwrap();
    assert_eq!((args, kwargs.get("name")), (vec![1.into()], Some(&"v".into())));
    let text = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    for name in ["id", "root_id", "correlation_id"] {
        assert_eq!(text(name), "the-id", "{name}");
    }
    assert_eq!(
        (text("tenant"), text("shadow"), text("queue")),
        ("acme".into(), "shade".into(), "slow".into())
    );
    assert_eq!((text("argsrepr"), text("kwargsrepr")), ("(1,)".into(), "{'name': 'v'}".into()));
    assert_eq!(request.get("priority"), Some(&7.into()));
    assert_eq!(request.get("timelimit"), Some(&vec![Value::Int(300), Value::Float(200.5)].into()));
    let expires = types::DateTime(text("expires")).to_utc().unwrap();
    assert!((expires - now - TimeDelta::hours(1)).abs() < TimeDelta::milliseconds(1), "{expires}");
    assert!(text("origin").starts_with(&format!("gen{}@", std::process::id())));

    let eta = Utc::now() + TimeDelta::milliseconds(300);
    let request = far.get(tell().eta(eta)).unwrap().request;
    assert!(Utc::now() >= eta, "it ran too early");
    let seen = request.get("eta").and_then(Value::as_str).unwrap_or_default().to_owned();
    assert!((types::DateTime(seen).to_utc().unwrap() - eta).abs() < TimeDelta::milliseconds(1));

    let before = Utc::now();
    let request = far.get(tell().countdown(Duration::from_millis(300))).unwrap().request;
    assert!(Utc::now() - before >= TimeDelta::milliseconds(300), "it ran too early");
    assert!(request.get("eta").is_some_and(|eta| !eta.is_null()));
    eventually(DEADLINE, "the queue is empty", || (far.vhost.queue("slow")?.depth == 0).then_some(()));
}
