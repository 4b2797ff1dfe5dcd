//! A broker that takes no messages, as RabbitMQ does when it is short of memory: what comes is still worked off.

use std::sync::Arc;

use celeriac_broker::MemoryTransport;
use celeriac_protocol::State;
use celeriac_worker::{Call, GossipMode, Producer, Shutdown};
use tokio::time::{Duration, Instant};

use crate::control::client::rig;
use crate::log::Log;
use crate::mingle::Neighbour;
use crate::shim::Shim;
use crate::steps::ready;
use crate::support::{Rig, ints};

/// What the worker is slowed down by, in virtual time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker whose messages are not taken, and a client whose are.
fn stalled() -> (Rig, Arc<Shim>, Arc<Producer>) {
    let rig = rig();
    let client = rig.producer.clone();
    let shim = Arc::new(Shim::stalling(rig.transport.clone()));
    (rig.sending_by(shim.clone()), shim, client)
}

async fn runs_a_task(rig: &Rig, client: &Producer, id: &str) {
    rig.connection().await.close().await;
    client.send(id.to_owned(), Call::new("echo", ints(&[1]))).await.unwrap();
    assert_eq!(rig.result(id).await.state, State::Success);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_not_taken_leaves_the_worker_alone() {
    let log = Log::record();
    let (mut rig, _shim, client) = stalled();
    rig.settings.mingle = true;
    let _neighbour = Neighbour::open(&rig, "w2@test").await;
    let (ready, mut awaited) = ready();
    let began = Instant::now();
    let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| worker.step(ready));
    awaited.wait().await;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert_eq!(log.count("mingle: all alone"), 1, "{log}");
    runs_a_task(&rig, &client, "a").await;
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_not_taken_holds_up_neither_start_nor_end() {
    let (mut rig, shim, client) = stalled();
    rig.settings.heartbeat = true;
    let (ready, mut awaited) = ready();
    let began = Instant::now();
    let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| worker.step(ready));
    awaited.wait().await;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    runs_a_task(&rig, &client, "a").await;
    // What hung is given up: it works on when messages are taken again, and ends when they are not.
    shim.flow();
    runs_a_task(&rig, &client, "b").await;
    shim.stall();
    let began = Instant::now();
    worker.end(Shutdown::Warm).await.unwrap();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn events_that_are_not_taken_do_not_hold_up_the_end() {
    let (mut rig, _shim, client) = stalled();
    rig.settings.task_events = true;
    let worker = rig.start();
    for id in ["a", "b", "c"] {
        runs_a_task(&rig, &client, id).await;
    }
    // A message of theirs is under way by now, and will be for ever.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    worker.end(Shutdown::Warm).await.unwrap();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

/// One that refuses them, as Redis does when it is full, or keeps them waiting.
#[tokio::test(start_paused = true)]
async fn everything_at_once_does_not_hold_up_start_nor_end() {
    for (make, mode) in [
        (Shim::stalling as fn(MemoryTransport) -> Shim, GossipMode::Watch),
        (Shim::full, GossipMode::Watch),
        (Shim::full, GossipMode::Classic),
    ] {
        let log = Log::record();
        let mut rig = rig();
        let client = rig.producer.clone();
        let shim = Arc::new(make(rig.transport.clone()));
        rig = rig.sending_by(shim);
        let settings = &mut rig.settings;
        (settings.mingle, settings.gossip, settings.heartbeat, settings.task_events) =
            (true, true, true, true);
        settings.gossip_mode = mode;
        let _neighbour = Neighbour::open(&rig, "w2@test").await;
        let (ready, mut awaited) = ready();
        let began = Instant::now();
        let worker = rig.start_as(Arc::new(rig.transport.clone()), |worker| worker.step(ready));
        awaited.wait().await;
        runs_a_task(&rig, &client, "a").await;
        // As long as it takes to become a lead, and to beat.
        tokio::time::sleep(Duration::from_secs(20)).await;
        runs_a_task(&rig, &client, "b").await;
        worker.end(Shutdown::Warm).await.unwrap();
        assert!(began.elapsed() < 5 * PATIENCE, "{:?}", began.elapsed());
        assert_eq!(log.count("Connection to broker lost"), 0, "{log}");
        assert_eq!(log.count("Trying again in"), 0, "{log}");
    }
}
