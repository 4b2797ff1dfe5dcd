//! Rubbish on the queues of remote control and events.

use celeriac_testkit::{Vhost, eventually, rabbitmq};
use serde_json::Value;

use super::{DEADLINE, heard, links, ours, python};

const RUBBISH: &str = r#"
import amqp, json
from kombu import Connection

bodies = [b'', b'\xff\xfe', b'not json', b'[]', b'{}', b'null', b'"text"', b'[[[[[[', b'{"method": 7}', b'x' * 5_000_000,
          b'[' * 200_000, json.dumps({'method': 'ping', 'arguments': [1]}).encode(),
          json.dumps({'method': 'nonsense', 'arguments': {}, 'ticket': 't', 'reply_to': {'exchange': 'reply.celery.pidbox', 'routing_key': 'nobody'}}).encode(),
          json.dumps({'method': 'ping', 'arguments': {}, 'ticket': 't', 'reply_to': {'exchange': 'no.such.exchange', 'routing_key': 'x'}}).encode(),
          json.dumps({'method': 'ping', 'arguments': {}, 'ticket': {'a': 1}, 'reply_to': 'x'}).encode(),
          json.dumps({'method': 'revoke', 'arguments': {'task_id': [None, 7, {}, 'x' * 100_000]}, 'reply_to': {}}).encode(),
          json.dumps({'method': 'revoke', 'arguments': {'task_id': 'a', 'terminate': True, 'signal': 'SIGNONE'}}).encode(),
          json.dumps({'method': 'hello', 'arguments': {'from_node': 7, 'revoked': 'x'}}).encode(),
          json.dumps({'method': 'hello', 'arguments': {'from_node': 'x@y', 'revoked': {'a': 'b', 'c': [], 'd': {}}}}).encode(),
          json.dumps({'method': 'rate_limit', 'arguments': {'task_name': 'tasks.add', 'rate_limit': 'soon'}}).encode(),
          json.dumps({'method': 'add_consumer', 'arguments': {'queue': 'x' * 1000}}).encode(),
          json.dumps({'method': 'pool_grow', 'arguments': {'n': -10**30}}).encode(),
          json.dumps({'method': 'election', 'arguments': {'id': {}, 'topic': None}}).encode(),
          json.dumps({'type': 'worker-online'}).encode(),
          json.dumps({'type': 'worker-heartbeat', 'hostname': 'x' * 1_000_000, 'timestamp': 1}).encode(),
          json.dumps({'type': 'worker-heartbeat', 'hostname': 'h1', 'timestamp': 'now', 'freq': 'often', 'clock': -1}).encode(),
          json.dumps({'type': 'worker-heartbeat', 'hostname': 'h2', 'timestamp': 1e308, 'freq': 1e308, 'clock': 2**200, 'pid': []}).encode(),
          b'{"type": "worker-heartbeat", "hostname": "h3", "timestamp": NaN, "freq": NaN, "clock": 1}',
          json.dumps({'type': 'worker-elect', 'hostname': 'h4', 'timestamp': 1, 'id': [], 'clock': 1, 'pid': 1}).encode(),
          json.dumps({'type': 'worker-elect-ack', 'hostname': 'h5', 'timestamp': 1, 'id': 'x' * 10_000}).encode(),
          json.dumps([{'type': 'worker-online', 'hostname': f'many{i}', 'timestamp': 1} for i in range(2000)]).encode()]
keys = ['worker.online', 'worker.heartbeat', 'worker.offline', 'worker.elect', 'worker.elect.ack', 'worker.multi', 'worker.']
c = amqp.Connection(f'127.0.0.1:{app.connection().port}', userid='guest', password='guest', virtual_host=app.connection().virtual_host)
c.connect()
channel = c.channel()
for body in bodies:
    for content_type, encoding in [('application/json', 'utf-8'), ('application/x-python-serialize', 'binary'), (None, None)]:
        message = lambda: amqp.Message(body, content_type=content_type, content_encoding=encoding, headers={'expires': 'never', 'clock': 'x'})
        channel.basic_publish(message(), exchange='celery.pidbox')
        for key in keys:
            channel.basic_publish(message(), exchange='celeryev', routing_key=key)
c.close()
print(json.dumps(app.control.inspect(timeout=30, limit=1).ping()))
"#;

/// So many answers of the worker, that a channel opened later cannot have published as many.
const PINGS: u64 = 150;

/// How many messages were published by the channels that are open.
fn published(vhost: &Vhost) -> u64 {
    let channels = rabbitmq().management(&format!("vhosts/{}/channels", vhost.name()));
    let count = |channel: &Value| channel["message_stats"]["publish"].as_u64();
    channels.as_array().into_iter().flatten().filter_map(count).sum()
}

#[test]
fn rubbish_is_told_counted_and_ignored() {
    let vhost = rabbitmq().vhost();
    let worker = ours(&vhost, "w1", &[]);
    heard(&vhost);
    python(&vhost, &format!("for _ in range({PINGS}): assert app.control.ping(timeout=30, limit=1)"));
    let before = links(&vhost, (2, 3));
    eventually(DEADLINE, "the answers", || (published(&vhost) >= PINGS).then_some(()));
    let out = python(&vhost, RUBBISH);
    assert_eq!(out.trim(), r#"{"w1@test": {"ok": "pong"}}"#, "{}", worker.log());
    let log = worker.log();
    assert!(log.contains("Cannot decode a remote control request"), "{log}");
    assert!(log.contains("an event is ignored"), "{log}");
    assert!(log.contains("cannot decode an event"), "{log}");
    assert!(log.contains("foreign exchange"), "{log}");
    for trouble in ["panicked", "Connection to broker lost", "Unrecoverable"] {
        assert!(!log.contains(trouble), "{trouble}");
    }
    assert_eq!(worker.exit_status(), None);
    // The very connections and channels of the start still serve. One that took another's place has its name.
    assert_eq!(log.matches("Connected to amqp").count(), 1);
    assert_eq!(links(&vhost, (2, 3)), before, "{log}");
    assert!(published(&vhost) >= PINGS, "{log}");
}
