//! `inspect`, `control` and `events`, beside Python's own command line.

use std::process::Command;

use celeriac_testkit::{CeleryWorker, PYAPP, Process, Python, Vhost, eventually, rabbitmq};
use serde_json::Value;

use crate::hello::{DEADLINE, Ended, Hello};

/// Runs Celery's own commands in one process: words with blanks between them, a command a line.
const CELERY: &str = r"
import json, sys
from click.testing import CliRunner
from celery.bin.celery import celery

for line in sys.argv[2].splitlines():
    result = CliRunner().invoke(celery, ['-b', sys.argv[1], '-C', *line.split()])
    out = getattr(result, 'stdout', result.output)
    print(json.dumps([result.exit_code, out]))
";

fn python(vhost: &Vhost, commands: &[String]) -> Vec<(i64, String)> {
    let out = Python::find().run(CELERY, &[&vhost.url(), &commands.join("\n")], &[]);
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Names and types: what stays the same where the values change.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => "str".into(),
        Value::Number(number) => if number.is_f64() { "float" } else { "int" }.into(),
        other => other.clone(),
    }
}

fn worker(vhost: &Vhost, args: &[&str]) -> CeleryWorker {
    let env = [("BROKER", vhost.url()), ("BACKEND", "rpc://".to_owned())];
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    CeleryWorker::start(PYAPP, "pyapp", &[&["-n", "py1@here", "-c", "1"], args].concat(), &env)
}

fn ours(hello: &Hello, vhost: &Vhost, command: &str) -> Ended {
    let words: Vec<_> = command.split_whitespace().collect();
    hello.run(&[&["-b", &vhost.url(), "-C"], &words[..]].concat())
}

/// Asked of a Python worker by both command lines. Those with `~` have values that change from one to the next.
const COMMANDS: &[&str] = &[
    "status",
    "inspect ping",
    "inspect active",
    "inspect reserved",
    "inspect scheduled",
    "inspect registered",
    "inspect registered max_retries name",
    "inspect active_queues",
    "inspect revoked",
    "inspect conf",
    "inspect conf yes",
    "inspect report",
    "inspect query_task no-such-id",
    "~inspect clock",
    "~inspect stats",
    "~inspect memsample",
    "~inspect memdump 2",
    "inspect objgraph Request 1 1",
    "control revoke id-1 id-2",
    "control revoke_by_stamped_headers header=stamp",
    "control terminate SIGTERM id-3",
    "control rate_limit tasks.add 10/m",
    "control rate_limit tasks.add",
    "control rate_limit no.such.task 1",
    "control rate_limit tasks.add often",
    "control time_limit tasks.add 60 120",
    "control add_consumer extra",
    "control cancel_consumer extra",
    "control pool_grow 1",
    "control pool_shrink 1",
    "control pool_restart",
    "control autoscale 4 2",
    "control enable_events",
    "control disable_events",
    "control heartbeat",
    "control election",
];

#[test]
fn every_command_shows_what_celerys_own_shows() {
    let vhost = Vhost::new(rabbitmq());
    let worker = worker(&vhost, &[]);
    let hello = Hello::new();
    // Twice, since what the first call changes the second tells differently.
    let asked = |option: &str| -> Vec<String> {
        let full = |command: &&str| format!("{} -t 20 -d py1@here{option}", command.trim_start_matches('~'));
        COMMANDS.iter().map(full).collect()
    };
    for option in ["", " --json"] {
        let commands = asked(option);
        python(&vhost, &commands);
        let theirs = python(&vhost, &commands);
        for ((command, theirs), name) in commands.iter().zip(theirs).zip(COMMANDS) {
            let ours = ours(&hello, &vhost, command);
            assert_eq!(ours.code.map(i64::from), Some(theirs.0), "{command}: {ours:?}\n{}", worker.log());
            if !name.starts_with('~') {
                assert_eq!(sorted(&ours.stdout), sorted(&theirs.1), "{command}");
            } else if option.is_empty() {
                assert_eq!(ours.stdout.lines().next(), theirs.1.lines().next(), "{command}");
            } else {
                assert_eq!(shape(&json(&ours.stdout)), shape(&json(&theirs.1)), "{command}");
            }
        }
    }
}

