//! Tasks that share a process: threads and coroutines. And those that have one of another kind to themselves.

use std::time::Duration;

use celeriac_protocol::Value;
use celeriac_worker::{Call, Shutdown};
use rustix::process::{Pid, Signal, kill_process};

use super::{Rig, gone};

async fn rig(pool: &'static str, concurrency: usize) -> Rig {
    Rig::start_as(pool, concurrency, Vec::new(), |_| {}).await
}

fn limited(task: &str, args: Vec<Value>, soft: Option<u64>, hard: Option<u64>) -> Call {
    let mut call = Call::new(format!("app.{task}"), args);
    call.options.soft_time_limit = soft.map(Duration::from_secs);
    call.options.time_limit = hard.map(Duration::from_secs);
    call
}

/// Sends tasks that wait for each other, and waits until all have succeeded.
async fn all_meet(rig: &Rig, task: &str, count: u64) {
    for number in 0..count {
        rig.send(&format!("{count}-{number}"), task, vec![count.into()]).await;
    }
    for number in 0..count {
        rig.stored(&format!("{count}-{number}"), "SUCCESS").await;
    }
}

#[tokio::test]
async fn as_many_threads_of_one_process_run_tasks_as_there_are_to_be() {
    let rig = rig("threads", 3).await;
    all_meet(&rig, "meet", 3).await;
    let stats = rig.executor.stats();
    assert_eq!((stats.processes.len(), stats.threads), (1, Some(3)));
    assert_eq!(stats.implementation, "celery.concurrency.thread:TaskPool");
    rig.executor.resize(5);
    all_meet(&rig, "meet", 5).await;
    assert_eq!(rig.executor.stats().processes, stats.processes);
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_thread_runs_on_whoever_wants_it_to_end() {
    let mut rig = rig("threads", 1).await;
    rig.call("on", limited("until", vec!["go".into()], Some(1), Some(1))).await;
    assert_eq!(rig.note("go-waits").await, "Task-1");
    rig.send("waits", "add", vec![1.into(), 1.into()]).await;
    rig.wait("both", || (rig.executor.load() == 2).then_some(())).await;
    rig.terminate(&["on", "waits"]).await;
    rig.stored("waits", "REVOKED").await;
    rig.release("go");
    rig.monitor.event("on", "task-succeeded").await;
    rig.monitor.event("waits", "task-revoked").await;
    assert_eq!((rig.counters.succeeded.value(), rig.counters.started.value()), (1, 1));
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_cold_shutdown_kills_threads() {
    let rig = rig("threads", 2).await;
    rig.send("on", "until", vec!["go".into()]).await;
    rig.note("go-waits").await;
    let (dir, pid) = (rig.dir.clone(), rig.executor.stats().processes[0]);
    rig.end(Shutdown::Cold).await;
    gone(pid.try_into().unwrap());
    let stored = std::fs::read_to_string(dir.path().join("results/celery-task-meta-on")).unwrap();
    assert!(stored.contains("\"status\": \"RETRY\""), "{stored}");
}

#[tokio::test]
async fn coroutines_run_together_and_what_is_none_beside_them() {
    let rig = rig("asyncio", 4).await;
    all_meet(&rig, "converse", 4).await;
    let stored = rig.stored("4-2", "SUCCESS").await;
    let pid = rig.executor.stats().processes[0];
    assert!(stored.contains(&format!(r#""result": ["4-2", {pid}]"#)), "{stored}");
    all_meet(&rig, "meet", 3).await;
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn limits_and_a_revoke_cancel_coroutines_and_nothing_else() {
    let mut rig = rig("asyncio", 4).await;
    rig.send("other", "doze", vec!["other".into()]).await;
    let pid = rig.note("other").await;
    rig.call("heeds", limited("heed", Vec::new(), Some(1), None)).await;
    rig.call("soft", limited("doze", vec!["soft".into()], Some(1), None)).await;
    rig.call("hard", limited("doze", vec!["hard".into()], None, Some(1))).await;
    assert!(rig.stored("heeds", "SUCCESS").await.contains("\"heeded\""));
    assert!(rig.stored("soft", "FAILURE").await.contains("SoftTimeLimitExceeded"));
    rig.note("soft-woken").await;
    assert!(rig.stored("hard", "FAILURE").await.contains("TimeLimitExceeded"));
    let told = rig.monitor.event("hard", "task-failed").await;
    assert_eq!(told.get("exception").and_then(Value::as_str), Some("TimeLimitExceeded(1)"));
    rig.wait("the others to end", || (rig.executor.load() == 1).then_some(())).await;
    assert_eq!(rig.executor.stats().processes, [pid.parse::<u32>().unwrap()]);
    assert_eq!((rig.counters.failed.value(), rig.counters.succeeded.value()), (2, 1));
    rig.terminate(&["other"]).await;
    rig.note("other-woken").await;
    rig.stored("other", "REVOKED").await;
    let told = rig.monitor.event("other", "task-revoked").await;
    assert_eq!((told.get("terminated"), told.get("signum")), (Some(&true.into()), Some(&15.into())));
    rig.wait("it to be settled", || (rig.executor.load() == 0).then_some(())).await;
    assert_eq!(rig.counters.revoked.value(), 1);
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_cold_shutdown_cancels_coroutines() {
    let rig = rig("asyncio", 2).await;
    for name in ["a", "b"] {
        rig.send(name, "doze", vec![name.into()]).await;
        rig.note(name).await;
    }
    let dir = rig.dir.clone();
    rig.end(Shutdown::Cold).await;
    for name in ["a", "b"] {
        assert!(dir.path().join(format!("{name}-woken")).exists());
        let stored = std::fs::read_to_string(dir.path().join(format!("results/celery-task-meta-{name}")));
        assert!(stored.unwrap().contains("\"status\": \"RETRY\""));
    }
}

#[tokio::test]
async fn all_that_run_are_lost_with_their_process_and_what_waits_is_not() {
    let rig = rig("asyncio", 2).await;
    for name in ["a", "b"] {
        rig.send(name, "doze", vec![name.into()]).await;
    }
    rig.note("a").await;
    let pid: i32 = rig.note("b").await.parse().unwrap();
    rig.send("waits", "add", vec![1.into(), 1.into()]).await;
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    for name in ["a", "b"] {
        assert!(rig.stored(name, "FAILURE").await.contains("signal 9 (SIGKILL)"));
    }
    rig.stored("waits", "SUCCESS").await;
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn spawned_children_are_ended_and_replaced_as_forked_ones() {
    let rig = rig("spawn", 2).await;
    all_meet(&rig, "meet", 2).await;
    let before = rig.executor.stats();
    assert_eq!((before.implementation, before.processes.len()), ("celeriac:spawn", 2));
    rig.call("hard", limited("busy", vec![60.into()], None, Some(1))).await;
    let pid = rig.busy().await;
    assert!(rig.stored("hard", "FAILURE").await.contains("TimeLimitExceeded"));
    tokio::task::spawn_blocking(move || gone(pid)).await.unwrap();
    all_meet(&rig, "meet", 1).await;
    rig.wait("another child", || (rig.executor.stats().processes.len() == 2).then_some(())).await;
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn solo_runs_one_task_at_a_time_whatever_it_is_resized_to() {
    let rig = rig("solo", 1).await;
    rig.executor.resize(3);
    assert_eq!(rig.executor.concurrency(), 1);
    rig.send("first", "until", vec!["go".into()]).await;
    assert_eq!(rig.note("go-waits").await, "MainThread");
    rig.send("second", "pid", Vec::new()).await;
    rig.wait("both", || (rig.executor.load() == 2).then_some(())).await;
    assert_eq!(rig.counters.started.value(), 1);
    rig.release("go");
    let pid = rig.executor.stats().processes[0];
    assert!(rig.stored("second", "SUCCESS").await.contains(&format!("\"result\": {pid}")));
    rig.end(Shutdown::Warm).await;
}
