//! Rubbish and lies on the cluster's exchange.

use celeriac_testkit::{Process, Signal, eventually, rabbitmq};

use super::watch::{agree, three, told_once, watched_by};
use super::{DEADLINE, ours, python};

/// Listens to the lead's beat, and says what the lead would not.
const LIES: &str = r#"
import os, socket
from kombu import Connection, Exchange, Queue, Consumer, Producer

cluster = Exchange('celeriac.cluster.celeryev', 'topic', durable=True)
beats = []

def on_beat(body, message):
    beats.append(body)
    message.ack()

with app.connection_for_write() as connection:
    channel = connection.default_channel
    queue = Queue('spy', cluster, routing_key='all.beat', exclusive=True, auto_delete=True)
    with Consumer(channel, [queue(channel)], callbacks=[on_beat]):
        while not beats:
            connection.drain_events(timeout=60)
    beat = beats[-1]
    term, version, lead, mine = beat['term'], beat['version'], beat['node'], 'f' * 16
    member = lambda number, name: [number, name, 1, None, 1, 2.0, None, None, None]
    lie = dict(beat, node=mine, hostname='liar@test', watchers=[mine])
    lies = [
        None, [], {}, 'x', 7, {'type': 7}, {'type': 'beat'}, {'type': 'nonsense', 'node': mine},
        # The lead's own words again, from long ago and from the future.
        beat, dict(beat, seq=0), dict(beat, term=0), dict(beat, term=2**63), dict(beat, size=10**9), dict(beat, watchers=[mine]),
        dict(beat, interval=-1), dict(beat, interval=1e300), dict(beat, digest='f'),
        # Another lead: of this term, of an earlier one, of one that is far away, of one that cannot be.
        lie, dict(lie, term=0), dict(lie, term=term - 1), dict(lie, term=term + 10**6), dict(lie, term=2**52),
        dict(lie, term=-1), dict(lie, size=10**6), dict(lie, size=20000, version=2**50), dict(lie, hostname='x' * 10**6),
        dict(lie, watchers=[mine] * 10**5),
        # What only the lead may say.
        *({'type': 'change', 'node': node, 'term': of, 'version': to, 'steps': steps}
          for node, of, to in [(mine, term, version + 1), (mine, term + 1, version + 1), (lead, 0, version + 1), (lead, term, version),
                               (lead, term, 1), (mine, 2**52, 2**52)]
          for steps in [[['lost', 'w2@test', 1]], [['joined', member(9, 'fake@test')]], [['left', 'w1@test', 1]]]),
        *({'type': 'change', 'node': lead, 'term': term, 'version': version + 1, 'steps': steps}
          for steps in [[], [['lost', 7, 1]], [['joined', [1]]], 'x', [['joined', member(9, 'x' * 300)]],
                        [['joined', member(0, 'm1@test')] for _ in range(3)] + [['joined', 7]]]),
        *({'type': 'snapshot', 'node': mine, 'term': of, 'version': version + 5, 'departures': [],
           'members': [member(i, f'm{i}@test') for i in range(size)]} for of in [term, term + 1] for size in [0, 3]),
        *({'type': 'elected', 'node': mine, 'id': 'e1', 'leader': 'liar@test.1', 'clock': clock} for clock in [1, 2**62, -1]),
        *({'type': kind, 'node': node} for kind in ['ask', 'probe'] for node in [None, 'x', 7, 'F' * 16]),
        *({'type': 'compare', 'node': mine, 'starts': True, 'buckets': buckets, 'clock': 1} for buckets in [[], ['0' * 16] * 65, [1] * 64]),
        {'type': 'delta', 'ids': [['x' * 10**6, 1]]}, {'type': 'delta', 'ids': [['x', -1]]}, {'type': 'delta', 'ids': [['x', 1]] * 5000},
        {'type': 'revokes', 'buckets': [99], 'ids': [], 'last': True, 'strangers': False, 'clock': 1},
        {'type': 'stand', 'node': mine, 'id': '', 'topic': 'task', 'clock': 1, 'name': 'liar@test.1', 'again': False},
        {'type': 'stand', 'node': mine, 'id': 'x' * 2000, 'topic': 'task', 'clock': -1, 'name': 7, 'again': 0},
    ]
    # A roster that is larger than any, and one that only a stranger tells.
    large = [
        {'type': 'change', 'node': lead, 'term': term, 'version': 2**50,
         'steps': [['joined', member(i, f'm{i}@test')] for i in range(30000)]},
        {'type': 'snapshot', 'node': mine, 'term': term + 1, 'version': version + 5, 'departures': [],
         'members': [member(i, f'm{i}@test') for i in range(20000)]},
        {'type': 'snapshot', 'node': lead, 'term': term, 'version': version + 5, 'departures': [],
         'members': [member(i, f'm{i}@test') for i in range(30000)]},
    ]
    producer = Producer(channel)
    sent = 0
    for key in ['all.beat', 'all.change', 'lead', 'watchers', f'node.{lead}', 'node.' + mine, 'nonsense']:
        for body in lies:
            producer.publish(body, exchange='celeriac.cluster.celeryev', routing_key=key, serializer='json')
            sent += 1
        for body in [b'', b'\xff\xfe', b'not json', b'[' * 100000, b'x' * 1000000]:
            for kind in ['application/json', 'application/x-python-serialize', 'text/plain']:
                producer.publish(body, exchange='celeriac.cluster.celeryev', routing_key=key, content_type=kind,
                                 content_encoding='utf-8')
                sent += 1
    for body in large:
        producer.publish(body, exchange='celeriac.cluster.celeryev', routing_key='all.change', serializer='json')
        sent += 1