/// A set has no order, and neither have the ids of a reply to `revoke`.
fn sorted(text: &str) -> String {
    match text.split_once("flagged as revoked") {
        Some(_) => {
            let mut words: Vec<_> = text.split(|c: char| " {},'".contains(c)).collect();
            words.sort_unstable();
            words.join(" ")
        }
        None => text.to_owned(),
    }
}

#[test]
fn a_worker_is_shut_down() {
    let vhost = Vhost::new(rabbitmq());
    let worker = worker(&vhost, &["-P", "solo"]);
    let hello = Hello::new();
    // One that ends does not answer.
    let ended = ours(&hello, &vhost, "control shutdown -t 0.5");
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert_eq!(ended.stderr, "Error: No nodes replied within time constraint\n");
    assert!(worker.process().wait(DEADLINE).success());
}

#[test]
fn commands_are_listed_and_checked() {
    let hello = Hello::new();
    let listed = hello.ok(&["control", "--list"]);
    assert!(listed.starts_with("Control Commands:\n  add_consumer "), "{listed}");
    assert!(hello.ok(&["inspect", "--list"]).contains("\n  ping "));
    assert!(hello.ok(&["inspect", "--list"]).contains("\n  cluster "));
    for (args, word) in [
        (&["inspect"][..], "COMMAND"),
        (&["inspect", "shutdown"], "Available inspect commands: active, active_queues"),
        (&["control", "pool_grow", "x"], "not a whole number"),
        (&["control", "pool_grow", "1", "2"], "takes arguments: [N=1]"),
        (&["events", "-c", "Camera"], "--dump"),
    ] {
        let ended = hello.run(args);
        assert!(ended.code == Some(2) && ended.stderr.contains(word), "{args:?}: {ended:?}");
    }
}

/// The lines of events of tasks, without what each listener stamps itself.
fn task_lines(dump: &Process) -> Vec<String> {
    let lines = dump.stdout();
    let lines = lines.lines().filter(|line| line.contains("] task "));
    lines
        .map(|line| {
            let (start, rest) = line.split_once("local_received=").unwrap();
            start.to_owned() + rest.split_once(", ").map_or("", |(_, rest)| rest)
        })
        .collect()
}

