//! Client and worker in one process.

use std::time::Duration;

use celeriac::{
    App, ConfigError, Failure, Map, ResultError, RetryOptions, SendError, Shutdown, State, Task, TaskCall,
    TaskError, Value,
};
use tokio::task::JoinHandle;

use crate::tasks::add;

#[derive(Debug, thiserror::Error)]
#[error("no such file")]
struct Missing(#[source] std::fmt::Error);

#[celeriac::task(name = "tasks.open")]
fn open() -> Result<(), Missing> {
    Err(Missing(std::fmt::Error))
}

#[celeriac::task(name = "tasks.fail")]
async fn fail(message: String) -> Result<(), TaskError> {
    Err(TaskError::new("ValueError", message))
}

#[celeriac::task(name = "tasks.flaky", bind, max_retries = 5)]
async fn flaky(task: Task, times: u32) -> Result<u32, TaskError> {
    if task.retries() < times {
        return Err(task.retry_in(Duration::ZERO));
    }
    Ok(task.retries())
}

#[celeriac::task(name = "tasks.again", bind, max_retries = 1)]
async fn again(task: Task) -> Result<(), TaskError> {
    let cause = Some(Failure::new("KeyError", "lost"));
    Err(task.retry_with(RetryOptions { countdown: Some(Duration::ZERO), cause, ..RetryOptions::default() }))
}

#[celeriac::task(name = "tasks.tell", bind)]
fn tell(task: Task, #[args] args: Vec<Value>, #[kwargs] kwargs: Map) -> (String, Vec<Value>, Map, Map) {
    (task.id().to_owned(), args, kwargs, task.request().headers.other.clone())
}

type Pairs = std::collections::HashMap<(i32, i32), i32>;

#[celeriac::task(name = "tasks.odd")]
fn odd() -> Pairs {
    Pairs::from([((1, 2), 3)])
}

/// An app with its own broker and store in memory, and a worker that runs until the app is dropped.
struct Running {
    app: App,
    shutdown: celeriac::ShutdownHandle,
    worker: JoinHandle<Result<(), celeriac::WorkerError>>,
}

impl Running {
    fn start(name: &str) -> Self {
        Running::of(app(name))
    }

    fn of(app: App) -> Self {
        let worker = app.worker();
        let shutdown = worker.shutdown_handle();
        Running { app, shutdown, worker: tokio::spawn(worker.run()) }
    }

    async fn stop(self) {
        self.shutdown.request(Shutdown::Warm);
        self.worker.await.unwrap().unwrap();
    }
}

fn app(name: &str) -> App {
    let url = format!("memory://{name}");
    let builder = App::builder("client").broker(&url).result_backend(&url);
    let builder = builder.task(add).task(fail).task(flaky).task(again).task(tell).task(open).task(odd);
    builder.build().unwrap()
}

#[tokio::test]
async fn a_call_comes_back_as_its_value() {
    let running = Running::start("values");
    let result = running.app.send(add::new(1, 2)).await.unwrap();
    assert_eq!(result.get().await.unwrap(), 3);
    assert_eq!(result.state().await.unwrap(), State::Success);
    assert!(result.ready().await.unwrap());
    let other = running.app.result::<String>(result.id());
    assert!(matches!(other.get().await, Err(ResultError::Decode(_))));
    result.forget().await.unwrap();
    assert_eq!(result.state().await.unwrap(), State::Pending);
    running.stop().await;
}

#[tokio::test]
async fn a_task_is_told_of_its_call() {
    let running = Running::start("context");
    let call = TaskCall::<(String, Vec<Value>, Map, Map)>::new("tasks.tell");
    let call = call.arg(&1).kwarg("k", "v").header("tenant", "acme").task_id("my-id");
    let (id, args, kwargs, headers) = running.app.send(call).await.unwrap().get().await.unwrap();
    assert_eq!((id.as_str(), args), ("my-id", vec![Value::Int(1)]));
    assert_eq!(kwargs.get("k"), Some(&"v".into()));
    assert_eq!(headers.get("tenant"), Some(&"acme".into()));
    running.stop().await;
}

#[tokio::test]
async fn failures_come_back_with_class_and_text() {
    let running = Running::start("failures");
    let failure = async |call| match running.app.send::<()>(call).await.unwrap().get().await.unwrap_err() {
        ResultError::Task { exception, traceback } => {
            assert!(traceback.is_some());
            (exception.kind.clone(), exception.module.clone().unwrap_or_default(), exception.text())
        }
        other => panic!("{other}"),
    };
    let told = |kind: &str, module: &str, text: &str| (kind.to_owned(), module.to_owned(), text.to_owned());
    assert_eq!(failure(fail::new("no".to_owned())).await, told("ValueError", "builtins", "no"));
    assert_eq!(failure(open::new()).await, told("Missing", "main.client", "no such file"));
    assert_eq!(failure(again::new()).await, told("KeyError", "builtins", "lost"));
    let (kind, module, _) = failure(TaskCall::new("tasks.odd")).await;
    assert_eq!((kind.as_str(), module.as_str()), ("EncodeError", "kombu.exceptions"));
    let missing = "add() missing 1 required positional argument: 'y'";
    assert_eq!(failure(TaskCall::new("tasks.add").arg(&1)).await, told("TypeError", "builtins", missing));
    let (kind, _, text) = failure(TaskCall::new("tasks.add").arg(&1).arg("two")).await;
    assert!(kind == "TypeError" && text.starts_with("add() argument 'y': "), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn a_task_retries_until_it_succeeds() {
    let running = Running::start("retries");
    assert_eq!(running.app.send(flaky::new(3)).await.unwrap().get().await.unwrap(), 3);
    running.stop().await;
}

#[tokio::test]
async fn a_link_gets_the_result() {
    let running = Running::start("links");
    let next = TaskCall::<i64>::new("tasks.add").arg(&10).task_id("linked");
    running.app.send(add::new(1, 2).link(next)).await.unwrap().get().await.unwrap();
    assert_eq!(running.app.result::<i64>("linked").get().await.unwrap(), 13);
    running.stop().await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_worker_that_ends_leaves_the_client_alone() {
    let dir = celeriac_testkit::TempDir::new();
    let config = celeriac::Config {
        result_backend: format!("sqlite:{}", dir.path().join("results.db").display()),
        ..app("shared").config().clone()
    };
    let app = app("shared").with_config(config).unwrap();
    let running = Running::of(app.clone());
    app.send(add::new(1, 2)).await.unwrap().get().await.unwrap();
    let result = app.send(add::new(3, 4).queue("other")).await.unwrap();
    let waiting = tokio::spawn({
        let result = result.clone();
        async move { result.get().await }
    });
    tokio::task::yield_now().await;
    running.stop().await;
    let mut settings = app.settings().clone();
    settings.consume_from = vec!["other".to_owned()];
    let worker = app.worker_with(settings);
    let shutdown = worker.shutdown_handle();
    let worker = tokio::spawn(worker.run());
    assert_eq!(waiting.await.unwrap().unwrap(), 7);
    shutdown.request(Shutdown::Warm);
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn waiting_has_limits() {
    let app = app("limits");
    let result = app.send(add::new(1, 2)).await.unwrap();
    assert_eq!(result.get_timeout(Duration::from_millis(1)).await, Err(ResultError::Timeout));
    let ignored = app.send(add::new(1, 2).ignore_result(true)).await.unwrap();
    assert_eq!(ignored.get().await, Err(ResultError::Ignored));
    let storeless =
        app.with_config(celeriac::Config { result_backend: String::new(), ..app.config().clone() });
    let result = storeless.unwrap().send(add::new(1, 2)).await.unwrap();
    assert!(matches!(result.get().await, Err(ResultError::Store(_))));
}

#[tokio::test]
async fn what_cannot_be_encoded_is_not_sent() {
    let app = app("encode");
    for call in [add::new(1, 2).serializer("pickle"), add::new(1, 2).compression("rot13")] {
        assert!(matches!(app.send(call).await, Err(SendError::Encode(_))));
    }
    let connection = app.transport().connect().await.unwrap();
    assert!(connection.queue_len("celery").await.unwrap_or_default() == 0);
}

#[test]
fn what_cannot_be_served_is_told_with_what_can() {
    let problem = |broker: &str, store: &str| {
        let built = App::builder("wrong").broker(broker).result_backend(store).build();
        built.unwrap_err().to_string()
    };
    for broker in ["mongodb://u:secret@host/0", "sqs://", "http://example.com"] {
        let problem = problem(broker, "");
        let served = ["amqp://", "redis://", "memory://"];
        assert!(served.iter().all(|scheme| problem.contains(scheme)), "{problem}");
        assert!(!problem.contains("secret"), "{problem}");
    }
    let problem = problem("memory://", "mongodb://u:secret@host");
    assert!(problem.contains("redis://") && !problem.contains("secret"), "{problem}");

    let setting = |change: fn(&mut celeriac::Config)| {
        let built = App::builder("wrong").broker("memory://").config(change).build();
        match built.unwrap_err() {
            ConfigError::Setting { setting, .. } => setting,
            other => panic!("{other}"),
        }
    };
    assert_eq!(setting(|config| config.task_serializer = "pickle".to_owned()), "task_serializer");
    assert_eq!(setting(|config| config.result_serializer = "xml".to_owned()), "result_serializer");
    assert_eq!(setting(|config| config.accept_content = vec!["xml".to_owned()]), "accept_content");
    assert_eq!(setting(|config| config.task_compression = Some("rot13".to_owned())), "task_compression");
}

#[tokio::test]
async fn links_answer_by_rpc_too() {
    let app = App::builder("client").broker("memory://links").result_backend("rpc://").task(add);
    let app = app.build().unwrap();
    let worker = app.worker();
    let (shutdown, worker) = (worker.shutdown_handle(), tokio::spawn(worker.run()));
    let next = TaskCall::<i64>::new("tasks.add").arg(&10).task_id("linked");
    // Replies that nobody waits for are not kept.
    let linked = app.result::<i64>("linked");
    let (sum, sent) =
        tokio::join!(linked.get_timeout(Duration::from_secs(60)), app.send(add::new(1, 2).link(next)));
    assert_eq!((sum.unwrap(), sent.is_ok()), (13, true));
    shutdown.request(Shutdown::Warm);
    worker.await.unwrap().unwrap();
    app.close().await;
}
