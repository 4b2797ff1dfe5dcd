//! `celeriac -A APP ...`: Python apps.

mod daemon;
mod external;
mod log;
mod prefetch;
mod queues;
mod redis;
mod signals;

use std::process::Command;

use celeriac_testkit::{Process, Python, Signal, TempDir, Vhost, rabbitmq, redis};

use crate::hello::{DEADLINE, Ended, end};

/// A folder with an app, and the command line in it.
pub struct Folder {
    pub dir: TempDir,
}

impl Folder {
    pub fn new(app: &str) -> Self {
        let dir = TempDir::new();
        dir.write("proj.py", app);
        Folder { dir }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let python = Python::find().command();
        let mut command = Command::new(env!("CARGO_BIN_EXE_celeriac"));
        command.arg("--python").arg(python.get_program()).args(args).current_dir(self.dir.path());
        for name in ["CELERY_APP", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "VIRTUAL_ENV", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        self.command(args).output().unwrap().into()
    }
}

pub const APP: &str = "
import os
from celery import Celery
app = Celery('proj', broker=os.environ.get('BROKER', 'memory://'), backend=os.environ.get('BACKEND') or None)

@app.task
def add(x, y):
    return x + y
";

#[test]
fn an_app_that_is_not_there_ends_as_celery_does() {
    let folder = Folder::new("raise RuntimeError('broken at import')");
    for (app, told) in
        [("missing", "The module missing was not found."), ("proj", "RuntimeError: broken at import")]
    {
        let ended = folder.run(&["-A", app, "worker"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
        assert!(!ended.stderr.contains("celeriac:"), "Python has said it: {ended:?}");
    }
    assert!(folder.run(&["-A", "proj", "worker"]).stderr.contains("Traceback (most recent call last)"));
}

#[test]
fn a_command_line_that_makes_no_sense_is_told() {
    let folder = Folder::new(APP);
    for (args, code, told) in [
        (&["-A", "proj", "worker", "-c", "x"][..], 2, "'x' is not a valid integer."),
        (&["-A", "proj", "worker", "--pool-size", "3", "-Q"], 2, "'-Q' / '--queues' requires an argument."),
        (&["-A", "proj", "worker", "--nonsense"], 2, "No such option"),
        (
            &["-A", "proj", "worker", "-P", "nopool"],
            2,
            "'nopool' is not one of 'prefork', 'eventlet', 'gevent',",
        ),
        (&["-A", "proj", "worker", "worker.nonsense=1"], 2, "Unable to parse extra configuration"),
        (&["-A", "proj", "worker", "--heartbeat-interval", "61"], 2, "a minute at most"),
        (&["-A", "proj", "worker", "--uid", "no such user"], 1, "User does not exist: no such user"),
        (&["-A", "proj", "worker", "--umask", "9x"], 2, "--umask: expected a file mode"),
        (&["-A", "proj", "--python", "/no/python", "worker"], 1, "/no/python is no program"),
        (&["-A", "proj", "worker", "--workdir", "/no/where"], 1, "/no/where"),
        (&["multi", "start", "w1"], 2, "celeriac has no `multi`"),
        (&["-A", "proj", "-b", "sqs://", "worker", "-q"], 1, ""),
    ] {
        let ended = folder.run(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{args:?}: {ended:?}");
    }
}

#[test]
fn a_python_without_celery_is_told_by_its_path() {
    let folder = Folder::new(APP);
    let bare = folder.dir.path().join("bare");
    let python = Python::find().command().get_program().to_str().unwrap().to_owned();
    std::fs::write(&bare, format!("#!/bin/sh\nexec {python} -S \"$@\"\n")).unwrap();
    std::fs::set_permissions(&bare, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ended = folder.run(&["--python", bare.to_str().unwrap(), "-A", "proj", "worker"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(" has no Celery (No module named "), "{ended:?}");
    assert!(ended.stderr.contains("--python PATH") && !ended.stderr.contains("Traceback"), "{ended:?}");
}

#[test]
fn a_broker_that_cannot_be_used_ends_the_worker_with_that_alone() {
    let folder = Folder::new(&format!("{APP}\napp.conf.broker_connection_retry_on_startup = False\n"));
    let ended = folder.run(&["-A", "proj", "-b", "redis://localhost:1", "worker"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cannot connect to redis://localhost:1"), "{ended:?}");
    assert!(!ended.stderr.contains("SIGKILL"), "its own children are no news: {ended:?}");
}

#[test]
fn help_shows_the_commands_that_others_run() {
    let run = |args: &[&str]| -> Ended {
        Command::new(env!("CARGO_BIN_EXE_celeriac")).args(args).output().unwrap().into()
    };
    let help = run(&["--help"]).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<_> = commands.map_while(|line| line.split_whitespace().next()).collect();
    let expected = "worker status inspect control events list call result purge graph demo redis help";
    assert_eq!(names.join(" "), expected, "{help}");
    assert_eq!(run(&["help", "worker"]).stdout, run(&["worker", "--help"]).stdout);
    let ended = run(&["wroker"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("'worker'"), "{ended:?}");
}

#[test]
fn what_does_not_run_here_is_named() {
    let step = "
from celery import bootsteps
class Mine(bootsteps.StartStopStep):
    pass
app.steps['worker'].add(Mine)
";
    let ended = Folder::new(&format!("{APP}{step}")).run(&["-A", "proj", "worker"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("celeriac: this does not run here: worker bootstep"), "{ended:?}");
    assert!(ended.stderr.contains("--ignore-unsupported"), "{ended:?}");
    let ended = Folder::new(APP).run(&["-A", "proj", "worker", "-P", "gevent"]);
    assert!(ended.code != Some(0) && ended.stderr.contains("gevent"), "{ended:?}");
}

#[test]
fn a_live_pidfile_is_left_alone() {
    let folder = Folder::new(APP);
    folder.dir.write("w1.pid", "1\n");
    let ended = folder.run(&["-A", "proj", "worker", "-n", "w1@box", "--pidfile", "%n.pid"]);
    assert!(ended.code == Some(73) && ended.stderr.contains("(pid: 1)"), "{ended:?}");
}

#[test]
fn other_commands_are_celery_s() {
    let folder = Folder::new(APP);
    let ended = folder.run(&["-A", "proj", "report"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("software -> celery:5."), "{ended:?}");
    assert_eq!(ended.stderr.matches("is run by the app's own Celery").count(), 1, "{ended:?}");
    assert!(folder.run(&["-A", "proj", "shell", "--help"]).stdout.starts_with("Usage: celery shell "));
    let ended = folder.run(&["-A", "proj", "purge", "-f"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("No messages purged"), "{ended:?}");
    assert_eq!(folder.run(&["-A", "proj", "nonsense"]).code, Some(2));
    let graph = folder.run(&["-A", "proj", "graph", "workers", "nodes:w"]);
    assert!(graph.code == Some(0) && graph.stdout.contains("\"w\" [shape="), "{graph:?}");
    for (words, told) in
        [(&["-A", "proj"][..], "celeriac -A APP COMMAND"), (&["-A", "proj", "--version"], "celeriac 0.")]
    {
        let none = folder.run(words);
        assert!(none.code == Some(0) && none.stdout.contains(told), "{none:?}");
    }
    let help = folder.run(&["worker", "--help"]);
    assert!(help.code == Some(0) && help.stdout.contains("-Q, --queues"), "{help:?}");
}

/// Calls by a plain Celery client, and prints what it gets.
const CLIENT: &str = "
from proj import app, add
print(add.delay(2, 2).get(timeout=60), app.control.ping(timeout=5))
";

fn runs(broker: &str, backend: &str) {
    let folder = Folder::new(APP);
    let variables = [("BROKER", broker), ("BACKEND", backend)];
    let mut command = folder.command(&["-A", "proj", "worker", "-l", "info", "-n", "w1@box", "-c", "2"]);
    let worker = Process::start(command.args(["--pidfile", "%n.pid"]).envs(variables));
    worker.wait_for_line(" ready.", DEADLINE);
    assert!(worker.stdout().contains(".> app:         proj"), "{}", worker.log());
    let pid = std::fs::read_to_string(folder.dir.path().join("w1.pid")).unwrap();
    assert_eq!(pid.trim().parse(), Ok(worker.id()));

    let mut client = Python::find().command();
    let out = client.args(["-c", CLIENT]).current_dir(folder.dir.path()).envs(variables).output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(told.starts_with("4 [{'w1@box': {'ok': 'pong'}}]"), "{told}{out:?}{}", worker.log());
    let line = worker.wait_for_line(" succeeded in ", DEADLINE);
    assert!(line.contains("Task proj.add[") && line.ends_with("s: 4"), "{line}");

    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    assert!(!folder.dir.path().join("w1.pid").exists());
}

#[test]
fn a_python_app_runs_with_redis_for_results() {
    runs(&Vhost::new(rabbitmq()).url(), &redis().fresh_url());
}

#[test]
fn a_python_app_runs_with_rpc_for_results() {
    runs(&Vhost::new(rabbitmq()).url(), "rpc://");
}

#[test]
fn the_command_of_the_article_works_as_printed() {
    let folder = Folder::new(APP);
    folder.dir.write("python_celery.py", "from proj import add, app\n");
    let line = "-A python_celery worker --concurrency=1 -n worker1@localhost --loglevel=debug";
    let vhost = Vhost::new(rabbitmq());
    let mut command = folder.command(&line.split(' ').collect::<Vec<_>>());
    let worker = Process::start(command.env("BROKER", vhost.url()));
    for told in ["| Consumer: Starting Mingle", "mingle: all alone", "worker1@localhost ready."] {
        worker.wait_for_line(told, DEADLINE);
    }
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
}
