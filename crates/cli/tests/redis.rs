//! `celeriac redis doctor` on a Redis of its own.

use std::process::Command;
use std::time::Duration;

use celeriac_testkit::{CeleryWorker, PYAPP, Process, Python, Redis, Signal, eventually, example_bin};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(60);

/// Its exit code, and what it printed.
fn doctor(server: &Redis, options: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celeriac"));
    command.env_remove("CELERY_BROKER_URL").args(["redis", "doctor", "-b", &server.url(0)]).args(options);
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn report(server: &Redis, options: &[&str]) -> (i32, Value) {
    let (code, out) = doctor(server, &[options, &["--json"]].concat());
    (code, serde_json::from_str(&out).unwrap())
}

fn findings(report: &Value) -> Vec<(&str, bool)> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|finding| (finding["text"].as_str().unwrap(), finding["mendable"] == true)).collect()
}

/// Nobody is missing, then settings that hurt.
#[test]
fn settings_that_hurt_are_named() {
    let server = Redis::start();
    let (code, out) = doctor(&server, &[]);
    assert!(code == 0 && out.contains("Nothing is wrong."), "{out}");
    let bad = [
        ["maxmemory-policy", "allkeys-lru"],
        ["timeout", "60"],
        ["appendonly", "no"],
        ["client-output-buffer-limit", "pubsub 1mb 1mb 1"],
    ];
    for [name, value] in bad {
        server.cli(&["CONFIG", "SET", name, value]);
    }
    let (code, report) = report(&server, &["--fix"]);
    let found = findings(&report);
    assert!(
        code == 1 && found.len() == bad.len() && found.iter().all(|(_, mendable)| !mendable),
        "{found:?}"
    );
    for [name, _] in bad {
        let name = if name == "appendonly" { "append-only" } else { name };
        assert!(found.iter().any(|(text, _)| text.contains(name)), "{name}: {found:?}");
    }
}

/// What a killed Python worker left, a killed one of ours, and somebody by hand.
#[test]
fn what_others_left_is_shown_and_mended() {
    let server = Redis::start();
    let (url, results) = (server.url(0), server.url(1));
    let env = [("BROKER", url.as_str()), ("BACKEND", results.as_str()), ("ACKS_LATE", "1")];
    let theirs = CeleryWorker::start(PYAPP, "pyapp", &["-P", "solo", "-n", "py@test", "-E"], &env);
    let mut command = Command::new(example_bin("hello"));
    command.args([
        "-b",
        &url,
        "--result-backend",
        &results,
        "worker",
        "-l",
        "info",
        "-c",
        "2",
        "-n",
        "rs@test",
        "-Q",
        "ours",
    ]);
    let ours = Process::start(command.arg("task_acks_late=true"));
    ours.wait_for_line(" ready.", DEADLINE);
    let script = "from pyapp import app\n\
        for queue in ['celery', 'ours', 'ours']: app.send_task('tasks.sleep', (600,), queue=queue)\n\
        app.send_task('tasks.add', (1, 2), queue='nobody', priority=6)";
    Python::find().run(script, &[], &env);
    eventually(DEADLINE, "they hold their tasks", || {
        (server.cli(&["HLEN", "unacked"]).trim() == "3").then_some(())
    });

    // Both live: nothing is wrong, and what Python has is not called rubbish.
    let (code, out) = report(&server, &[]);
    assert_eq!((code, findings(&out)), (0, vec![]), "{out}");
    assert_eq!(out["alone"], false);
    let held: u64 =
        out["holders"].as_array().unwrap().iter().map(|holder| holder["held"].as_u64().unwrap()).sum();
    let alive = out["holders"].as_array().unwrap().iter().filter(|holder| holder["state"] == "alive").count();
    assert!(held == 3 && alive >= 1, "{out}");
    let nobody = out["queues"].as_array().unwrap().iter().find(|queue| queue["name"] == "nobody");
    assert_eq!(nobody.unwrap()["lengths"]["6"], 1, "{out}");

    for process in [theirs.process(), &ours] {
        process.signal(Signal::KILL);
        process.wait(DEADLINE);
    }
    for owner in server.cli(&["ZRANGE", "celeriac.owners", "0", "-1"]).lines() {
        server.cli(&["ZADD", "celeriac.owners", "1", owner]);
    }
    let ghost = "celeriac-00000000000000000000000000000000";
    for words in [
        &["SADD", "celeriac.consumers.celery", &format!("{ghost}.1")][..],
        &["SADD", &format!("celeriac.owner.{ghost}"), "x"],
        &["HSET", "celeriac.queues", "orphan", &format!("|a|{ghost}|")],
        &["LPUSH", "orphan", "m"],
        &["HSET", "unacked", "timeless", r#"[{"body": "", "properties": {}}, "", "celery"]"#],
        &["HSET", "unacked", &format!("{ghost}.1.1"), r#"[{"body": "", "properties": {}}, "", "ours"]"#],
        &["ZADD", "unacked_index", "1", &format!("{ghost}.1.1")],
        &["SET", "celery\x06\x169", "no list"],
        &["SADD", "celeriac.bound.ghost", "news\x06\x16key\x06\x16\x06\x16ghost"],
        &["SADD", "_kombu.binding.news", "key\x06\x16\x06\x16ghost"],
    ] {
        server.cli(words);
    }
    let (code, out) = doctor(&server, &["--dry-run"]);
    assert_eq!(code, 1);
    let wanted = [
        "is dead for",
        "and holds 2 messages",
        "is not known and holds 1 messages",
        "is not known, and has left queues",
        "1 messages are leased without a time",
        "celery has 1 consumers that are gone",
        "orphan went with a worker",
        "exchange celery.pidbox: 1 bindings",
        "celery: a key of this queue is no list",
        "ghost is bound by celeriac, and there is no such queue",
    ];
    for text in wanted {
        assert!(out.contains(text), "{text}: {out}");
    }
    let (_, again) = report(&server, &[]);
    assert!(findings(&again).len() >= wanted.len() - 1, "a look changes nothing: {again}");

    let (code, mended) = report(&server, &["--fix"]);
    assert_eq!(code, 1);
    let promised = findings(&mended).iter().filter(|(_, mendable)| *mendable).count();
    assert_eq!(mended["mended"].as_array().unwrap().len(), promised, "{mended}");
    server.cli(&["DEL", "celery\x06\x169"]);
    let (_, left) = report(&server, &[]);
    let left = findings(&left);
    // The lease that has a time again is overdue now, and it is for a worker to say when.
    assert!(matches!(left[..], [(text, false)] if text.contains("visibility timeout")), "{left:?}");
    assert_eq!(server.cli(&["LLEN", "ours"]).trim(), "3");
    assert_eq!(server.cli(&["HLEN", "unacked"]).trim(), "2");
    assert_eq!(
        server.cli(&["EXISTS", "orphan", "celeriac.consumers.celery", "_kombu.binding.celery.pidbox"]).trim(),
        "0"
    );
    assert_eq!(server.cli(&["EXISTS", "celeriac.bound.ghost", "_kombu.binding.news"]).trim(), "0");
    assert_eq!(server.cli(&["ZCARD", "celeriac.owners"]).trim(), "0");
}
