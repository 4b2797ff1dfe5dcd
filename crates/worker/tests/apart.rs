//! Tasks on threads apart from the worker's messages.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use celeriac_protocol::{State, Value};
use celeriac_results::ResultStore;
use celeriac_worker::{Call, Shutdown, TaskOptions, Worker};

use crate::control::client::{Client, ok, rig};
use crate::support::{Rig, Running, eventually, task};

fn start(rig: &Rig) -> Running {
    rig.start_as(Arc::new(rig.transport.clone()), Worker::tasks_apart)
}

#[tokio::test]
async fn what_blocks_its_thread_holds_up_no_message() {
    let (started, gate) = (Arc::<AtomicBool>::default(), Arc::new((Mutex::new(false), Condvar::new())));
    let (noted, held) = (started.clone(), gate.clone());
    let stuck = task("stuck", TaskOptions::default(), move |_, _| {
        let (noted, held) = (noted.clone(), held.clone());
        async move {
            noted.store(true, Ordering::SeqCst);
            let (open, opened) = &*held;
            let patience = Duration::from_secs(20);
            let waited = opened.wait_timeout_while(open.lock().unwrap(), patience, |open| !*open).unwrap();
            Ok(Value::from(waited.1.timed_out()))
        }
    });
    let rig = rig().with(stuck);
    let worker = start(&rig);
    let mut client = Client::open(&rig).await;
    rig.send("a", Call::new("stuck", Vec::new())).await;
    eventually("the task", || async { started.load(Ordering::SeqCst).then_some(()) }).await;
    assert_eq!(ok(&client.ask("ping", &[]).await), "pong");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    // It was let go; it did not wait until its patience was over.
    assert_eq!(rig.result("a").await.result, Value::from(false));
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn what_runs_apart_goes_back_by_a_cold_shutdown() {
    let started = Arc::<AtomicU32>::default();
    let counted = started.clone();
    let options = TaskOptions { acks_late: Some(true), ..TaskOptions::default() };
    let endless = task("endless", options, move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { std::future::pending().await }
    });
    let rig = Rig::new().with(endless);
    let worker = start(&rig);
    for id in ["a", "b"] {
        rig.send(id, Call::new("endless", Vec::new())).await;
    }
    eventually("both", || async { (started.load(Ordering::SeqCst) == 2).then_some(()) }).await;
    worker.end(Shutdown::Cold).await.unwrap();
    assert_eq!(rig.len("celery").await, 2);
    assert_eq!(rig.store.fetch("a").await.unwrap().state, State::Pending);
}