print(sent)
"#;

/// How many of the cluster's messages a worker ignored.
fn ignored(worker: &Process) -> u64 {
    worker.signal(Signal::USR1);
    let line = worker.wait_for_line("ignored_cluster", DEADLINE);
    let (_, count) = line.split_once("ignored_cluster ").unwrap();
    count.split(',').next().and_then(|count| count.parse().ok()).unwrap()
}

#[test]
fn lies_are_ignored_counted_and_take_over_nothing() {
    let vhost = rabbitmq().vhost();
    let names = ["w1", "w2", "w3"];
    let workers = three(&vhost, &[]);
    let lead = agree(&vhost, &names, 3);
    let watchers = ["w1@test", "w2@test"];
    watched_by(&vhost, &names, &watchers);
    let sent: usize = python(&vhost, LIES).trim().parse().unwrap();
    assert!(sent > 500, "{sent}");
    // What comes after the lies is heard after them.
    let last = ours(&vhost, "w4", &[]);
    assert_eq!(agree(&vhost, &["w1", "w2", "w3", "w4"], 4), lead);
    watched_by(&vhost, &names, &watchers);
    told_once(&workers, "w4@test joined the party");
    for worker in &workers {
        let log = worker.log();
        for trouble in [
            "panicked",
            "missed heartbeat",
            "liar@test joined",
            "m1@test joined",
            "fake@test joined",
            "@test left",
            "following liar@test",
            "Connection to broker lost",
            "liar@test.1 elected",
        ] {
            assert!(!log.contains(trouble), "{trouble}: {log}");
        }
        assert!(log.contains("gossip: ignored"), "{log}");
        // Told now and then, not for each.
        assert!(
            log.lines().filter(|line| line.contains("WARN") && line.contains("gossip: ignored")).count() < 40,
            "{log}"
        );
        let count = ignored(worker);
        assert!(count > 100, "{count}");
        assert_eq!(worker.exit_status(), None);
    }
    drop(last);
    eventually(DEADLINE, "the last is missed", || {
        workers.iter().all(|worker| worker.log().contains("missed heartbeat from w4@test")).then_some(())
    });
}
