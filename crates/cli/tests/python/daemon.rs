//! What a worker is in the system: its user, its files, its terminal, the processes beside it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use celeriac_testkit::{Process, Python, Signal, Vhost, eventually, rabbitmq};
use rustix::process::{Pid, getsid, getuid, kill_process, test_kill_process};

use crate::hello::{DEADLINE, end};
use crate::python::signals::descendants;
use crate::python::{APP, Folder};

const NOBODY: u32 = 65534;

/// Settings in place of options, and a task that says who runs it.
const DAEMON: &str = "
app.conf.update(worker_pidfile='%n.pid', worker_uid='nobody', worker_umask='077', result_backend='rpc://')

@app.task
def whoami():
    return os.getuid(), os.getgid(), os.getgroups()
";

const WHOAMI: &str = "from proj import whoami\nprint(whoami.delay().get(timeout=60))";

fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// The system's Python, which others than root may run, too, with the packages of the one for tests.
fn public_python(command: &mut Command) -> bool {
    let packages =
        Python::find().run("import celery\nprint(celery.__path__[0].rpartition('/')[0])", &[], &[]);
    command.env("PYTHONPATH", packages.trim());
    let mut probe = Command::new("setpriv");
    probe.args([
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
        "import celery",
    ]);
    probe.env("PYTHONPATH", packages.trim()).output().is_ok_and(|probe| probe.status.success())
}

#[test]
fn a_worker_becomes_the_user_of_its_settings() {
    let folder = Folder::new(&format!("{APP}{DAEMON}"));
    fs::set_permissions(folder.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let vhost = Vhost::new(rabbitmq());
    let broker = vhost.url();
    let args =
        ["--python", "/usr/bin/python3", "-A", "proj", "worker", "-l", "info", "-n", "w1@box", "-c", "1"];
    let mut command = folder.command(&args);
    if !getuid().is_root() || !public_python(&mut command) {
        eprintln!("not tested: that takes root, and a Python for everybody with Celery's packages");
        return;
    }
    let worker = Process::start(command.env("BROKER", &broker));
    worker.wait_for_line(" ready.", DEADLINE);
    let processes: Vec<_> = std::iter::once(worker.id()).chain(descendants(worker.id())).collect();
    for pid in &processes {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for kind in ["Uid", "Gid"] {
            let ids = format!("{kind}:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}");
            assert!(status.contains(&ids), "{status}");
        }
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            assert_eq!(thread.unwrap().metadata().unwrap().uid(), NOBODY);
        }
    }
    let pidfile = folder.dir.path().join("w1.pid").metadata().unwrap();
    assert_eq!((pidfile.uid(), pidfile.mode() & 0o777), (NOBODY, 0o600));
    let mut client = Python::find().command();
    let client =
        client.args(["-c", WHOAMI]).current_dir(folder.dir.path()).env("BROKER", &broker).output().unwrap();
    let told = String::from_utf8_lossy(&client.stdout).into_owned();
    assert_eq!(told.trim(), format!("[{NOBODY}, {NOBODY}, [{NOBODY}]]"), "{client:?}");

    // Nobody stays when the parent is killed, and what it leaves is no obstacle.
    worker.kill();
    eventually(DEADLINE, "all have ended", || processes.iter().all(|pid| !lives(*pid)).then_some(()));
    let again = Process::start(command.env("BROKER", &broker));
    again.wait_for_line("Stale pidfile exists - Removing it.", DEADLINE);
    again.wait_for_line(" ready.", DEADLINE);
    assert_eq!(end(&again, &[Signal::TERM]), Some(0), "{}", again.log());
    assert!(!folder.dir.path().join("w1.pid").exists());
}

/// A worker that nobody waits for.
struct Detached(Pid);

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = kill_process(self.0, rustix::process::Signal::KILL);
    }
}

fn pid_in(path: &Path) -> Option<Pid> {
    fs::read_to_string(path).ok()?.trim().parse().ok().and_then(Pid::from_raw)
}

#[test]
fn a_detached_worker_has_a_session_of_its_own() {
    let folder = Folder::new(APP);
    let file = |name: &str| folder.dir.path().join(name);
    let args = ["-A", "proj", "worker", "-D", "-l", "info", "--pidfile", "w.pid", "-f", "w.log", "-c", "1"];
    let vhost = Vhost::new(rabbitmq());
    let started = folder.command(&args).env("BROKER", vhost.url()).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let worker = Detached(eventually(DEADLINE, "the pidfile", || pid_in(&file("w.pid"))));
    let log = || fs::read_to_string(file("w.log")).unwrap_or_default();
    eventually(DEADLINE, "the log", || log().contains(" ready.").then_some(()));
    assert_eq!(getsid(Some(worker.0)).unwrap(), worker.0);
    kill_process(worker.0, rustix::process::Signal::TERM).unwrap();
    eventually(DEADLINE, "its end", || (!file("w.pid").exists()).then_some(()));
}

