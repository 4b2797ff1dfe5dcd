//! `celeriac -A APP worker -P POOL` on RabbitMQ, with a plain Celery client.

use std::fs;

use celeriac_testkit::{Process, Python, Signal, Vhost, eventually, rabbitmq};
use serde_json::{Value, json};

use crate::hello::{DEADLINE, end};
use crate::python::Folder;

const APP: &str = "
import asyncio, os, pathlib, time
from celery import Celery
app = Celery('proj', broker=os.environ['BROKER'], backend='rpc://')
HERE = pathlib.Path(__file__).parent

@app.task(bind=True)
def meet(self, count):
    '''Ends when so many have begun.'''
    (HERE / f'meets-{count}-{self.request.id}').touch()
    while len(list(HERE.glob(f'meets-{count}-*'))) < count:
        time.sleep(0.005)
    return os.getpid()

@app.task(acks_late=True)
def hold(name):
    '''Ends when somebody has made a file.'''
    with open(HERE / f'{name}-held', 'a') as file:
        print(os.getpid(), file=file)
    while not (HERE / name).exists():
        time.sleep(0.005)
    return name

@app.task
async def nap():
    await asyncio.sleep(60)
";

/// What every script of a client begins with.
const CLIENT: &str = "
import json, sys
from proj import app, meet, hold, nap

def ended(result):
    try:
        return result.get(timeout=60)
    except Exception as error:
        return type(error).__name__

def meeting(count):
    results = [meet.delay(count) for _ in range(count)]
    return len({result.get(timeout=60) for result in results})

def ask(method, **arguments):
    [reply] = app.control.broadcast(method, arguments, reply=True, timeout=20, limit=1)
    return reply['w1@box']
";

struct Rig {
    folder: Folder,
    vhost: Vhost,
    worker: Process,
}

impl Rig {
    fn start(args: &[&str]) -> Self {
        let (folder, vhost) = (Folder::new(APP), Vhost::new(rabbitmq()));
        let mut command = folder.command(&["-A", "proj", "worker", "-l", "info", "-n", "w1@box"]);
        command.args(args).env("BROKER", vhost.url()).env("AUTOSCALE_KEEPALIVE", "0.5");
        let worker = Process::start(&command);
        worker.wait_for_line(" ready.", DEADLINE);
        Rig { folder, vhost, worker }
    }

    /// Runs a script of a client, which prints one value.
    fn client(&self, script: &str) -> Value {
        let mut python = Python::find().command();
        python.args(["-c", &format!("{CLIENT}{script}")]).current_dir(self.folder.dir.path());
        let out = python.env("BROKER", self.vhost.url()).output().unwrap();
        let told = String::from_utf8_lossy(&out.stdout);
        serde_json::from_str(&told).unwrap_or_else(|_| panic!("{out:?}\n{}", self.worker.log()))
    }

    /// The processes that have begun the task `hold`.
    fn held(&self, name: &str, runs: usize) -> Vec<String> {
        let file = self.folder.dir.path().join(format!("{name}-held"));
        eventually(DEADLINE, "the task to be held", || {
            let text = fs::read_to_string(&file).ok()?;
            Some(text.lines().map(str::to_owned).collect::<Vec<_>>()).filter(|pids| pids.len() == runs)
        })
    }

    fn end(&self, signal: Signal) {
        assert_eq!(end(&self.worker, &[signal]), Some(0), "{}", self.worker.log());
    }
}

/// As many tasks at a time as there are to be, in so many processes.
fn runs(pool: &str, concurrency: u64, processes: u64, implementation: &str) -> Rig {
    let rig = Rig::start(&["-P", pool, "-c", &concurrency.to_string()]);
    let script = format!("print(json.dumps([meeting({concurrency}), ask('stats')['pool']]))");
    let told = rig.client(&script);
    let pool = &told[1];
    assert_eq!((&told[0], &pool["max-concurrency"]), (&json!(processes), &json!(concurrency)), "{told}");
    assert_eq!(pool["implementation"], implementation);
    assert_eq!(pool["processes"].as_array().map(|pids| pids.len() as u64), Some(processes));
    if implementation.contains("thread") {
        assert_eq!(pool["threads"], concurrency);
    }
    rig
}

#[test]
fn spawned_processes_run_tasks() {
    runs("spawn", 2, 2, "celeriac:spawn").end(Signal::TERM);
}

#[test]
fn processes_is_another_name_of_prefork() {
    runs("processes", 2, 2, "celery.concurrency.prefork:TaskPool").end(Signal::TERM);
}

#[test]
fn the_pool_solo_runs_one_task_at_a_time() {
    let rig = runs("solo", 1, 1, "celery.concurrency.solo:TaskPool");
    let told = rig.client("print(json.dumps(ask('pool_grow', n=1)))");
    assert_eq!(told, json!({"error": "ValueError('this pool cannot grow')"}));
    rig.end(Signal::TERM);
}

