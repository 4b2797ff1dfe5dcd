use celeriac::State;
use celeriac_testkit::{Process, Signal, eventually};
use serde_json::{Value, json};

use crate::hello::{DEADLINE, Hello, end};

/// Whether a line is `[2026-11-21 05:14:32,123: INFO/MainProcess] ...`.
fn is_celerys(line: &str) -> bool {
    let digits: String = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
        .iter()
        .any(|level| digits.starts_with(&format!("[0000-00-00 00:00:00,000: {level}/MainProcess] ")))
}

#[test]
fn the_log_looks_like_celerys() {
    let hello = Hello::new();
    let worker = hello.worker(&["-n", "w1@box"]);
    let id = hello.call("tasks.add", "[2, 2]");
    let received = worker.wait_for_line("received", DEADLINE);
    assert!(received.ends_with(&format!("INFO/MainProcess] Task tasks.add[{id}] received")), "{received}");
    let succeeded = worker.wait_for_line("succeeded", DEADLINE);
    let (start, took) = succeeded.split_once(" succeeded in ").unwrap();
    assert!(start.ends_with(&format!("Task tasks.add[{id}]")) && took.ends_with("s: 4"), "{succeeded}");
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0));
    for line in worker.stderr().lines() {
        assert!(is_celerys(line), "{line}");
        assert!(!line.contains('\x1b'), "no terminal, no colours: {line:?}");
    }
}

#[test]
fn the_banner_shows_what_is_configured() {
    let hello = Hello::new();
    let worker = hello.worker(&["-n", "w1@box", "-c", "3", "-Q", "hipri,lopri", "-P", "prefork"]);
    let shown = worker.stdout();
    for line in [
        &format!("w1@box v{}", env!("CARGO_PKG_VERSION")),
        ".> app:         hello",
        ".> transport:   sqlite:",
        ".> results:     sqlite:",
        ".> concurrency: 3 (tokio)",
        "[queues]",
        ".> hipri            exchange=hipri(direct) key=hipri",
        ".> lopri            exchange=lopri(direct) key=lopri",
        "\n[tasks]\n  . tasks.add\n  . tasks.block\n",
    ] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
    assert!(worker.stderr().contains("-P prefork: native tasks have one pool"), "{}", worker.log());
}

#[test]
fn quiet_and_level_leave_out() {
    let hello = Hello::new();
    let log = hello.dir.path().join("w1-box.log");
    let mut command = hello.command(&["-q", "worker", "-l", "error", "-n", "w1@box", "-f", "%n-%h.log"]);
    let worker = Process::start(command.arg("task_track_started=1"));
    let id = hello.call("tasks.fail", r#"["it broke"]"#);
    hello.wait_for(&id, &State::Failure);
    assert_eq!(end(&worker, &[Signal::QUIT]), Some(0));
    let written = std::fs::read_to_string(log).unwrap();
    assert!(written.contains("ERROR/MainProcess] Task tasks.fail"), "{written}");
    assert!(!written.contains("INFO") && !worker.log().contains("[config]"), "{written}{}", worker.log());
}

#[test]
fn queues_are_chosen_and_purged_at_the_start() {
    let hello = Hello::new();
    let send = |queue: &str| hello.ok(&["call", "tasks.noop", "--queue", queue]).trim().to_owned();
    let [old, other] = ["mine", "other"].map(send);
    let worker = hello.worker(&["-Q", "mine", "--purge"]);
    assert!(worker.stdout().contains("purge: Erased 1 message from the queue."), "{}", worker.log());
    let new = send("mine");
    worker.wait_for_line(&new, DEADLINE);
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0));
    let log = worker.stderr();
    assert!(!log.contains(&old) && !log.contains(&other), "{log}");
}

#[test]
fn as_many_run_at_once_as_there_is_to_do() {
    let hello = Hello::new();
    let args = ["worker", "-l", "info", "-n", "w1@box", "--autoscale", "1,3", "task_track_started=1"];
    let worker = Process::start(hello.command(&args).env("AUTOSCALE_KEEPALIVE", "0.5"));
    worker.wait_for_line(" ready.", DEADLINE);
    assert!(worker.stdout().contains(".> concurrency: {min=1, max=3} (tokio)\n"), "{}", worker.log());
    let current = || {
        let told = hello.ok(&["inspect", "stats", "-t", "20", "-d", "w1@box", "--json"]);
        let stats: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        stats["w1@box"]["autoscaler"].clone()
    };
    assert_eq!(current(), json!({"max": 3, "min": 1, "current": 1, "qty": 0}));
    let ids = [(); 4].map(|()| hello.call("tasks.sleep", "[600]"));
    for id in &ids[..3] {
        hello.wait_for(id, &State::Started);
    }
    assert_eq!(current(), json!({"max": 3, "min": 1, "current": 3, "qty": 4}), "the fourth waits");
    worker.wait_for_line("Scaling up ", DEADLINE);
    for id in &ids {
        hello.ok(&["control", "terminate", "SIGTERM", id, "-t", "20", "-d", "w1@box"]);
    }
    worker.wait_for_line("Scaling down ", DEADLINE);
    eventually(DEADLINE, "the smallest size", || (current()["current"] == 1).then_some(()));
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
}

#[test]
fn a_pidfile_keeps_a_second_worker_out() {
    let hello = Hello::new();
    let args = ["--pidfile", "%n.pid", "-n", "w1@box"];
    let worker = hello.worker(&args);
    let path = hello.dir.path().join("w1.pid");
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), worker.id().to_string());
    let second = hello.run(&[&["worker"], &args[..]].concat());
    assert_eq!(second.code, Some(73), "{second:?}");
    assert!(second.stderr.contains("already running? (pid: "), "{second:?}");
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_broker_that_refuses_ends_the_worker() {
    let hello = Hello::new();
    let ended = hello.run(&["-b", "amqp://127.0.0.1:1//", "worker", "broker_connection_retry_on_startup=0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap();
    assert!(is_celerys(last) && last.contains("CRITICAL/MainProcess] Unrecoverable error: "), "{last}");
}
