//! What a worker does to the broker before it begins.

use celeriac_testkit::{Process, Python, Signal, Vhost, rabbitmq};

use crate::hello::{DEADLINE, end};
use crate::python::{APP, Folder};

/// Runs a script beside the app.
fn client(folder: &Folder, broker: &str, script: &str) {
    let mut client = Python::find().command();
    let done =
        client.args(["-c", script]).current_dir(folder.dir.path()).env("BROKER", broker).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

fn start(folder: &Folder, broker: &str, more: &[&str]) -> Process {
    let args = [&["-A", "proj", "worker", "-l", "info", "-c", "1"], more].concat();
    let worker = Process::start(folder.command(&args).env("BROKER", broker));
    worker.wait_for_line(" ready.", DEADLINE);
    worker
}

#[test]
fn purge_erases_what_waits() {
    let folder = Folder::new(APP);
    let vhost = Vhost::new(rabbitmq());
    client(&folder, &vhost.url(), "from proj import add\nfor n in range(3): add.delay(n, n)");
    let worker = start(&folder, &vhost.url(), &["--purge"]);
    assert!(worker.stdout().contains("purge: Erased 3 messages from the queue."), "{}", worker.log());
    client(&folder, &vhost.url(), "from proj import add\nadd.delay(40, 2)");
    let line = worker.wait_for_line(" succeeded in ", DEADLINE);
    assert!(line.ends_with(": 42"), "the first task is the new one: {line}");
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
}

#[test]
fn the_next_broker_of_a_list_is_taken_and_the_login_is_as_told() {
    let folder = Folder::new(&format!("{APP}\napp.conf.broker_login_method = 'AMQPLAIN'\n"));
    let vhost = Vhost::new(rabbitmq());
    let worker = start(&folder, &format!("amqp://127.0.0.1:1//;{}", vhost.url()), &[]);
    assert!(worker.stderr().contains("trying the next"), "{}", worker.log());
    client(&folder, &vhost.url(), "from proj import add\nadd.delay(2, 2)");
    worker.wait_for_line(" succeeded in ", DEADLINE);
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
}

#[test]
fn a_login_that_is_not_there_is_refused_in_a_line() {
    let folder = Folder::new(&format!("{APP}\napp.conf.broker_login_method = 'GSSAPI'\n"));
    let ended = folder.run(&["-A", "proj", "worker", "-b", "amqp://127.0.0.1:1//"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.ends_with("but no GSSAPI\n"), "{ended:?}");
}

/// Declares the queue in a way that the worker would not.
const DECLARE: &str = "
from kombu import Queue
from proj import app, add
with app.connection_for_write() as connection:
    Queue('given', durable=False, auto_delete=False, channel=connection).declare()
    connection.Producer().publish([[2, 2], {}, {}], routing_key='given', serializer='json',
                                  headers={'task': 'proj.add', 'id': 'one'})
";

#[test]
fn a_queue_that_is_not_to_be_declared_is_consumed_as_it_is() {
    let queues = "
from kombu import Queue
app.conf.task_queues = [Queue('given', no_declare=True)]
";
    let folder = Folder::new(&format!("{APP}{queues}"));
    let vhost = Vhost::new(rabbitmq());
    client(&folder, &vhost.url(), DECLARE);
    let worker = start(&folder, &vhost.url(), &[]);
    worker.wait_for_line(" succeeded in ", DEADLINE);
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
}
