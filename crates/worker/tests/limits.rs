//! Rate limits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_protocol::{State, Value};
use celeriac_worker::{Call, Counters, NativeTask, Rate, Shutdown, TaskOptions};
use chrono::Utc;
use tokio::time::Instant;

use crate::control::client::{Client, gated, rig};
use crate::support::{DEADLINE, Rig, eventually, ints, task};

/// The first arguments of a task's calls, and when they ran.
type Ran = Arc<Mutex<Vec<(i64, Instant)>>>;

/// A task of this rate, and its calls.
fn slow(rate: &str) -> (Ran, impl NativeTask) {
    let options = TaskOptions { rate_limit: Some(rate.parse::<Rate>().unwrap()), ..TaskOptions::default() };
    let ran = Ran::default();
    let noted = ran.clone();
    let task = task("slow", options, move |_, args| {
        noted.lock().unwrap().push((args[0].as_i64().unwrap(), Instant::now()));
        async { Ok(Value::Null) }
    });
    (ran, task)
}

fn call(number: i64) -> Call {
    Call::new("slow", ints(&[number]))
}

async fn received(counters: &Counters, count: u64) {
    eventually("deliveries", || async { (counters.received.value() == count).then_some(()) }).await;
}

#[tokio::test(start_paused = true)]
async fn limited_tasks_run_in_order_an_interval_apart() {
    let (ran, task) = slow("2/s");
    let rig = rig().with(task);
    let worker = rig.start();
    for number in 0..6 {
        rig.send(&number.to_string(), call(number)).await;
    }
    rig.result("5").await;
    worker.end(Shutdown::Warm).await.unwrap();
    let ran = ran.lock().unwrap();
    assert_eq!(ran.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let gaps: Vec<_> = ran.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    let interval = Duration::from_millis(495)..Duration::from_millis(510);
    assert!(gaps.iter().all(|gap| interval.contains(gap)), "{gaps:?}");
}

#[tokio::test]
async fn those_that_wait_keep_their_places_and_hold_nobody_else_up() {
    let (_, task) = slow("1/h");
    let mut rig = rig().with(task);
    (rig.settings.concurrency, rig.settings.prefetch_multiplier) = (1, 4);
    let worker = rig.start();
    for number in 0..4 {
        rig.send(&number.to_string(), call(number)).await;
    }
    rig.result("0").await;
    rig.send("echo", Call::new("echo", ints(&[1]))).await;
    rig.result("echo").await;
    // Three of four places are taken: one more fits, the last stays with the broker.
    for number in 4..6 {
        rig.send(&number.to_string(), call(number)).await;
    }
    received(&worker.counters, 6).await;
    rig.wait_for_len("celery", 1).await;
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(rig.len("celery").await, 5, "what waited goes back");
}

#[tokio::test]
async fn what_waits_goes_back_while_others_finish() {
    let (gate, stuck) = gated("stuck");
    let (_, task) = slow("1/h");
    let rig = rig().with(task).with(stuck);
    let worker = rig.start();
    rig.send("stuck", Call::new("stuck", Vec::new())).await;
    gate.wait_for(1).await;
    one_waits(&rig).await;
    received(&worker.counters, 3).await;
    worker.handle.request(Shutdown::Warm);
    rig.wait_for_len("celery", 1).await;
    gate.open();
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn limits_can_be_switched_off() {
    let (ran, task) = slow("1/h");
    let mut rig = rig().with(task);
    rig.settings.disable_rate_limits = true;
    let worker = rig.start();
    for number in 0..3 {
        rig.send(&number.to_string(), call(number)).await;
    }
    rig.result("2").await;
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(ran.lock().unwrap().len(), 3);
}

/// The first has run, the second waits for its turn.
async fn one_waits(rig: &Rig) {
    rig.send("0", call(0)).await;
    rig.result("0").await;
    rig.send("1", call(1)).await;
}

#[tokio::test]
async fn the_turn_comes_after_the_time() {
    let (_, task) = slow("1/h");
    let rig = rig().with(task);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    rig.send("0", call(0)).await;
    rig.result("0").await;
    let mut later = call(1);
    later.options.eta = Some(Utc::now() + chrono::Duration::milliseconds(100));
    rig.send("1", later).await;
    received(&worker.counters, 2).await;
    let reserved = async {
        while client.ask("reserved", &[]).await.as_list().map(<[_]>::len) != Some(1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, reserved).await.expect("its time comes, and its turn is awaited");
    assert_eq!(worker.counters.started.value(), 1);
    client.ask("rate_limit", &[("task_name", "slow".into()), ("rate_limit", "".into())]).await;
    assert_eq!(rig.result("1").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn another_rate_holds_at_once() {
    let (ran, task) = slow("1/h");
    let rig = rig().with(task);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    one_waits(&rig).await;
    rig.send("2", call(2)).await;
    received(&worker.counters, 3).await;
    client.ask("rate_limit", &[("task_name", "slow".into()), ("rate_limit", "100/s".into())]).await;
    assert_eq!(rig.result("2").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(ran.lock().unwrap().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
}

#[tokio::test]
async fn a_revoked_one_is_dropped_in_its_turn() {
    let (ran, task) = slow("1/h");
    let rig = rig().with(task);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    one_waits(&rig).await;
    received(&worker.counters, 2).await;
    client.ask("revoke", &[("task_id", "1".into())]).await;
    client.ask("rate_limit", &[("task_name", "slow".into()), ("rate_limit", 0.into())]).await;
    eventually("the end", || async { (worker.counters.revoked.value() == 1).then_some(()) }).await;
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!((rig.len("celery").await, ran.lock().unwrap().len()), (0, 1));
}

#[tokio::test]
async fn a_reconnect_gives_no_early_turn() {
    let (ran, task) = slow("1/h");
    let rig = rig().with(task);
    let worker = rig.start();
    one_waits(&rig).await;
    received(&worker.counters, 2).await;
    rig.transport.sever();
    // It comes again, and waits again.
    received(&worker.counters, 3).await;
    rig.send("echo", Call::new("echo", ints(&[1]))).await;
    rig.result("echo").await;
    assert_eq!(ran.lock().unwrap().len(), 1);
    let mut client = Client::open(&rig).await;
    client.ask("rate_limit", &[("task_name", "slow".into()), ("rate_limit", "9/s".into())]).await;
    rig.result("1").await;
    worker.end(Shutdown::Warm).await.unwrap();
    assert_eq!(ran.lock().unwrap().len(), 2, "once, though it was delivered twice");
}
