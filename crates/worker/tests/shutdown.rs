//! The ends of a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac_protocol::{State, Value};
use celeriac_results::ResultStore;
use celeriac_worker::{Call, Shutdown, TaskOptions};
use tokio::sync::watch;

use crate::support::{Rig, eventually, task};

struct Slow {
    started: Arc<AtomicU32>,
    go: watch::Sender<bool>,
}

fn rig(acks_late: bool) -> (Rig, Slow) {
    let (started, (go, gone)) = (Arc::new(AtomicU32::new(0)), watch::channel(false));
    let counted = started.clone();
    let options = TaskOptions { acks_late: Some(acks_late), ..TaskOptions::default() };
    let slow = task("slow", options, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut gone = gone.clone();
        async move {
            let _ = gone.wait_for(|go| *go).await;
            Ok(Value::Null)
        }
    });
    let mut rig = Rig::new().with(slow);
    rig.settings.concurrency = 1;
    (rig, Slow { started, go })
}

async fn send_two(rig: &Rig, slow: &Slow) {
    rig.send("a", Call::new("slow", Vec::new())).await;
    rig.send("b", Call::new("slow", Vec::new())).await;
    eventually("a start", || async { (slow.started.load(Ordering::Relaxed) == 1).then_some(()) }).await;
}

#[tokio::test]
async fn warm_finishes_what_runs_and_gives_back_the_rest() {
    let (rig, slow) = rig(false);
    let worker = rig.start();
    send_two(&rig, &slow).await;
    worker.handle.request(Shutdown::Warm);
    // What has not started is there for others before the running task ends.
    rig.wait_for_len("celery", 1).await;
    slow.go.send_replace(true);
    worker.ended().await.unwrap();
    assert_eq!(rig.store.fetch("a").await.unwrap().state, State::Success);
    assert_eq!(rig.store.fetch("b").await.unwrap().state, State::Pending);
    assert_eq!(slow.started.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn cold_cancels_what_runs_and_gives_back_what_is_acked_late() {
    for (acks_late, left) in [(false, 1), (true, 2)] {
        let (rig, slow) = rig(acks_late);
        let worker = rig.start();
        send_two(&rig, &slow).await;
        worker.end(Shutdown::Cold).await.unwrap();
        assert_eq!(rig.len("celery").await, left);
        assert_eq!(rig.store.fetch("a").await.unwrap().state, State::Pending);
        drop(slow.go);
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_shutdown_waits_before_it_is_cold() {
    let (mut rig, slow) = rig(true);
    rig.settings.soft_shutdown_timeout = Duration::from_secs(20);
    let worker = rig.start();
    send_two(&rig, &slow).await;
    let begun = tokio::time::Instant::now();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        slow.go.send_replace(true);
        // Keeps the gate open until the test is over.
        std::future::pending::<()>().await;
    });
    worker.end(Shutdown::Cold).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(rig.store.fetch("a").await.unwrap().state, State::Success);
}

#[tokio::test(start_paused = true)]
async fn a_soft_shutdown_ends_at_its_timeout_or_at_once_when_asked() {
    for (shutdowns, seconds) in [(vec![Shutdown::Cold], 20), (vec![Shutdown::Cold, Shutdown::Now], 0)] {
        let (mut rig, slow) = rig(true);
        rig.settings.soft_shutdown_timeout = Duration::from_secs(20);
        let worker = rig.start();
        send_two(&rig, &slow).await;
        let begun = tokio::time::Instant::now();
        shutdowns.into_iter().for_each(|shutdown| worker.handle.request(shutdown));
        worker.ended().await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), seconds);
        assert_eq!(rig.len("celery").await, 2);
        drop(slow.go);
    }
}

#[tokio::test]
async fn hundreds_of_late_tasks_go_back_by_a_cold_shutdown() {
    let (mut rig, slow) = rig(true);
    rig.settings.concurrency = 300;
    for number in 0..1000 {
        rig.send(&number.to_string(), Call::new("slow", Vec::new())).await;
    }
    let worker = rig.start();
    eventually("all slots", || async { (slow.started.load(Ordering::Relaxed) == 300).then_some(()) }).await;
    worker.end(Shutdown::Cold).await.unwrap();
    rig.wait_for_len("celery", 1000).await;
    drop(slow.go);
}
