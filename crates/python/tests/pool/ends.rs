//! Tasks that are ended before they are done.

use std::time::Duration;

use celeriac_protocol::Value;
use celeriac_worker::{Call, Shutdown};

use super::{Rig, gone};

fn limited(task: &str, args: Vec<Value>, soft: Option<u64>, hard: Option<u64>) -> Call {
    let mut call = Call::new(format!("app.{task}"), args);
    call.options.soft_time_limit = soft.map(Duration::from_secs);
    call.options.time_limit = hard.map(Duration::from_secs);
    call
}

#[tokio::test]
async fn the_soft_limit_is_told_to_the_task_and_the_hard_one_kills_it() {
    let mut rig = Rig::start(1).await;
    rig.call("soft", limited("soft", Vec::new(), Some(1), None)).await;
    assert!(rig.stored("soft", "SUCCESS").await.contains("\"result\": \"soft\""));
    let pid = rig.busy().await;
    std::fs::remove_file(rig.dir.path().join("busy")).unwrap();
    rig.call("hard", limited("busy", vec![60.into()], None, Some(1))).await;
    assert_eq!(rig.busy().await, pid, "a soft limit spares the child");
    assert!(rig.stored("hard", "FAILURE").await.contains("TimeLimitExceeded"));
    let told = rig.monitor.event("hard", "task-failed").await;
    assert!(
        told.get("traceback").and_then(Value::as_str).is_some_and(|text| text.contains("TimeLimitExceeded"))
    );
    tokio::task::spawn_blocking(move || gone(pid)).await.unwrap();
    rig.send("next", "add", vec![1.into(), 1.into()]).await;
    rig.stored("next", "SUCCESS").await;
    assert_eq!(rig.counters.failed.value(), 1);
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_task_whose_child_is_killed_has_failed_and_the_others_have_not() {
    let mut rig = Rig::start(1).await;
    rig.send("busy", "busy", vec![60.into()]).await;
    let pid = rig.busy().await;
    rig.send("waits", "add", vec![1.into(), 1.into()]).await;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let stored = rig.stored("busy", "FAILURE").await;
    assert!(stored.contains("WorkerLostError"), "{stored}");
    assert!(stored.contains("Worker exited prematurely: signal 9 (SIGKILL) Job: 1."), "{stored}");
    rig.monitor.event("busy", "task-failed").await;
    rig.stored("waits", "SUCCESS").await;
    rig.send("leave", "leave", Vec::new()).await;
    assert!(rig.stored("leave", "FAILURE").await.contains("exitcode 3"));
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn one_that_is_acknowledged_late_comes_again_only_if_it_wants_to() {
    let rig = Rig::start(1).await;
    rig.send("careless", "careless", Vec::new()).await;
    assert!(rig.stored("careless", "FAILURE").await.contains("WorkerLostError"));
    rig.send("careful", "careful", Vec::new()).await;
    assert!(rig.stored("careful", "SUCCESS").await.contains("\"result\": \"done\""));
    rig.wait("all to be settled", || (rig.executor.load() == 0).then_some(())).await;
    assert_eq!((rig.len("celery").await, rig.len("dead").await), (0, 0));
    assert_eq!(rig.counters.started.value(), 3);
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_revoke_ends_what_runs_by_its_signal_and_what_waits_before_it_runs() {
    let mut rig = Rig::start(1).await;
    rig.send("busy", "busy", vec![60.into()]).await;
    let pid = rig.busy().await;
    rig.send("waits", "add", vec![1.into(), 1.into()]).await;
    let ids = Value::List(vec!["busy".into(), "waits".into()]);
    let arguments = [("task_id", ids), ("terminate", true.into()), ("signal", "KILL".into())];
    rig.control("revoke", &arguments).await;
    let told = rig.monitor.event("busy", "task-revoked").await;
    assert_eq!((told.get("terminated"), told.get("signum")), (Some(&true.into()), Some(&9.into())));
    rig.stored("busy", "REVOKED").await;
    rig.stored("waits", "REVOKED").await;
    tokio::task::spawn_blocking(move || gone(pid)).await.unwrap();
    rig.send("next", "add", vec![1.into(), 1.into()]).await;
    rig.stored("next", "SUCCESS").await;
    assert_eq!(rig.counters.started.value(), 2);
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_revoke_ends_what_runs_by_signals_that_mean_something_to_us() {
    let mut rig = Rig::start(1).await;
    for signal in ["TRAP", "USR2", "ALRM"] {
        rig.send(signal, "busy", vec![60.into()]).await;
        let pid = rig.busy().await;
        let arguments = [("task_id", signal.into()), ("terminate", true.into()), ("signal", signal.into())];
        rig.control("revoke", &arguments).await;
        rig.monitor.event(signal, "task-revoked").await;
        tokio::task::spawn_blocking(move || gone(pid)).await.unwrap();
        std::fs::remove_file(rig.dir.path().join("busy")).unwrap();
    }
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn what_a_task_does_to_its_process_harms_no_other_task() {
    let rig = Rig::start(1).await;
    for (how, state, told) in [
        ("hangs", "FAILURE", "TimeLimitExceeded"),
        ("forks", "SUCCESS", "result"),
        ("closes", "SUCCESS", "result"),
        ("babbles", "FAILURE", "WorkerLostError"),
    ] {
        rig.call(how, limited("poison", vec![how.into()], None, (how == "hangs").then_some(1))).await;
        rig.send(&format!("after {how}"), "add", vec![1.into(), 1.into()]).await;
        let stored = rig.stored(how, state).await;
        assert!(stored.contains(told), "{stored}");
        rig.stored(&format!("after {how}"), "SUCCESS").await;
    }
    assert_eq!(rig.counters.started.value(), 8, "none ran twice");
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn an_expired_and_an_unknown_task_are_stored_by_python() {
    let mut rig = Rig::start(1).await;
    let mut call = Call::new("app.add", vec![1.into(), 1.into()]);
    call.options.expires = Some(celeriac_worker::Expires::At(chrono::Utc::now() - Duration::from_secs(9)));
    rig.call("late", call).await;
    rig.stored("late", "REVOKED").await;
    let told = rig.monitor.event("late", "task-revoked").await;
    assert_eq!((told.get("expired"), told.get("terminated")), (Some(&true.into()), Some(&false.into())));
    rig.send("unknown", "nobody", Vec::new()).await;
    assert!(rig.stored("unknown", "FAILURE").await.contains("NotRegistered"));
    rig.wait("its message to be rejected", || (rig.counters.unregistered.value() == 1).then_some(())).await;
    rig.end(Shutdown::Warm).await;
}

#[tokio::test]
async fn a_cold_shutdown_ends_what_runs_and_stores_that_it_was_cancelled() {
    let rig = Rig::start(1).await;
    rig.send("busy", "busy", vec![60.into()]).await;
    let pid = rig.busy().await;
    let dir = rig.dir.clone();
    rig.end(Shutdown::Cold).await;
    gone(pid);
    let stored = std::fs::read_to_string(dir.path().join("results/celery-task-meta-busy")).unwrap();
    assert!(stored.contains("\"status\": \"RETRY\""), "{stored}");
}

#[tokio::test]
async fn after_the_death_of_the_zygote_all_is_started_again() {
    let rig = Rig::start(1).await;
    rig.send("busy", "busy", vec![60.into()]).await;
    let pid = rig.busy().await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let zygote = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(zygote).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert!(rig.stored("busy", "FAILURE").await.contains("signal 9 (SIGKILL)"));
    rig.send("next", "add", vec![1.into(), 1.into()]).await;
    rig.stored("next", "SUCCESS").await;
    rig.end(Shutdown::Warm).await;
}
