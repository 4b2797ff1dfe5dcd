//! `worker_disable_prefetch`: nothing is taken from the broker before it can run.

use std::sync::Arc;
use std::time::Duration;

use celeriac_worker::{Call, Shutdown, TaskOptions};
use chrono::Utc;

use crate::control::client::gated;
use crate::log::Log;
use crate::shim::Shim;
use crate::steps::ready;
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
    rig.send("e", Call::new("echo", ints(&[1]))).await;
    assert_eq!((worker.counters.received.value(), rig.len("celery").await), (2, 3));
    gate.open();
    rig.result("e").await;
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(rig.len("celery").await, 0);
}

/// Acknowledged is acknowledged: it does not come back. Nor may others have its place until it is done.
#[tokio::test(start_paused = true)]
async fn what_runs_over_a_lost_connection_keeps_its_place_in_the_next() {
    for concurrency in [1, 2] {
        let (gate, stuck) = gated("stuck");
        let (other_gate, other) = gated("other");
        let mut rig = rig().with(stuck).with(other);
        rig.settings.concurrency = concurrency;
        let (ready, mut awaited) = ready();
        let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| worker.step(ready));
        awaited.wait().await;
        rig.send("a", Call::new("stuck", Vec::new())).await;
        gate.wait_for(1).await;
        // The clock moves when nobody has anything to do: its acknowledgement has arrived.
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.transport.sever();
        awaited.wait().await;
        if concurrency == 2 {
            rig.send("b", Call::new("other", Vec::new())).await;
            other_gate.wait_for(1).await;
        }
        rig.send("c", Call::new("echo", ints(&[1]))).await;
        // That nothing is delivered for minutes is no reason to connect anew.
        tokio::time::sleep(Duration::from_secs(300)).await;
        let received = worker.counters.received.value();
        assert_eq!((received, rig.len("celery").await), (concurrency as u64, 1));
        gate.open();
        rig.result("c").await;
        other_gate.open();
        worker.end(Shutdown::Warm).await.unwrap();
        assert_eq!((gate.started(), rig.len("celery").await), (1, 0));
    }
}

/// The words are Celery's (`celery/worker/consumer/tasks.py`), and so is that it goes on as ever.
#[tokio::test]
async fn a_broker_that_keeps_no_places_ignores_it_and_says_so() {
    let log = Log::record();
    let (gate, stuck) = gated("stuck");
    let rig = rig().with(stuck);
    let worker = rig.start_on(Arc::new(Shim::plain(rig.transport.clone())));
    for number in 0..11 {
        rig.send(&number.to_string(), Call::new("stuck", Vec::new())).await;
    }
    // Two run, and four wait for each of them.
    gate.wait_for(2).await;
    let taken = || async { (worker.counters.received.value() == 10).then_some(()) };
    eventually("what is prefetched", taken).await;
    assert_eq!(rig.len("celery").await, 1);
    let told = "worker_disable_prefetch is only supported for Redis brokers, not for memory: it is ignored";
    assert_eq!(log.count(&format!("WARN {told}")), 1, "{log}");
    gate.open();
    worker.end(Shutdown::Warm).await.unwrap();
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