#[test]
fn events_are_dumped_as_celery_dumps_them() {
    let vhost = Vhost::new(rabbitmq());
    let _worker = worker(&vhost, &["-E"]);
    let hello = Hello::new();
    let ours = Process::start(&hello.command(&["-b", &vhost.url(), "events", "--dump"]));
    let mut command = Python::find().command();
    command.args(["-m", "celery", "-b", &vhost.url(), "events", "--dump"]);
    let theirs = Process::start(&command);
    for dump in [&ours, &theirs] {
        dump.wait_for_line("-> evdump: starting capture...", DEADLINE);
        dump.wait_for_line("py1@here [", DEADLINE);
    }
    for (task, args) in [("tasks.add", "[1, 2]"), ("tasks.fail", r#"["it broke"]"#), ("tasks.flaky", "[1]")] {
        hello.ok(&["-b", &vhost.url(), "--result-backend", "", "call", task, "-a", args]);
    }
    let done = |dump: &Process| {
        let count = |word: &str| dump.stdout().matches(word).count();
        (count("task succeeded: ") == 2 && count("task failed: ") == 1).then_some(())
    };
    eventually(DEADLINE, "our dump of all tasks", || done(&ours));
    eventually(DEADLINE, "Celery's dump of all tasks", || done(&theirs));
    let lines = task_lines(&ours);
    assert_eq!(lines, task_lines(&theirs));
    assert!(lines.iter().any(|line| line.contains("] task received: tasks.add(")), "{lines:?}");
}

/// Runs the view on a terminal, ends it by a key or a signal, and tells whether the terminal is as before.
const TERMINAL: &str = r#"
import fcntl, os, pty, signal, struct, subprocess, sys, termios

signal.alarm(90)

def show(end, *words):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 120, 0, 0))
    before = termios.tcgetattr(slave)
    child = subprocess.Popen(sys.argv[1:], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    seen = b''
    for word in words:
        while word not in seen:
            seen += os.read(master, 65536)
    assert termios.tcgetattr(slave) != before, 'raw mode'
    end(master, child)
    while b'\x1b[?1049l' not in seen:
        seen += os.read(master, 65536)
    code = child.wait(60)
    assert termios.tcgetattr(slave) == before, 'the terminal is given back'
    assert code == 0, (code, seen)

show(lambda master, child: os.write(master, b'q'), b'py1@here', b'online')
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    show(lambda master, child: child.send_signal(number), b'Keys:')
print('done')
"#;

#[test]
fn the_view_gives_the_terminal_back() {
    let vhost = Vhost::new(rabbitmq());
    let _worker = worker(&vhost, &["-P", "solo"]);
    let hello = Hello::new();
    let command = hello.command(&["-b", &vhost.url(), "events"]);
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
    assert_eq!(Python::find().run(TERMINAL, &words, &[("TERM", "xterm")]), "done\n");
    let ended = hello.run(&["events"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("needs a terminal"), "{ended:?}");
}

/// Has a task called while the view is open, and revokes and limits it by keys.
const KEYS: &str = r#"
import fcntl, os, pty, signal, struct, subprocess, sys, termios

seen = b''
signal.signal(signal.SIGALRM, lambda *_: sys.exit(repr(seen)))
signal.alarm(90)

split = sys.argv.index('--')
view, call = sys.argv[1:split], sys.argv[split + 1:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 160, 0, 0))
child = subprocess.Popen(view, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)

def show(*words):
    global seen
    seen = b''
    while not any(word in seen for word in words):
        seen += os.read(master, 65536)
    return seen

def command(keys, done):
    os.write(master, keys)
    # A worker on a busy machine may take longer than the second that the view waits for it.
    while done not in show(done, b'deadline'):
        os.write(master, b' ')
        show(b'Keys:')
        os.write(master, keys)
    os.write(master, b' ')
    show(b'Keys:')

show(b'w1@here')
id = subprocess.check_output(call).strip()
show(id)
os.write(master, b'j')
show(b'Selected:')
command(b'c', b'flagged')
command(b'l1/h\r', b'successfully')
os.write(master, b'q')
show(b'\x1b[?1049l')
assert child.wait(60) == 0
print(id.decode())
"#;

#[test]
fn the_keys_of_the_view_reach_a_worker() {
    let hello = Hello::new();
    let worker = hello.worker(&["-n", "w1@here", "-E"]);
    let words = |command: Command| -> Vec<String> {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words.map(|word| word.to_str().unwrap().to_owned()).collect()
    };
    let view = words(hello.command(&["events"]));
    let call = words(hello.command(&["call", "tasks.noop", "--countdown", "3600"]));
    let script = view
        .iter()
        .map(String::as_str)
        .chain(["--"])
        .chain(call.iter().map(String::as_str))
        .collect::<Vec<_>>();
    let id = Python::find().run(KEYS, &script, &[("TERM", "xterm")]);
    let asked = |words: &[&str]| hello.ok(&[&["inspect"], words, &["-t", "20", "-d", "w1@here"]].concat());
    let revoked = asked(&["revoked"]);
    assert!(revoked.contains(id.trim()), "{revoked}\n{}", worker.log());
    let limits = asked(&["registered", "rate_limit"]);
    assert!(limits.contains("tasks.noop [rate_limit=1/h]"), "{limits}\n{}", worker.log());
}

#[test]
fn the_bare_command_asks_too() {
    let vhost = Vhost::new(rabbitmq());
    let _worker = worker(&vhost, &["-P", "solo"]);
    let run = |args: &[&str]| -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celeriac"));
        command.env_remove("CELERY_BROKER_URL").args(args).output().unwrap().into()
    };
    let ended = run(&["-A", "proj", "-b", &vhost.url(), "status", "-t", "20", "-d", "py1@here"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "->  py1@here: OK\n\n1 node online.\n"));
}
