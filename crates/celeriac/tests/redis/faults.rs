//! Workers that are killed, a Redis that is: nothing is lost, and nothing runs twice that need not.

use std::time::{Duration, Instant};

use celeriac_testkit::{CeleryWorker, PYAPP, Redis, Signal, eventually};

use super::{DEADLINE, Site};

/// What a killed worker held runs elsewhere within seconds, not after an hour.
#[test]
fn a_killed_worker_s_tasks_run_elsewhere() {
    let site = Site::new();
    let options = ["-c", "4", "task_acks_late=true"];
    let victim = site.ours("victim", &options);
    let ids = site.python("print(*[app.send_task('tasks.sleep', (2.5,)).id for _ in range(4)])");
    eventually(DEADLINE, "all four run there", || {
        (site.redis(&["HLEN", "unacked"]) == "4" && victim.log().matches(" received").count() == 4)
            .then_some(())
    });
    let other = site.ours("other", &options);
    let killed = Instant::now();
    victim.signal(Signal::KILL);
    victim.wait(DEADLINE);
    let script =
        format!("for id in '{}'.split():\n    assert app.AsyncResult(id).get(timeout=60) == 2.5", ids.trim());
    site.python(&script);
    // The bound that is promised, 10 s, and the tasks themselves.
    assert!(killed.elapsed() < Duration::from_secs(16), "{:?}", killed.elapsed());
    assert!(other.log().contains("is gone: 4 messages"), "{}", other.log());
    eventually(DEADLINE, "nothing is held", || (site.redis(&["EXISTS", "unacked"]) == "0").then_some(()));
}

/// An ETA and a task that take longer than the visibility timeout run once here, beside a Python worker that sweeps by it
/// and runs its own ETA several times.
#[test]
fn longer_than_the_visibility_timeout_runs_once() {
    let site = Site::new();
    let broker = format!("{}?visibility_timeout=1", site.broker);
    let worker = Site { broker, results: site.results.clone() }
        .ours("rs", &["-c", "4", "task_acks_late=true", "-Q", "rust"]);
    let options =
        r#"{"visibility_timeout": 1, "unacked_restore_interval": 0.25, "unacked_restore_throttle": 1}"#;
    let env = [("BROKER", &*site.broker), ("BACKEND", &site.results), ("BROKER_OPTIONS", options)];
    let args = ["-P", "solo", "-n", "py@test", "--without-mingle", "--without-gossip"];
    let python = CeleryWorker::start(PYAPP, "pyapp", &args, &env);
    let script = "
both = [app.send_task('tasks.echo', (queue,), countdown=4, queue=queue) for queue in ('celery', 'rust')]
long = app.send_task('tasks.sleep', (4,), queue='rust')
print(*[result.get(timeout=60) for result in [*both, long]])
";
    assert_eq!(site.python(script).trim(), "celery rust 4.0");
    eventually(DEADLINE, "Python's runs again", || {
        (python.log().matches(" succeeded in ").count() > 1).then_some(())
    });
    let log = worker.log();
    assert_eq!((log.matches("] received").count(), log.matches(" succeeded in ").count()), (2, 2), "{log}");
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
}

/// Redis is stopped, then killed, under load; it has its data on disk.
#[test]
fn a_redis_that_restarts_loses_nothing() {
    let server = Redis::start();
    server.cli(&["CONFIG", "SET", "appendfsync", "always"]);
    let site = Site { broker: server.url(0), results: celeriac_testkit::redis().fresh_url() };
    // Sent first: a slow sender must not find that all is done.
    let ids = site.python("print(*[app.send_task('tasks.sleep', (.01,)).id for _ in range(600)])");
    let worker = site.ours("rs", &["-c", "2", "task_acks_late=true"]);
    for times in 1..=2 {
        let done = worker.log().matches("succeeded").count();
        eventually(DEADLINE, "it works", || (worker.log().matches("succeeded").count() > done).then_some(()));
        if times == 1 {
            server.stop();
        } else {
            server.kill();
        }
        eventually(DEADLINE, "the loss", || {
            (worker.log().matches("Connection to broker lost").count() == times).then_some(())
        });
        server.restart();
        eventually(DEADLINE, "consuming again", || {
            (worker.log().matches(" ready.").count() == times + 1).then_some(())
        });
    }
    let script =
        format!("for id in '{}'.split():\n    assert app.AsyncResult(id).get(timeout=60) == .01", ids.trim());
    site.python(&script);
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    assert_eq!(server.cli(&["EXISTS", "unacked", "unacked_index", "celery"]).trim(), "0");
}

/// A key of a queue that is no list is told once, and again when it was well meanwhile.
#[test]
fn a_key_that_is_no_list_is_told_once() {
    let site = Site::new();
    let worker = site.ours("rs", &["-c", "1", "-Q", "celery,odd"]);
    let told = || worker.log().matches("no list: nothing is taken from it").count();
    let run = |queue: &str| {
        site.python(&format!("app.send_task('tasks.add', (1, 2), queue='{queue}').get(timeout=60)"));
    };
    for times in 1..=2 {
        site.redis(&["SET", "odd", "no list"]);
        // Each makes the worker look at both.
        for _ in 0..3 {
            run("celery");
        }
        eventually(DEADLINE, "it is told", || (told() >= times).then_some(()));
        assert_eq!(told(), times, "{}", worker.log());
        site.redis(&["DEL", "odd"]);
        run("odd");
    }
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    assert_eq!(told(), 2, "{}", worker.log());
}
