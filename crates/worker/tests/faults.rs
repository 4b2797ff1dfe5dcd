//! A broker that goes away, refuses, or forgets us.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{Error, Queue, Topology, Transport};
use celeriac_protocol::{State, Value};
use celeriac_results::ResultStore;
use celeriac_worker::{Call, Consumer, Counters, Shutdown, Step, TaskOptions, WorkerError};
use tokio::sync::watch;

use crate::shim::Shim;
use crate::support::{Rig, echo, eventually, ints, task};

/// Runs of a task that ends when it is let go.
struct Gate {
    runs: Arc<AtomicU32>,
    go: watch::Sender<bool>,
}

impl Gate {
    fn task(acks_late: bool) -> (Self, impl celeriac_worker::NativeTask) {
        let (runs, (go, gone)) = (Arc::new(AtomicU32::new(0)), watch::channel(false));
        let counted = runs.clone();
        let options = TaskOptions { acks_late: Some(acks_late), ..TaskOptions::default() };
        let gated = task("gated", options, move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut gone = gone.clone();
            async move {
                let _ = gone.wait_for(|go| *go).await;
                Ok(Value::Null)
            }
        });
        (Gate { runs, go }, gated)
    }

    async fn wait_for_runs(&self, runs: u32) {
        eventually("a run", || async { (self.runs.load(Ordering::Relaxed) == runs).then_some(()) }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_it_consumes_again_and_repeats_only_what_was_not_acked() {
    for (acks_late, runs) in [(false, 1), (true, 2)] {
        let (gate, gated) = Gate::task(acks_late);
        let rig = Rig::new().with(gated).with(echo());
        let worker = rig.start();
        rig.send("a", Call::new("gated", Vec::new())).await;
        gate.wait_for_runs(1).await;
        // An acknowledgement that has not left yet would make it run twice.
        rig.send("before", Call::new("echo", ints(&[1]))).await;
        rig.result("before").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.transport.sever();
        rig.send("b", Call::new("echo", ints(&[1]))).await;
        if acks_late {
            gate.wait_for_runs(2).await;
        } else {
            assert_eq!(rig.result("b").await.state, State::Success);
        }
        gate.go.send_replace(true);
        assert_eq!(rig.result("a").await.state, State::Success);
        assert_eq!(rig.result("b").await.state, State::Success);
        worker.end(Shutdown::Warm).await.unwrap();
        assert_eq!(gate.runs.load(Ordering::Relaxed), runs);
        assert_eq!(rig.len("celery").await, 0);
    }
}

/// A step that fails the first time, when a task runs and another waits to.
struct Falters {
    running: Arc<AtomicU32>,
    received: Arc<Counters>,
    failed: bool,
}

#[async_trait]
impl Step for Falters {
    fn label(&self) -> &'static str {
        "Falters"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Tasks"]
    }

    async fn start(&mut self, _: &Arc<Consumer>) -> Result<(), Error> {
        if std::mem::replace(&mut self.failed, true) {
            return Ok(());
        }
        let are_there = || (self.running.load(Ordering::Relaxed), self.received.received.value()) == (1, 3);
        eventually("tasks", || async { are_there().then_some(()) }).await;
        Err(Error::Lost("as it happens".to_owned()))
    }

    async fn stop(&mut self) {}
}

/// As after a loss: what waits is not run by who has it no more, and what runs may be cancelled.
#[tokio::test(start_paused = true)]
async fn what_a_start_that_fails_late_has_taken_goes_back_and_runs_once() {
    // Acknowledged, the first runs on; late, it is cancelled, and there is a place for its second run.
    for (acks_late, received, runs_again) in [(false, 5, 0), (true, 6, 1)] {
        let (gate, gated) = Gate::task(acks_late);
        let mut rig = Rig::new().with(gated);
        (rig.settings.concurrency, rig.settings.cancel_on_connection_loss) = (1, true);
        for id in ["a", "b", "c"] {
            rig.send(id, Call::new("gated", Vec::new())).await;
        }
        let mut counters = None;
        let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| {
            let (running, received) = (gate.runs.clone(), worker.counters());
            counters = Some(received.clone());
            worker.step(Falters { running, received, failed: false })
        });
        let counters = counters.unwrap();
        eventually("another start", || async { (counters.received.value() == received).then_some(()) }).await;
        gate.wait_for_runs(1 + runs_again).await;
        gate.go.send_replace(true);
        for id in ["a", "b", "c"] {
            assert_eq!(rig.result(id).await.state, State::Success);
        }
        worker.end(Shutdown::Warm).await.unwrap();
        let runs = gate.runs.load(Ordering::Relaxed);
        assert_eq!((runs, rig.len("celery").await), (3 + runs_again, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn late_tasks_may_be_cancelled_by_a_loss() {
    let (gate, gated) = Gate::task(true);
    let mut rig = Rig::new().with(gated);
    rig.settings.cancel_on_connection_loss = true;
    rig.settings.concurrency = 1;
    let worker = rig.start();
    rig.send("a", Call::new("gated", Vec::new())).await;
    gate.wait_for_runs(1).await;
    rig.transport.sever();
    // There is one slot: the second run shows that the first is over.
    gate.wait_for_runs(2).await;
    gate.go.send_replace(true);
    assert_eq!(rig.result("a").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_a_broker_unless_told_not_to() {
    let mut rig = Rig::new().with(echo());
    rig.transport.halt();
    let worker = rig.start();
    tokio::time::sleep(Duration::from_secs(300)).await;
    rig.transport.resume();
    rig.send("a", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("a").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();

    rig.transport.halt();
    rig.settings.connection_max_retries = Some(3);
    assert!(matches!(rig.start().ended().await, Err(WorkerError::Broker(Error::Connect { .. }))));
    rig.settings.connection_retry_on_startup = false;
    assert!(matches!(rig.start().ended().await, Err(WorkerError::Broker(Error::Connect { .. }))));
}

#[tokio::test(start_paused = true)]
async fn it_can_be_told_to_end_while_the_broker_is_away() {
    let rig = Rig::new().with(echo());
    rig.transport.halt();
    let worker = rig.start();
    tokio::time::sleep(Duration::from_secs(10)).await;
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_exists_otherwise_is_told_at_once() {
    let rig = Rig::new().with(echo());
    let connection = rig.transport.connect().await.unwrap();
    let other = Topology::task_queue(Queue { max_priority: Some(3), ..Queue::new("celery") });
    connection.declare(&other).await.unwrap();
    assert!(matches!(rig.start().ended().await, Err(WorkerError::Broker(Error::Precondition(_)))));
}

#[tokio::test]
async fn a_deleted_queue_is_declared_and_consumed_again() {
    let rig = Rig::new().with(echo());
    let worker = rig.start();
    rig.send("a", Call::new("echo", ints(&[1]))).await;
    rig.result("a").await;
    let connection = rig.transport.connect().await.unwrap();
    connection.delete_queue("celery").await.unwrap();
    rig.send("b", Call::new("echo", ints(&[1]))).await;
    assert_eq!(rig.result("b").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_gets_nothing_notices_and_starts_anew() {
    let rig = Rig::new().with(echo());
    rig.send("a", Call::new("echo", ints(&[1]))).await;
    let worker = rig.start_on(Arc::new(Shim::forgetful(rig.transport.clone())));
    let noticed = tokio::time::timeout(Duration::from_secs(300), rig.store.wait("a")).await;
    assert_eq!(noticed.expect("a result").unwrap().state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}
