//! How many tasks run at once, changed while the worker runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use celeriac_protocol::{Map, Value};
use celeriac_worker::{Autoscale, Call, NativeTask, Shutdown, TaskOptions};

use crate::control::client::{Client, error, gated, ok, rig};
use crate::support::task;

/// A task that notes how many of its kind run at most.
fn counting() -> (Arc<AtomicUsize>, impl NativeTask) {
    let (now, peak) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let noted = peak.clone();
    let task = task("count", TaskOptions::default(), move |_, _| {
        let (now, peak) = (now.clone(), noted.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(Value::Null)
        }
    });
    (peak, task)
}

#[tokio::test]
async fn after_a_shrink_while_tasks_are_long_fewer_run_and_none_is_forgotten() {
    let (gate, stuck) = gated("stuck");
    let (peak, count) = counting();
    let mut rig = rig().with(stuck).with(count);
    rig.settings.concurrency = 4;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    for id in ["a", "b", "c"] {
        rig.send(id, Call::new("stuck", Vec::new())).await;
    }
    gate.wait_for(3).await;
    assert_eq!(ok(&client.ask("pool_shrink", &[("n", 2.into())]).await), "pool will shrink");
    for number in 0..10 {
        rig.send(&number.to_string(), Call::new("count", Vec::new())).await;
    }
    gate.open();
    for number in 0..10 {
        rig.result(&number.to_string()).await;
    }
    assert_eq!(peak.load(Ordering::SeqCst), 2);
    client.ask("pool_grow", &[("n", 3.into())]).await;
    for number in 10..40 {
        rig.send(&number.to_string(), Call::new("count", Vec::new())).await;
    }
    for number in 10..40 {
        rig.result(&number.to_string()).await;
    }
    assert!(peak.load(Ordering::SeqCst) <= 5);
    // All are idle: one of those that stay gets the next.
    client.ask("pool_shrink", &[("n", 4.into())]).await;
    rig.send("last", Call::new("count", Vec::new())).await;
    rig.result("last").await;
    worker.end(Shutdown::Warm).await.unwrap();
}

/// The end of one runner must not be counted on by another change.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_number_is_right_after_many_changes_under_load() {
    let (gate, stuck) = gated("stuck");
    let mut rig = rig().with(stuck);
    (rig.settings.concurrency, rig.settings.prefetch_multiplier) = (8, 10);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    for round in 0..50 {
        for number in 0..10 {
            rig.send(&format!("{round}-{number}"), Call::new("echo", Vec::new())).await;
        }
        client.ask("pool_shrink", &[("n", 7.into())]).await;
        client.ask("pool_grow", &[("n", 7.into())]).await;
    }
    for round in 0..50 {
        for number in 0..10 {
            rig.result(&format!("{round}-{number}")).await;
        }
    }
    for number in 0..9 {
        rig.send(&number.to_string(), Call::new("stuck", Vec::new())).await;
    }
    gate.wait_for(8).await;
    gate.open();
    rig.result("8").await;
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn as_many_run_as_there_is_to_do_between_bounds_that_can_be_moved() {
    let (gate, stuck) = gated("stuck");
    let mut rig = rig().with(stuck);
    (rig.settings.concurrency, rig.settings.prefetch_multiplier) = (1, 1);
    rig.settings.autoscale = Some(Autoscale { max: 3, min: 1, keepalive: Duration::ZERO });
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    for id in ["a", "b", "c", "d"] {
        rig.send(id, Call::new("stuck", Vec::new())).await;
    }
    gate.wait_for(3).await;
    let refused = client.ask("pool_grow", &[]).await;
    assert!(error(&refused).contains("autoscale"), "{refused:?}");
    assert_eq!(ok(&client.ask("autoscale", &[("max", 4.into())]).await), "autoscale now max=4 min=1");
    gate.wait_for(4).await;
    let wrong = client.ask("autoscale", &[("max", 0.into())]).await;
    assert!(error(&wrong).starts_with("ValueError"), "{wrong:?}");
    gate.open();
    for id in ["a", "b", "c", "d"] {
        rig.result(id).await;
    }
    let idle = [("max", 4), ("min", 1), ("current", 1), ("qty", 0)];
    let idle = Value::from(Map::from_iter(idle.map(|(name, count)| (name, Value::from(count)))));
    while client.ask("stats", &[]).await.as_map().and_then(|stats| stats.get("autoscaler")) != Some(&idle) {}
    worker.end(Shutdown::Warm).await.unwrap();
}
