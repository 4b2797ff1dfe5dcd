//! How many messages a worker has at hand.

use celeriac_testkit::{Process, Python, Signal, Vhost, rabbitmq};

use crate::hello::end;
use crate::python::Folder;

/// A task that is short, unless it is told to wait for a file.
const APP: &str = "
import os, time
from celery import Celery
from kombu import Queue

app = Celery('proj', broker=os.environ['BROKER'])
app.conf.task_ignore_result = True

@app.task(bind=True)
def step(self, number=None, wait=False):
    if number is not None:
        with open('ran', 'a') as file:
            print(number, int(self.request.delivery_info['redelivered']), file=file)
    while wait and not os.path.exists('go'):
        time.sleep(0.01)
";

/// What scripts begin with: `run(count)` has short tasks run, `prefetch()` asks the worker for its prefetch count.
const CLIENT: &str = "
import os, time
from proj import app, step

def await_(what):
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end, what
        time.sleep(0.05)

def depth():
    with app.connection_for_read() as connection:
        return connection.default_channel.queue_declare('celery', passive=True).message_count

def run(count):
    for _ in range(count):
        step.delay()
    await_(lambda: depth() == 0)

def prefetch():
    stats = {}
    def answered():  # it may be about to start
        stats.update(app.control.inspect(limit=1, timeout=1).stats() or {})
        return stats
    await_(answered)
    return next(iter(stats.values()))['prefetch_count']
";

const GROW: &str = "
def grown():
    run(1_000)
    return prefetch() == 16
";

/// The first task of many turns out to be long: what the others keep at hand goes back, unless the broker is so slow that
/// there is nothing at hand yet.
const SHRINK: &str = "
def ran():
    if not os.path.exists('ran'):
        return []
    with open('ran') as file:
        return [line.split() for line in file]

def shrink():
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.tx_select()
        producer = app.amqp.Producer(channel)
        for number in range(600):
            step.apply_async((number, number == 0), producer=producer)
        channel.tx_commit()
    await_(lambda: prefetch() == 4)
    open('go', 'w').close()
    await_(lambda: len(ran()) >= 600 and depth() == 0)
    numbers = sorted(int(number) for number, _ in ran())
    assert numbers == list(range(600)), numbers
    return any(redelivered == '1' for _, redelivered in ran())

assert prefetch() == 4
for attempt in range(5):
    await_(grown)
    if shrink():
        break
    os.remove('ran')
    os.remove('go')
else:
    raise AssertionError('nothing was given back')
";

const STAY: &str = "
for _ in range(3):
    run(1_000)
    assert prefetch() == 4
";

/// Runs a script beside the app.
fn client(folder: &Folder, vhost: &Vhost, worker: &Process, script: &str) {
    let mut client = Python::find().command();
    client.args(["-c", &format!("{CLIENT}{script}")]).current_dir(folder.dir.path());
    let done = client.env("BROKER", vhost.url()).output().unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stderr), worker.log());
}

fn start(folder: &Folder, vhost: &Vhost, more: &[&str]) -> Process {
    let args = [&["-A", "proj", "worker", "-l", "warning", "-c", "1"], more].concat();
    Process::start(folder.command(&args).env("BROKER", vhost.url()))
}

#[test]
fn short_tasks_are_prefetched_in_number_and_given_back_behind_a_long_one() {
    let folder = Folder::new(APP);
    let vhost = Vhost::new(rabbitmq());
    let worker = start(&folder, &vhost, &[]);
    client(&folder, &vhost, &worker, &format!("{GROW}{SHRINK}"));
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    let ran = std::fs::read_to_string(folder.dir.path().join("ran")).unwrap();
    assert_eq!(ran.lines().count(), 600, "each has run once");
}

#[test]
fn a_prefetch_count_that_was_set_stays_and_one_of_consumers_in_a_row() {
    let row = "
app.conf.task_queues = [Queue('celery', queue_arguments={'x-single-active-consumer': True})]
";
    for (more, args) in [("", &["--prefetch-multiplier", "4"][..]), ("", &["--disable-prefetch"]), (row, &[])]
    {
        let folder = Folder::new(&format!("{APP}{more}"));
        let vhost = Vhost::new(rabbitmq());
        let worker = start(&folder, &vhost, args);
        client(&folder, &vhost, &worker, STAY);
        assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    }
}
