//! What signals do to a worker that runs a task, and the exit codes.

use celeriac::State;
use celeriac_testkit::{Process, Signal, eventually};

use crate::hello::{DEADLINE, Hello, end};

const WARM: &str = "worker: Warm shutdown (MainProcess)";
const COLD: &str = "worker: Cold shutdown (MainProcess)";

/// A worker that runs a task for ten minutes, acknowledged late.
fn busy(hello: &Hello, settings: &[&str]) -> (Process, String) {
    let worker = hello.worker(&[&["-c", "1", "task_track_started=1", "task_acks_late=1"], settings].concat());
    let id = hello.call("tasks.sleep", "[600]");
    hello.wait_for(&id, &State::Started);
    (worker, id)
}

/// The task goes to another worker.
fn is_redelivered(hello: &Hello, id: &str) {
    let other = hello.worker(&[]);
    other.wait_for_line(&format!("[{id}] received"), DEADLINE);
}

#[test]
fn terminate_finishes_what_runs() {
    let hello = Hello::new();
    let worker = hello.worker(&["task_track_started=1"]);
    let id = hello.call("tasks.sleep", "[1]");
    hello.wait_for(&id, &State::Started);
    assert_eq!(end(&worker, &[Signal::TERM; 2]), Some(0));
    assert!(worker.stdout().contains(WARM), "{}", worker.log());
    hello.wait_for(&id, &State::Success);
}

#[test]
fn interrupt_is_exit_code_one() {
    let hello = Hello::new();
    let worker = hello.worker(&[]);
    assert_eq!(end(&worker, &[Signal::INT]), Some(1));
    let shown = worker.stdout();
    let hint = shown.find("worker: Hitting Ctrl+C again will initiate cold shutdown").unwrap();
    assert!(hint < shown.find(WARM).unwrap(), "{shown}");
}

#[test]
fn a_second_interrupt_cancels_what_runs() {
    let hello = Hello::new();
    let (worker, id) = busy(&hello, &[]);
    worker.signal(Signal::INT);
    worker.wait_for_line(WARM, DEADLINE);
    assert_eq!(end(&worker, &[Signal::INT]), Some(0));
    is_redelivered(&hello, &id);
}

#[test]
fn quit_gives_late_acknowledged_tasks_back() {
    let hello = Hello::new();
    let (worker, id) = busy(&hello, &[]);
    assert_eq!(end(&worker, &[Signal::QUIT]), Some(0));
    assert!(worker.stdout().contains(COLD), "{}", worker.log());
    is_redelivered(&hello, &id);
}

#[test]
fn a_soft_shutdown_can_be_cut_short() {
    let hello = Hello::new();
    let (worker, id) = busy(&hello, &["worker_soft_shutdown_timeout=600"]);
    worker.signal(Signal::QUIT);
    worker.wait_for_line("Initiating Soft Shutdown", DEADLINE);
    assert_eq!(end(&worker, &[Signal::INT]), Some(0));
    assert!(
        worker.stdout().contains("Waiting gracefully for cold shutdown to complete..."),
        "{}",
        worker.log()
    );
    is_redelivered(&hello, &id);
}

#[test]
fn a_blocking_task_does_not_hold_up_a_cold_shutdown() {
    let hello = Hello::new();
    let worker = hello.worker(&["task_track_started=1"]);
    let id = hello.call("tasks.block", "[600]");
    hello.wait_for(&id, &State::Started);
    assert_eq!(end(&worker, &[Signal::QUIT]), Some(0));
}

#[test]
fn hangup_starts_the_worker_anew() {
    let hello = Hello::new();
    let worker = hello.worker(&["-n", "w1@here"]);
    worker.signal(Signal::HUP);
    eventually(DEADLINE, "a second start", || {
        (worker.stderr().matches("w1@here ready.").count() == 2).then_some(())
    });
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0));
}

#[test]
fn usr1_reports() {
    let hello = Hello::new();
    let worker = hello.worker(&[]);
    let id = hello.call("tasks.noop", "[]");
    hello.wait_for(&id, &State::Success);
    worker.signal(Signal::USR1);
    let line = worker.wait_for_line("Since the start: ", DEADLINE);
    for count in ["received 1, ", "succeeded 1, ", "invalid_control 0, ", "events_dropped 0"] {
        assert!(line.contains(count), "{line}");
    }
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0));
}
