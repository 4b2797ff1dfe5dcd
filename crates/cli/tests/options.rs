use celeriac_testkit::{Process, Signal, TempDir};

use crate::hello::{DEADLINE, Ended, Hello, end};

#[test]
fn what_is_not_understood_is_a_usage_error() {
    let hello = Hello::new();
    for (args, says) in [
        (&["worker", "--no-such-option"][..], "--no-such-option"),
        (&["no-such-command"], "no-such-command"),
        (&["worker", "-l", "loud"], "expected DEBUG, INFO"),
        (&["worker", "-n", "w1@%z"], "%z means nothing"),
        (&["worker", "no_such_setting=1"], "there is no setting no_such_setting"),
        (&["worker", "-Q", "a", "-X", "a"], "no queue left"),
        (&["worker", "--gossip", "loud"], "watch, classic, stream"),
        (&["worker", "celeriac_gossip=loud"], "watch, classic, stream"),
        (&["worker", "--heartbeat-interval", "61"], "a minute at most"),
        (&["worker", "-B"], "celeriac has no beat yet"),
        (&["worker", "-D"], "systemd"),
        (&["call", "tasks.add", "-a", "1"], "1 was not an array"),
        (&["call", "tasks.add", "-k", "[]"], "[] was not an object"),
        (&["call", "tasks.add", "--eta", "soon"], "ISO 8601"),
        (&["call", "tasks.add", "--countdown", "-1"], "expected a number of seconds, 0 or more"),
        (&["worker", "-c", "-1"], "'-1'"),
    ] {
        let ended = hello.run(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn what_cannot_be_reached_is_told_with_what_to_do() {
    let hello = Hello::new();
    for (args, says, advice) in [
        (&["-b", "amqp://localhost:1//", "status"][..], "localhost:1//: Connection refused", "-b URL"),
        (&["-b", "redis://localhost:1", "call", "tasks.add"], "Connection refused", "-b URL"),
        (&["--result-backend", "", "result", "x"], "No result backend", "--result-backend URL"),
        (&["--result-backend", "redis://localhost:1", "result", "x"], "redis", "--result-backend URL"),
    ] {
        let ended = hello.run(args);
        assert_eq!(ended.code, Some(1), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says) && ended.stderr.contains(advice), "{args:?}: {ended:?}");
    }
}

#[test]
fn every_option_of_celerys_worker_is_known() {
    let hello = Hello::new();
    // The last one ends it before it connects.
    let ended = hello.run(&[
        "-A",
        "proj",
        "-q",
        "-C",
        "--skip-checks",
        "--loader",
        "x",
        "--config",
        "y",
        "worker",
        "--hostname",
        "w1@%h",
        "--statedb",
        "state",
        "--loglevel",
        "info",
        "--optimization",
        "fair",
        "--prefetch-multiplier",
        "2",
        "--disable-prefetch",
        "--concurrency",
        "2",
        "--pool",
        "prefork",
        "--task-events",
        "--events",
        "--time-limit",
        "10",
        "--soft-time-limit",
        "5.5",
        "--max-tasks-per-child",
        "5",
        "--max-memory-per-child",
        "1000",
        "--purge",
        "--discard",
        "--queues",
        "a,b",
        "--exclude-queues",
        "b",
        "--include",
        "x",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--heartbeat-interval",
        "5",
        "--autoscale",
        "10,3",
        "--schedule",
        "s",
        "--schedule-filename",
        "s",
        "--scheduler",
        "x",
        "--umask",
        "022",
        "--executable",
        "python",
        "--pidfile",
        "/no/such/folder/pid",
        "--logfile",
        "/no/such/folder/log",
    ]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("/no/such/folder/pid: No such file"), "{ended:?}");
}

#[test]
fn urls_that_cannot_be_served_are_told_without_the_password() {
    let hello = Hello::new();
    for url in ["sqs://u:secret@host", "http://u:secret@host"] {
        let ended = hello.run(&["-b", url, "call", "tasks.noop"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("amqp://") && ended.stderr.contains("sqlite:"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

#[test]
fn the_environment_names_broker_and_settings() {
    let hello = Hello::new();
    let run = |variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new(celeriac_testkit::example_bin("hello"));
        command.args(["call", "tasks.noop"]).envs(variables.iter().copied());
        Ended::from(command.output().unwrap())
    };
    let file = TempDir::new();
    let url = format!("sqlite:///{}", file.path().join("env.db").display());
    assert_eq!(run(&[("CELERY_BROKER_URL", &url)]).code, Some(0));
    assert!(file.path().join("env.db").exists());
    let ended = run(&[("CELERY_BROKER_URL", &url), ("CELERIAC_TASK_ACKS_LATE", "perhaps")]);
    assert!(ended.code == Some(2) && ended.stderr.contains("CELERIAC_TASK_ACKS_LATE"), "{ended:?}");
    let ended = run(&[("CELERY_BROKER_URL", &url), ("CELERIAC_GOSSIP_WATCHERS", "17")]);
    assert!(ended.code == Some(1) && ended.stderr.contains("expected 1 to 16, not 17"), "{ended:?}");
    // The command line comes first.
    let ended = hello.command(&["call", "tasks.noop"]).env("CELERY_BROKER_URL", "nonsense").output().unwrap();
    assert!(ended.status.success());
}

/// The ids that a worker remembers as revoked, of three.
fn remembered(hello: &Hello, variable: (&str, &str)) -> Vec<String> {
    let mut command = hello.command(&["worker", "-l", "info", "-n", "w1@here"]);
    let worker = Process::start(command.env(variable.0, variable.1));
    worker.wait_for_line(" ready.", DEADLINE);
    let ask = |words: &str| {
        let words: Vec<_> = words.split(' ').chain(["-t", "20", "-d", "w1@here", "--json"]).collect();
        hello.ok(&words)
    };
    ask("control revoke a");
    ask("control revoke b");
    ask("control revoke c");
    let shown: serde_json::Value =
        serde_json::from_str(ask("inspect revoked").lines().next().unwrap()).unwrap();
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0));
    shown["w1@here"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_environment_bounds_what_is_revoked() {
    let hello = Hello::new();
    assert_eq!(remembered(&hello, ("CELERY_WORKER_REVOKES_MAX", "2")), ["b", "c"]);
    assert_eq!(remembered(&hello, ("CELERY_WORKER_REVOKES_MAX", "")), ["a", "b", "c"]);
    assert_eq!(remembered(&hello, ("CELERY_WORKER_REVOKE_EXPIRES", "1e-9")), [""; 0]);
    for (name, value) in [
        ("CELERY_WORKER_REVOKES_MAX", "many"),
        ("CELERY_WORKER_REVOKES_MAX", "-1"),
        ("CELERY_WORKER_REVOKE_EXPIRES", "soon"),
        ("CELERY_WORKER_REVOKE_EXPIRES", "-1"),
    ] {
        let ended: Ended = hello.command(&["worker"]).env(name, value).output().unwrap().into();
        assert!(ended.code == Some(2) && ended.stderr.contains(name), "{value}: {ended:?}");
    }
}

#[test]
fn no_time_is_too_long() {
    let hello = Hello::new();
    let worker =
        hello.worker(&["-n", "w1@here", "--time-limit", "1e19", "worker_soft_shutdown_timeout=1e19"]);
    hello.ok(&["status", "-t", "1e19", "-d", "w1@here"]);
    let id = hello.ok(&["call", "tasks.add", "-a", "[1, 2]", "--expires", "1e19"]);
    assert_eq!(hello.ok(&["result", id.trim()]), "3\n");
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0));
}

#[test]
fn versions_are_told() {
    let shown = Hello::new().ok(&["--version"]);
    assert!(shown.contains(env!("CARGO_PKG_VERSION")), "{shown}");
}
