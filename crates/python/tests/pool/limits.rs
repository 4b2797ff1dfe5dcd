//! Children that end by themselves, and jobs that they give back or must.

use std::collections::HashMap;

use celeriac_protocol::Value;
use celeriac_worker::{Settings, Shutdown};

use super::{Rig, gone};

fn many(settings: &mut Settings) {
    settings.prefetch_multiplier = 100;
}

#[tokio::test]
async fn a_child_that_has_run_as_many_tasks_as_it_may_is_replaced_and_nothing_is_lost() {
    let limit = vec![("max_tasks_per_child", Value::from(30))];
    let rig = Rig::start_as("prefork", 2, limit, many).await;
    for number in 0..200 {
        rig.send(&number.to_string(), "pid", Vec::new()).await;
    }
    let mut runs: HashMap<String, usize> = HashMap::new();
    for number in 0..200 {
        let stored = rig.stored(&number.to_string(), "SUCCESS").await;
        let pid = stored.split("\"result\": ").nth(1).and_then(|rest| rest.split(',').next());
        *runs.entry(pid.unwrap().to_owned()).or_default() += 1;
    }
    assert!(runs.len() >= 7 && runs.values().all(|runs| *runs <= 30), "{runs:?}");
    rig.wait("all to be heard", || (rig.counters.succeeded.value() == 200).then_some(())).await;
    assert_eq!((rig.counters.started.value(), rig.len("celery").await), (200, 0));
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn no_short_task_waits_behind_one_of_its_packet_that_turns_out_to_be_long() {
    let rig = Rig::start_with(2, many).await;
    for number in 0..50 {
        rig.send(&format!("quick-{number}"), "until", Vec::new()).await;
    }
    rig.wait("them to be known", || (rig.counters.succeeded.value() == 50).then_some(())).await;
    rig.send("long", "until", vec!["go".into()]).await;
    for number in 0..50 {
        rig.send(&format!("behind-{number}"), "until", Vec::new()).await;
    }
    rig.wait("all but one to end", || (rig.counters.succeeded.value() == 100).then_some(())).await;
    rig.release("go");
    rig.stored("long", "SUCCESS").await;
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn what_is_acknowledged_late_can_be_cancelled_and_comes_again() {
    let rig = Rig::start(2).await;
    rig.send("early", "until", vec!["go".into()]).await;
    rig.send("late", "carefully_busy", vec![60.into()]).await;
    let pid = rig.busy().await;
    rig.note("go-waits").await;
    std::fs::remove_file(rig.dir.path().join("busy")).unwrap();
    rig.executor.cancel_late();
    rig.stored("late", "RETRY").await;
    assert_ne!(rig.busy().await, pid);
    tokio::task::spawn_blocking(move || gone(pid)).await.unwrap();
    rig.release("go");
    rig.stored("early", "SUCCESS").await;
    rig.end(Shutdown::Cold).await;
}
