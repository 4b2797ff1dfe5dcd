//! The experiments of CloudAMQP's article on mingling, gossip and heartbeats, on `hello`.

use std::process::Command;

use celeriac_testkit::{Process, Python, eventually, example_bin, rabbitmq};
use serde_json::Value;

use super::{DEADLINE, heard, links, ours, python};

/// Publishes an event by hand.
const PUBLISH: &str = "
import time
from kombu import Exchange, Producer

def publish(**fields):
    with app.connection_for_write() as connection:
        producer = Producer(connection, Exchange('celeryev', 'topic'))
        producer.publish(
            fields, routing_key=fields['type'].replace('-', '.'), headers={'hostname': fields['hostname']})
";

/// Each message that the article shows, of a worker that does not exist.
const FAKE: &str = "
publish(hostname='workerfake@localhost', utcoffset=0, pid=42572, clock=200, freq=2.0, active=0, processed=0,
        loadavg=[2.06, 1.99, 2.16], sw_ident='py-celery', sw_ver='5.1.2', sw_sys='Darwin', timestamp=time.time(),
        type='worker-heartbeat')
";

#[test]
fn a_worker_that_does_not_exist_joins_and_is_missed() {
    let vhost = rabbitmq().vhost();
    let mut command = Command::new(example_bin("hello"));
    // The command of the article, word by word.
    command.env("CELERY_BROKER_URL", vhost.url()).args([
        "-A",
        "python_celery",
        "worker",
        "--concurrency=1",
        "-n",
        "worker1@localhost",
        "--loglevel=debug",
    ]);
    let worker = Process::start(&command);
    worker.wait_for_line("worker1@localhost ready.", DEADLINE);
    heard(&vhost);
    python(&vhost, &format!("{PUBLISH}{FAKE}"));
    worker.wait_for_line("workerfake@localhost joined the party", DEADLINE);
    worker.wait_for_line("missed heartbeat from workerfake@localhost", DEADLINE);
}

#[test]
fn a_worker_whose_heartbeats_nobody_hears_carries_on_and_says_so_once() {
    let vhost = rabbitmq().vhost();
    // A watcher's queue is exclusive: nobody else can unbind it.
    let worker = ours(&vhost, "w1", &["--heartbeat-interval", "0.5", "--gossip", "classic"]);
    heard(&vhost);
    let queue = eventually(DEADLINE, "the queue of events", || {
        let queues = rabbitmq().management(&format!("queues/{}", vhost.name()));
        let name = |queue: &Value| queue["name"].as_str().map(str::to_owned);
        queues.as_array()?.iter().filter_map(name).find(|name| name.starts_with("celeryev."))
    });
    rabbitmq().delete(&format!("bindings/{}/e/celeryev/q/{queue}/worker.%23", vhost.name()));
    worker.wait_for_line("nobody hears the heartbeats of this worker", DEADLINE);
    let ping = "print(json.dumps(app.control.ping(timeout=20, limit=1)))";
    assert_eq!(python(&vhost, ping).trim(), r#"[{"w1@test": {"ok": "pong"}}]"#);
    assert_eq!(worker.log().matches("nobody hears").count(), 1, "{}", worker.log());
    assert!(!worker.log().contains("Connection to broker lost"), "{}", worker.log());
}

/// Calls tasks, gets their results and inspects, on and on.
const BUSY: &str = "
app.conf.result_backend = 'rpc://'
round = 0
while True:
    results = [app.send_task('tasks.add', (i, 1)) for i in range(20)]
    assert [result.get(timeout=60) for result in results] == [i + 1 for i in range(20)]
    assert app.control.inspect(timeout=60, limit=1).active() is not None
    round += 1
    print(f'round {round}.', flush=True)
";

#[test]
fn two_connections_and_three_channels_with_everything_on() {
    let vhost = rabbitmq().vhost();
    let worker = ours(&vhost, "w1", &["-E", "result_backend=rpc://"]);
    let links_of_idle = links(&vhost, (2, 3));
    let script = format!("from pyapp import app\n{BUSY}");
    let mut command = Python::find().command();
    let busy = Process::start(command.args(["-c", &script]).env("BROKER", vhost.url()));
    busy.wait_for_line("round 1.", DEADLINE);
    assert_eq!(links(&vhost, (2, 3)), links_of_idle, "{}", worker.log());
    // It was busy all the while, and still is.
    let rounds = busy.stdout().lines().count();
    assert!(rounds > 1, "{}", busy.log());
    busy.wait_for_line(&format!("round {}.", rounds + 1), DEADLINE);
}

#[test]
fn one_connection_and_one_channel_with_everything_off() {
    let vhost = rabbitmq().vhost();
    let off =
        ["--without-mingle", "--without-gossip", "--without-heartbeat", "worker_enable_remote_control=false"];
    let _worker = ours(&vhost, "w1", &off);
    links(&vhost, (1, 1));
}
