//! `worker_disable_prefetch`: nothing is taken from the broker before it can run.

use celeriac_worker::{Call, Shutdown, TaskOptions};
use chrono::Utc;

use crate::control::client::gated;
use crate::support::{Rig, echo, eventually, ints, task};

fn rig() -> Rig {
    let mut rig = Rig::new().with(echo());
    rig.settings.disable_prefetch = true;
    (rig.settings.concurrency, rig.settings.prefetch_multiplier) = (2, 4);
    rig
}

#[tokio::test]
async fn what_runs_keeps_its_place_though_it_is_acknowledged() {
    let (gate, stuck) = gated("stuck");
    let rig = rig().with(stuck);
    let worker = rig.start();
    for id in ["a", "b", "c", "d"] {
        rig.send(id, Call::new("stuck", Vec::new())).await;
    }
    gate.wait_for(2).await;
    eventually("two are taken", || async { (rig.len("celery").await == 2).then_some(()) }).await;
    rig.connection().await.purge("celery").await.unwrap();
    // Who takes everything finds nothing: the two that run are acknowledged.
    rig.send("e", Call::new("echo", ints(&[1]))).await;
    assert_eq!((worker.counters.received.value(), rig.len("celery").await), (2, 1));
    gate.open();
    rig.result("e").await;
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(rig.len("celery").await, 0);
}

#[tokio::test]
async fn what_waits_for_its_time_or_its_turn_needs_no_place_to_run() {
    let options = TaskOptions { rate_limit: Some("1/h".parse().unwrap()), ..TaskOptions::default() };
    let rare = task("rare", options, |_, _| async { Ok(celeriac_protocol::Value::Null) });
    let (gate, stuck) = gated("stuck");
    let rig = rig().with(rare).with(stuck);
    let worker = rig.start();
    for number in 0..3 {
        let mut call = Call::new("echo", ints(&[1]));
        call.options.eta = Some(Utc::now() + chrono::Duration::hours(1));
        rig.send(&format!("eta{number}"), call).await;
        rig.send(&format!("rare{number}"), Call::new("rare", Vec::new())).await;
    }
    rig.send("stuck", Call::new("stuck", Vec::new())).await;
    gate.wait_for(1).await;
    rig.send("echo", Call::new("echo", ints(&[1]))).await;
    rig.result("echo").await;
    rig.send("stuck2", Call::new("stuck", Vec::new())).await;
    gate.wait_for(2).await;
    rig.send("waits", Call::new("echo", ints(&[1]))).await;
    assert_eq!((worker.counters.received.value(), rig.len("celery").await), (9, 1));
    gate.open();
    rig.result("waits").await;
    worker.end(Shutdown::Warm).await.unwrap();
}