#[test]
fn threads_run_tasks_and_a_warm_shutdown_waits_for_them() {
    let rig = runs("threads", 3, 1, "celery.concurrency.thread:TaskPool");
    rig.client("print(json.dumps(hold.delay('go').id))");
    rig.held("go", 1);
    rig.worker.signal(Signal::TERM);
    rig.worker.wait_for_line("Warm shutdown", DEADLINE);
    rig.folder.dir.write("go", "");
    assert_eq!(rig.worker.wait(DEADLINE).code(), Some(0), "{}", rig.worker.log());
    rig.worker.wait_for_line("Task proj.hold[", DEADLINE);
    assert_eq!(rig.vhost.queue("celery").unwrap().depth, 0);
}

#[test]
fn a_cold_shutdown_gives_back_what_threads_run() {
    let rig = Rig::start(&["-P", "threads", "-c", "2"]);
    rig.client("print(json.dumps(hold.delay('go').id))");
    let [pid] = &rig.held("go", 1)[..] else { panic!() };
    rig.end(Signal::QUIT);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    eventually(DEADLINE, "its message", || (rig.vhost.queue("celery")?.depth == 1).then_some(()));
}

#[test]
fn coroutines_are_ended_alone() {
    let rig = runs("asyncio", 4, 1, "celeriac:asyncio");
    let told = rig.client(
        "
hard, soft, revoked = nap.apply_async(time_limit=1), nap.apply_async(soft_time_limit=1), nap.delay()
found = [ended(hard), ended(soft)]
app.control.revoke(revoked.id, terminate=True)
print(json.dumps([*found, ended(revoked), ask('active'), len(ask('stats')['pool']['processes'])]))
",
    );
    let names = json!(["TimeLimitExceeded", "SoftTimeLimitExceeded", "TaskRevokedError", [], 1]);
    assert_eq!(told, names, "{}", rig.worker.log());
    rig.end(Signal::TERM);
}

#[test]
fn a_pool_grows_with_its_load_and_shrinks_after_it() {
    let rig = Rig::start(&["--autoscale=3,1"]);
    let told =
        rig.client("print(json.dumps([meeting(3), ask('pool_grow'), ask('autoscale', max=5, min=2)]))");
    assert_eq!((&told[0], &told[2]["ok"]), (&json!(3), &json!("autoscale now max=5 min=2")), "{told}");
    assert!(told[1]["error"].as_str().is_some_and(|text| text.contains("autoscale")), "{told}");
    rig.worker.wait_for_line("Scaling up ", DEADLINE);
    rig.worker.wait_for_line("Scaling down ", DEADLINE);
    let told = rig.client(
        "
while (stats := ask('stats'))['autoscaler']['current'] != 2 or len(stats['pool']['processes']) != 2:
    pass
print(json.dumps(stats))
",
    );
    assert_eq!(told["autoscaler"], json!({"max": 5, "min": 2, "current": 2, "qty": 0}));
    assert_eq!(told["prefetch_count"], 20, "room for all that it may grow to");
    rig.end(Signal::TERM);
}

#[test]
fn remote_control_grows_shrinks_and_restarts_the_pool() {
    let rig = Rig::start(&["-c", "1", "worker.pool_restarts=true"]);
    let told = rig.client(
        "
import time
def pids(count):
    while len(found := ask('stats')['pool']['processes']) != count:
        time.sleep(0.01)
    return found
grown = ask('pool_grow', n=2), meeting(3), len(pids(3))
shrunk = ask('pool_shrink', n=2), len(pids(1))
before, restarted = pids(1), ask('pool_restart')
while set(pids(1)) & set(before):
    time.sleep(0.01)
print(json.dumps([grown, shrunk, restarted, meeting(1)]))
",
    );
    let expected = json!([[{"ok": "pool will grow"}, 3, 3], [{"ok": "pool will shrink"}, 1], {"ok": "reload started"}, 1]);
    assert_eq!(told, expected);
    rig.end(Signal::TERM);
}

#[test]
fn a_loss_of_the_connection_cancels_what_is_acknowledged_late_when_the_app_wants_it() {
    let rig = Rig::start(&["-c", "1", "worker.cancel_long_running_tasks_on_connection_loss=true"]);
    rig.client("print(json.dumps(hold.delay('go').id))");
    rig.held("go", 1);
    assert!(rig.vhost.close_all_connections() > 0);
    let pids = rig.held("go", 2);
    assert_ne!(pids[0], pids[1], "the first was killed");
    rig.folder.dir.write("go", "");
    rig.worker.wait_for_line(" succeeded in ", DEADLINE);
    rig.end(Signal::TERM);
    assert_eq!(rig.vhost.queue("celery").unwrap().depth, 0);
}

#[test]
fn green_threads_are_refused_with_a_word_of_what_there_is() {
    let folder = Folder::new(APP);
    // Without its pool there is nothing to go on with.
    let ways = [&[][..], &["--ignore-unsupported"]];
    for (pool, way) in ["gevent", "eventlet"].into_iter().flat_map(|pool| ways.map(|way| (pool, way))) {
        let mut command = folder.command(&[&["-A", "proj", "worker", "-P", pool], way].concat());
        let out = command.env("BROKER", "memory://").output().unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        let word = format!("pool {pool}: there are asyncio, prefork, solo, spawn, threads");
        assert!(out.status.code() == Some(1) && told.contains(&word), "{told}");
        assert!(told.contains("Error: choose another pool"), "{told}");
    }
}
