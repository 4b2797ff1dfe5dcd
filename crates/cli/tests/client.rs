use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use celeriac_testkit::{Signal, eventually};

use crate::hello::{DEADLINE, Ended, Hello, end};

#[test]
fn a_call_is_sent_and_its_result_shown() {
    let hello = Hello::new();
    let worker = hello.worker(&["-c", "2"]);
    let sum = hello.call("tasks.add", "[2, 3]");
    assert_eq!(hello.ok(&["result", &sum]), "5\n");
    let echo =
        hello.ok(&["call", "tasks.echo", "-k", r#"{"value": {"a": [1, null]}}"#, "--countdown", "0.1"]);
    assert_eq!(hello.ok(&["result", echo.trim()]), "{\"a\":[1,null]}\n");
    let flaky = hello.call("tasks.flaky", "[2]");
    assert_eq!(hello.ok(&["result", &flaky]), "2\n");
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0));
}

#[test]
fn a_failure_is_shown_with_its_traceback() {
    let hello = Hello::new();
    let _worker = hello.worker(&[]);
    let id = hello.call("tasks.fail", r#"["it broke"]"#);
    let ended = hello.run(&["result", &id]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.ends_with("Error: ValueError: it broke\n"), "{ended:?}");
    assert!(hello.ok(&["result", "--traceback", &id]).contains("it broke"));
}

#[test]
fn queues_are_purged_when_the_user_agrees() {
    let hello = Hello::new();
    let call = |queue| hello.ok(&["call", "tasks.noop", "--queue", queue]);
    let queues = ["a", "b", "celery"];
    queues.iter().for_each(|queue| drop(call(queue)));

    let asked = |answer: &str| -> Ended {
        let mut command = hello.command(&["purge", "-Q", "a,b", "-X", "b"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    };
    for no in ["", "\n", "n\n", "perhaps\n"] {
        let ended = asked(no);
        assert!(ended.code == Some(1) && ended.stderr.contains("Aborted!"), "{no:?}: {ended:?}");
    }
    let ended = asked("y\n");
    assert!(ended.stdout.contains("This will remove all tasks from queue: a.\n"), "{ended:?}");
    assert!(ended.stdout.ends_with("Purged 1 message from 1 known task queue.\n"), "{ended:?}");

    // Without -Q, the queues that the app knows.
    assert_eq!(hello.ok(&["purge", "-f"]), "Purged 1 message from 1 known task queue.\n");
    assert_eq!(hello.ok(&["purge", "-f", "-Q", "a,b,none"]), "Purged 1 message from 3 known task queues.\n");
    assert_eq!(hello.ok(&["purge", "-f", "-Q", "a,b"]), "No messages purged from 2 queues.\n");
}

#[test]
fn bindings_are_listed() {
    let hello = Hello::new();
    hello.ok(&["call", "tasks.noop", "--queue", "hipri"]);
    let listed = hello.ok(&["list", "bindings"]);
    let rows: Vec<Vec<_>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["Queue", "Exchange", "Routing", "Key"]);
    assert!(rows.contains(&vec!["hipri", "hipri", "hipri"]), "{listed}");
}

#[test]
fn the_steps_of_a_worker_are_drawn() {
    let shown = Hello::new().ok(&["graph", "bootsteps"]);
    assert!(shown.starts_with("digraph") && shown.contains("Gossip"), "{shown}");
    let mut bare = Command::new(env!("CARGO_BIN_EXE_celeriac"));
    let ended: Ended = bare.args(["-A", "proj", "graph", "bootsteps"]).output().unwrap().into();
    assert_eq!((ended.code, ended.stdout), (Some(0), shown), "the same, without an app or a broker");
}

#[test]
fn a_dump_that_nobody_reads_ends() {
    let hello = Hello::new();
    let mut command = hello.command(&["events", "--dump"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "-> evdump: starting capture...\n");
    let _worker = hello.worker(&["--heartbeat-interval", "0.1"]);
    let ended = std::thread::spawn(move || Ended::from(child.wait_with_output().unwrap()));
    eventually(DEADLINE, "the end of the dump", || ended.is_finished().then_some(()));
    let ended = ended.join().unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn nobody_listening_is_no_panic() {
    let hello = Hello::new();
    let mut child =
        hello.command(&["list", "bindings"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