#[test]
fn why_a_detached_worker_does_not_start_is_told() {
    let folder = Folder::new(APP);
    folder.dir.write("taken.pid", "1\n");
    for (args, code, told) in [
        (&["-A", "missing", "worker", "-D"][..], 2, "The module missing was not found."),
        (&["-A", "proj", "worker", "-D", "--pidfile", "taken.pid"], 73, "(pid: 1)"),
        (&["-A", "proj", "worker", "-D", "-f", "/no/where.log"], 1, "/no/where.log"),
    ] {
        let ended = folder.run(args);
        assert!(ended.code == Some(code) && ended.stderr.contains(told), "{args:?}: {ended:?}");
    }
}

/// What Celery's worker has revoked when it starts with this file.
const SHELF: &str = "
import sys
from celery.worker import state
state.revoked.update(sys.argv[1:])
file = state.Persistent(state, 'w1.state')
print(*sorted(state.revoked))
file.save()
";

/// What our own file says of revokes.
const STAMPS: &str = "
import sqlite3
print(sqlite3.connect('w1.state.celeriac').execute('SELECT id, stamp FROM revoked ORDER BY id').fetchall())
";

#[test]
fn revokes_are_taken_over_from_celery_s_worker_and_left_for_it() {
    let folder = Folder::new(APP);
    let vhost = Vhost::new(rabbitmq());
    let python = |script: &str, args: &[&str]| {
        let mut command = Python::find().command();
        command.args(["-c", script]).args(args).current_dir(folder.dir.path()).env("BROKER", vhost.url());
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    assert_eq!(python(SHELF, &["theirs"]), "theirs");
    let args = ["-A", "proj", "worker", "-l", "info", "-n", "w1@box", "-c", "1", "--statedb", "%n.state"];
    let worker = Process::start(folder.command(&args).env("BROKER", vhost.url()));
    worker.wait_for_line(" ready.", DEADLINE);
    let revoke = "
from proj import app
app.control.revoke('ours', reply=True, timeout=30, destination=['w1@box'])
print(*sorted(app.control.inspect(['w1@box'], timeout=30, limit=1).revoked()['w1@box']))
";
    assert_eq!(python(revoke, &[]), "ours theirs");
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    assert_eq!(python(SHELF, &[]), "ours theirs");

    // What is in our own file, too, keeps its age.
    let stamps = || python(STAMPS, &[]);
    let before = stamps();
    assert!(before.contains("'ours'") && before.contains("'theirs'"), "{before}");
    let worker = Process::start(folder.command(&args).env("BROKER", vhost.url()));
    worker.wait_for_line(" ready.", DEADLINE);
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    assert_eq!(stamps(), before);
}

/// Notes each embedded beat, and has a task that waits for a file.
const BEATS: &str = "
import time
from celery.beat import PersistentScheduler
from celery.signals import beat_embedded_init

app.conf.beat_schedule = {'often': {'task': 'proj.add', 'schedule': 0.2, 'args': (4, 4)}}

class Mine(PersistentScheduler):
    pass

@beat_embedded_init.connect
def begun(sender, **_):
    with open('beats', 'a') as file:
        print(os.getpid(), type(sender.scheduler).__name__, file=file)

@app.task
def wait():
    open('waits', 'w').close()
    while not os.path.exists('go'):
        time.sleep(0.01)
";

#[test]
fn the_embedded_beat_lives_as_long_as_the_worker_takes_tasks() {
    let folder = Folder::new(&format!("{APP}{BEATS}"));
    let file = |name: &str| folder.dir.path().join(name);
    let vhost = Vhost::new(rabbitmq());
    let broker = vhost.url();
    let args =
        ["-A", "proj", "worker", "-B", "-s", "plan", "--scheduler", "proj:Mine", "-l", "info", "-c", "2"];
    let worker = Process::start(folder.command(&args).env("BROKER", &broker));
    let line = worker.wait_for_line("Scheduler: Sending due task often (proj.add)", DEADLINE);
    assert!(line.contains("INFO/Beat] "), "{line}");
    worker.wait_for_line(" succeeded in ", DEADLINE);
    let beats = |count: usize| -> Vec<Pid> {
        eventually(DEADLINE, "a beat", || {
            let beats = fs::read_to_string(file("beats")).unwrap_or_default();
            let begun = beats.lines().filter_map(|line| line.strip_suffix(" Mine")?.parse().ok());
            let begun: Vec<_> = begun.filter_map(Pid::from_raw).collect();
            (begun.len() == count).then_some(begun)
        })
    };
    kill_process(beats(1)[0], rustix::process::Signal::KILL).unwrap();
    let beat = beats(2)[1];

    let mut client = Python::find().command();
    client
        .args(["-c", "from proj import wait\nwait.delay()"])
        .current_dir(folder.dir.path())
        .env("BROKER", &broker);
    assert!(client.status().unwrap().success());
    eventually(DEADLINE, "the task", || file("waits").exists().then_some(()));
    worker.signal(Signal::TERM);
    eventually(DEADLINE, "the beat's end", || test_kill_process(beat).is_err().then_some(()));
    assert_eq!(worker.exit_status(), None, "it waits for its task: {}", worker.log());
    let plan = fs::read_dir(folder.dir.path()).unwrap().flatten();
    assert!(
        plan.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| name.starts_with("plan"))
    );
    fs::write(file("go"), "").unwrap();
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    assert_eq!(beats(2)[1], beat, "no other one was started");
}
