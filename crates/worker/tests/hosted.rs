//! A worker whose requests are run by another executor than that of native tasks.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use celeriac_protocol::{Map, Message, Properties, TaskMessage, Value};
use celeriac_worker::{
    Backend, Call, Executor, Expires, Facts, Hosted, Observer, Origin, PoolStats, Registry, Request,
    Revocation, Shutdown, TaskOptions, Worker,
};
use chrono::Utc;
use tokio::sync::watch;

use crate::support::{Rig, eventually, ints};

/// Runs requests by noting them, unless it only holds them.
#[derive(Default)]
struct Notes {
    noted: Mutex<Vec<String>>,
    #[expect(clippy::vec_box, reason = "requests come and go boxed")]
    waiting: Mutex<Vec<Box<Request>>>,
    only_holds: bool,
    stock: watch::Sender<usize>,
}

impl Notes {
    fn note(&self, what: &str, id: &str) {
        self.noted.lock().unwrap().push(format!("{what} {id}"));
    }

    async fn noted(&self, count: usize) -> Vec<String> {
        let noted = || Some(self.noted.lock().unwrap().clone()).filter(|noted| noted.len() == count);
        eventually("the notes", || async { noted() }).await
    }
}

#[async_trait]
impl Executor for Notes {
    fn concurrency(&self) -> usize {
        1
    }

    fn resize(&self, _: usize) {}

    fn submit(&self, request: Box<Request>) {
        self.waiting.lock().unwrap().push(request);
    }

    fn wake(&self) -> bool {
        if self.only_holds {
            return false;
        }
        for mut request in self.waiting.lock().unwrap().drain(..) {
            self.note("ran", &request.facts.headers.id);
            request.ack();
        }
        false
    }

    fn stock(&self) -> watch::Receiver<usize> {
        self.stock.subscribe()
    }

    fn load(&self) -> usize {
        0
    }

    fn discard_waiting(&self) {
        self.waiting.lock().unwrap().clear();
    }

    async fn idle(&self) {}

    fn terminate(&self, _: &Facts, _: i32) {}

    fn cancel_late(&self) {}

    async fn cancel(&self) {
        self.note("cancelled", "all");
    }

    fn restart(&self) {}

    fn stats(&self) -> PoolStats {
        PoolStats {
            implementation: "notes",
            threads: None,
            processes: Vec::new(),
            max_tasks_per_child: None,
            writes: Map::new(),
        }
    }
}

#[async_trait]
impl Backend for Notes {
    async fn discard(&self, mut request: Box<Request>, revocation: Revocation) {
        self.note(revocation.state(), &request.facts.headers.id);
        request.ack();
    }

    async fn unregistered(&self, message: &TaskMessage, origin: &Origin) {
        self.note(&origin.queue, &message.headers.id);
    }

    async fn mark_revoked(&self, id: &str) -> Result<(), String> {
        self.note("revoked", id);
        Ok(())
    }
}

#[async_trait]
impl Observer for Notes {
    async fn ready(&self) {
        self.note("ready", "");
    }

    async fn heartbeat(&self) {}

    async fn received(&self, facts: &Facts) {
        self.note("received", &facts.headers.id);
    }

    fn minds_rejected(&self) -> bool {
        true
    }

    async fn rejected(&self, message: Message, origin: &Origin, reason: Option<String>) {
        let body = String::from_utf8_lossy(&message.body);
        self.note("rejected", &format!("{body} {} {}", origin.queue, reason.unwrap_or_default()));
    }
}

/// A worker that is to know the task `elsewhere`, and who runs it.
fn worker(rig: &Rig, notes: &Arc<Notes>) -> (Worker, Hosted) {
    let mut registry = Registry::default();
    registry.declare("elsewhere", TaskOptions::default());
    let hosted = Hosted { executor: notes.clone(), backend: notes.clone() };
    let worker = Worker::new(
        Arc::new(rig.transport.clone()),
        rig.store.clone(),
        rig.producer.clone(),
        registry,
        rig.settings.clone(),
    );
    (worker, hosted)
}

