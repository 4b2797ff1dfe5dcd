//! The experiments of CloudAMQP's article on mingling, gossip and heartbeats, on `hello`.

use std::process::Command;

use celeriac_testkit::{Process, Vhost, eventually, example_bin, rabbitmq};
use serde_json::Value;

use super::{DEADLINE, ours, python};

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
    python(&vhost, &format!("{PUBLISH}{FAKE}"));
    worker.wait_for_line("workerfake@localhost joined the party", DEADLINE);
    worker.wait_for_line("missed heartbeat from workerfake@localhost", DEADLINE);
}

#[test]
fn a_worker_whose_heartbeats_nobody_hears_carries_on_and_says_so_once() {
    let vhost = rabbitmq().vhost();
    let worker = ours(&vhost, "w1", &["--heartbeat-interval", "0.5"]);
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

/// Connections and channels of a virtual host, once they are as many as expected and the broker's figures agree.
fn count(vhost: &Vhost, expected: (usize, usize)) {
    let list = |what: &str| rabbitmq().management(&format!("vhosts/{}/{what}", vhost.name()));
    let len = |value: Value| value.as_array().map_or(0, Vec::len);
    let mut seen = (0, 0);
    let mut agreed = 0;
    eventually(DEADLINE, &format!("{expected:?} connections and channels of {}", vhost.name()), || {
        seen = (len(list("connections")), len(list("channels")));
        // The figures are gathered once a second: what stays so for two is no accident.
        agreed = if seen == expected { agreed + 1 } else { 0 };
        std::thread::sleep(std::time::Duration::from_millis(250));
        (agreed > 8).then_some(())
    });
}

#[test]
fn two_connections_and_three_channels_with_everything_on() {
    let vhost = rabbitmq().vhost();
    let _worker = ours(&vhost, "w1", &["-E"]);
    count(&vhost, (2, 3));
}

#[test]
fn one_connection_and_one_channel_with_everything_off() {
    let vhost = rabbitmq().vhost();
    let off =
        ["--without-mingle", "--without-gossip", "--without-heartbeat", "worker_enable_remote_control=false"];
    let _worker = ours(&vhost, "w1", &off);
    count(&vhost, (1, 1));
}
