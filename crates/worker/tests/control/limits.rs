//! Limits that are changed while the worker runs.

use std::time::Duration;

use celeriac_protocol::State;
use celeriac_worker::{Call, Rate, Shutdown, TaskOptions};

use super::client::{Client, error, gated, ok, rig};
use crate::support::{eventually, failure, ints, task};

#[tokio::test]
async fn the_pool_grows_and_shrinks() {
    let (gate, task) = gated("stuck");
    let mut rig = rig().with(task);
    rig.settings.concurrency = 1;
    rig.settings.prefetch_multiplier = 1;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    for id in ["a", "b", "c", "d"] {
        rig.send(id, Call::new("stuck", Vec::new())).await;
    }
    gate.wait_for(1).await;
    assert_eq!(ok(&client.ask("pool_grow", &[("n", 2.into())]).await), "pool will grow");
    gate.wait_for(3).await;
    assert_eq!(ok(&client.ask("pool_shrink", &[("n", 100.into())]).await), "pool will shrink");
    let stats = client.ask("stats", &[]).await;
    let pool = stats.as_map().unwrap().get("pool").unwrap().as_map().unwrap();
    assert_eq!(pool.get("max-concurrency"), Some(&1.into()), "one slot always stays");
    assert_eq!(
        error(&client.ask("pool_shrink", &[]).await),
        "ValueError(\"Can't shrink pool: it has one slot only\")"
    );
    gate.open();
    assert_eq!(rig.result("d").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_time_limit_holds_for_what_comes_next_and_can_be_taken_back() {
    let (gate, task) = gated("stuck");
    let rig = rig().with(task);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    let limit =
        [("task_name", "stuck".into()), ("hard", 0.02.into()), ("soft", celeriac_protocol::Value::Null)];
    assert_eq!(ok(&client.ask("time_limit", &limit).await), "time limits set successfully");
    rig.send("a", Call::new("stuck", Vec::new())).await;
    assert_eq!(failure(&rig.result("a").await).0, "TimeLimitExceeded");
    client.ask("time_limit", &[("task_name", "stuck".into())]).await;
    rig.send("b", Call::new("stuck", Vec::new())).await;
    gate.wait_for(2).await;
    gate.open();
    assert_eq!(rig.result("b").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn it_answers_while_tasks_are_rate_limited_and_lifts_the_limit() {
    let options = TaskOptions { rate_limit: Some("1/h".parse::<Rate>().unwrap()), ..TaskOptions::default() };
    let slow = task("slow", options, |_, _| async { Ok(celeriac_protocol::Value::Null) });
    let rig = rig().with(slow);
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    for id in ["a", "b"] {
        rig.send(id, Call::new("slow", Vec::new())).await;
    }
    rig.result("a").await;
    eventually("b", || async { (worker.counters.received.value() == 2).then_some(()) }).await;
    assert_eq!(ok(&client.ask("ping", &[]).await), "pong");
    let reserved = client.ask("reserved", &[]).await;
    assert_eq!(reserved.as_list().map(<[_]>::len), Some(1), "b waits");
    rig.send("c", Call::new("echo", ints(&[1]))).await;
    rig.result("c").await;
    client.ask("rate_limit", &[("task_name", "slow".into()), ("rate_limit", 0.into())]).await;
    assert_eq!(rig.result("b").await.state, State::Success);
    worker.end(Shutdown::Warm).await.unwrap();
}

#[tokio::test]
async fn a_pool_restart_is_answered_where_it_is_allowed() {
    let mut rig = rig();
    rig.settings.pool_restarts = true;
    rig.settings.soft_shutdown_timeout = Duration::ZERO;
    let worker = rig.start();
    let mut client = Client::open(&rig).await;
    assert_eq!(ok(&client.ask("pool_restart", &[]).await), "reload started");
    worker.end(Shutdown::Warm).await.unwrap();
}