#[tokio::test]
async fn what_runs_and_what_never_runs_goes_to_who_hosts_the_tasks() {
    let rig = Rig::new();
    let notes = Arc::new(Notes::default());
    let (worker, hosted) = worker(&rig, &notes);
    let worker = worker.executor(move |parts| {
        assert_eq!(parts.settings.concurrency, 2);
        hosted
    });
    let handle = worker.shutdown_handle();
    let worker = tokio::spawn(worker.run());

    rig.send("runs", Call::new("elsewhere", ints(&[1]))).await;
    notes.noted(1).await;
    let mut late = Call::new("elsewhere", Vec::new());
    late.options.expires = Some(Expires::At(Utc::now() - chrono::TimeDelta::seconds(9)));
    rig.send("late", late).await;
    notes.noted(2).await;
    rig.send("unknown", Call::new("nobody", Vec::new())).await;
    assert_eq!(notes.noted(3).await, ["ran runs", "expired late", "celery unknown"]);
    rig.wait_for_len("dead", 1).await;
    assert_eq!(rig.len("celery").await, 0);

    handle.request(Shutdown::Warm);
    worker.await.unwrap().unwrap();
    assert_eq!(notes.noted(4).await[3], "cancelled all");
}

#[tokio::test]
async fn an_observer_hears_of_what_the_worker_does() {
    let rig = Rig::new();
    let notes = Arc::new(Notes::default());
    let (worker, hosted) = worker(&rig, &notes);
    let worker = worker.executor(move |_| hosted).observer(notes.clone());
    let handle = worker.shutdown_handle();
    let worker = tokio::spawn(worker.run());
    assert_eq!(notes.noted(1).await, ["ready "]);
    rig.send("one", Call::new("elsewhere", Vec::new())).await;
    assert_eq!(notes.noted(3).await[1..], ["received one", "ran one"]);
    let mut late = Call::new("elsewhere", Vec::new());
    late.options.expires = Some(Expires::At(Utc::now() - chrono::TimeDelta::seconds(9)));
    rig.send("late", late).await;
    assert_eq!(notes.noted(4).await[3], "expired late", "what is revoked is not told as received");
    let properties =
        Properties { content_type: Some("application/json".to_owned()), ..Properties::default() };
    rig.publish(Message { properties: properties.clone(), body: "{}".into(), ..Message::default() }).await;
    assert_eq!(notes.noted(5).await[4], "rejected {} celery ");
    let headers = Map::from_iter([("task", "elsewhere".into()), ("id", Value::Int(3))]);
    rig.publish(Message { headers, properties, body: "[]".into() }).await;
    assert_eq!(notes.noted(6).await[5], "rejected [] celery id must be str, not int");
    handle.request(Shutdown::Warm);
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_executor_has_a_stock_of_deliveries_as_long_as_it_wants_one() {
    let rig = Rig::new();
    let notes = Arc::new(Notes { only_holds: true, ..Notes::default() });
    let (worker, hosted) = worker(&rig, &notes);
    let worker = worker.executor(move |_| hosted);
    let handle = worker.shutdown_handle();
    for number in 0..40 {
        rig.send(&number.to_string(), Call::new("elsewhere", Vec::new())).await;
    }
    let worker = tokio::spawn(worker.run());
    rig.wait_for_len("celery", 36).await;
    notes.stock.send_replace(20);
    rig.wait_for_len("celery", 20).await;
    notes.stock.send_replace(0);
    rig.wait_for_len("celery", 36).await;
    // All have gone back, and come in their order.
    let held = || -> Vec<String> {
        notes.waiting.lock().unwrap().iter().map(|request| request.facts.headers.id.clone()).collect()
    };
    eventually("the first four", || async { (held() == ["0", "1", "2", "3"]).then_some(()) }).await;
    handle.request(Shutdown::Warm);
    worker.await.unwrap().unwrap();
}
