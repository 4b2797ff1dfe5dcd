//! The signals of Celery's main process, as receivers in an app get them.

use celeriac_testkit::{Process, Python, Signal, Vhost, eventually, rabbitmq};

use crate::hello::{DEADLINE, end};
use crate::python::{APP, Folder};

/// Writes a line for each signal: its name, its sender's type, and what receivers look at.
const RECEIVERS: &str = r#"
import os
from celery import signals

def told(name, show):
    def receiver(sender=None, **arguments):
        with open("told", "a") as file:
            print(name, type(sender).__name__, show(arguments), file=file)
    getattr(signals, name).connect(receiver, weak=False)

told("celeryd_init", lambda told: told["options"]["concurrency"])
told("worker_init", lambda told: "")
told("worker_ready", lambda told: "")
told("heartbeat_sent", lambda told: "")
told("task_received", lambda told: (told["request"].name, told["request"].id, told["request"].args))
told("task_rejected", lambda told: (told["message"].headers.get("mine"), told["message"].payload, repr(told["exc"])))
told("task_unknown", lambda told: (told["name"], told["id"], type(told["exc"]).__name__, told["message"].headers["task"]))
told("task_revoked", lambda told: (told["request"].id, told["terminated"], told["signum"], told["expired"]))
told("worker_shutting_down", lambda told: (told["sig"], told["how"], told["exitcode"]))
told("worker_shutdown", lambda told: "")
"#;

/// What a plain client sends: a task, one that is not known, one that has expired, and two messages that are no tasks.
const CLIENT: &str = r#"
from proj import app, add
add.apply_async((2, 3), task_id="good")
app.send_task("proj.gone", task_id="gone")
add.apply_async((1, 1), task_id="late", expires=-9)
with app.connection_for_write() as connection:
    producer = connection.Producer()
    producer.publish({"no": "task"}, routing_key="celery", headers={"mine": "own"}, serializer="json")
    producer.publish([[], {}, {}], routing_key="celery", serializer="json",
                     headers={"mine": "bad", "task": "proj.add", "id": "bad", "retries": "many"})
"#;

fn start(folder: &Folder, broker: &str) -> Process {
    let args = ["-A", "proj", "worker", "-l", "info", "-c", "1", "-n", "w1@box", "--heartbeat-interval", "1"];
    let worker = Process::start(folder.command(&args).env("BROKER", broker));
    worker.wait_for_line(" ready.", DEADLINE);
    worker
}

#[test]
fn signals_of_the_main_process_reach_their_receivers() {
    let folder = Folder::new(&format!("{APP}{RECEIVERS}"));
    let vhost = Vhost::new(rabbitmq());
    let broker = vhost.url();
    let worker = start(&folder, &broker);
    let mut client = Python::find().command();
    let client = client.args(["-c", CLIENT]).current_dir(folder.dir.path()).env("BROKER", &broker);
    assert!(client.status().unwrap().success());
    let told = || std::fs::read_to_string(folder.dir.path().join("told")).unwrap_or_default();
    let wait = |line: &str| {
        eventually(DEADLINE, line, || told().lines().any(|told| told.contains(line)).then_some(()));
    };
    wait("celeryd_init str 1");
    wait("worker_init Worker");
    wait("worker_ready Consumer");
    wait("task_received Consumer ('proj.add', 'good', [2, 3])");
    wait("task_unknown Consumer ('proj.gone', 'gone', 'NotRegistered', 'proj.gone')");
    wait("task_revoked add ('late', False, None, True)");
    wait(r#"task_rejected Consumer ('own', {'no': 'task'}, 'None')"#);
    wait(r#"task_rejected Consumer ('bad', [[], {}, {}], "InvalidTaskError("#);
    wait("heartbeat_sent Consumer");
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    let told = told();
    assert!(!told.contains("task_received Consumer ('proj.add', 'late'"), "{told}");
    let tail: Vec<_> = told.lines().filter(|line| line.starts_with("worker_shut")).collect();
    assert_eq!(
        tail,
        ["worker_shutting_down str ('SIGTERM', 'Warm', 0)", "worker_shutdown Worker "],
        "{told}"
    );
}

#[test]
fn a_cold_shutdown_is_told_before_and_not_after() {
    let folder = Folder::new(&format!("{APP}{RECEIVERS}"));
    let vhost = Vhost::new(rabbitmq());
    let worker = start(&folder, &vhost.url());
    assert_eq!(end(&worker, &[Signal::QUIT]), Some(0), "{}", worker.log());
    let told = std::fs::read_to_string(folder.dir.path().join("told")).unwrap();
    assert!(told.contains("worker_shutting_down str ('SIGQUIT', 'Cold', 1)"), "{told}");
    assert!(!told.contains("worker_shutdown"), "{told}");
}

#[test]
fn a_receiver_that_hangs_does_not_keep_the_worker_from_its_end() {
    let hangs = "
import time
from celery import signals

@signals.worker_shutdown.connect
def hang(**_):
    time.sleep(3600)
";
    let folder = Folder::new(&format!("{APP}{hangs}"));
    let vhost = Vhost::new(rabbitmq());
    let worker = start(&folder, &vhost.url());
    let started = descendants(worker.id());
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    worker.wait_for_line("Receivers of the app's signals do not end within 10 s: they are killed", DEADLINE);
    eventually(DEADLINE, "the end of all its processes", || {
        let left = started.iter().any(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists());
        (!left).then_some(())
    });
}

#[test]
fn without_receivers_there_is_no_service() {
    let folder = Folder::new(APP);
    let vhost = Vhost::new(rabbitmq());
    let worker = start(&folder, &vhost.url());
    // The zygote and what it has forked: one child, and no service.
    let started = descendants(worker.id());
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    assert_eq!(started.len(), 2, "{started:?}");
}

/// A task in C code, where no handler of Python's runs.
const STUCK: &str = "
import ctypes

@app.task
def stuck():
    ctypes.PyDLL(None).sleep(60)
";

#[test]
fn usr1_shows_what_tasks_do() {
    let folder = Folder::new(&format!("{APP}{STUCK}"));
    let vhost = Vhost::new(rabbitmq());
    let worker = start(&folder, &vhost.url());
    let mut client = Python::find().command();
    let client = client.args(["-c", "from proj import stuck\nstuck.delay()"]).current_dir(folder.dir.path());
    assert!(client.env("BROKER", vhost.url()).status().unwrap().success());
    worker.wait_for_line("Task proj.stuck[", DEADLINE);
    // It may not have begun yet.
    eventually(DEADLINE, "the stack of the task", || {
        worker.signal(Signal::USR1);
        worker.log().contains(" in stuck").then_some(())
    });
    assert!(worker.log().contains("==== ForkPoolWorker-1 pid:"), "{}", worker.log());
    assert_eq!(end(&worker, &[Signal::QUIT]), Some(0), "{}", worker.log());
    assert!(!worker.log().contains("exited with"), "it was ended by the worker: {}", worker.log());
}

/// The processes that one has started, and those that these have.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}
