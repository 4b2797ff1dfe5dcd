//! `celery inspect` and `celery control` of Python against a worker of Python's and one of ours.

use celeriac_testkit::rabbitmq;

use super::{ours, python, theirs};

/// Compares the shapes of the answers: names of keys, kinds of values, texts but for what names the node.
const COMPARE: &str = r#"
import time
from celery.app.control import Inspect

ours, theirs = 'rs@test', 'py@test'
wrong = []

def shape(value):
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    if isinstance(value, bool) or value is None:
        return 'flag or null'
    return 'number' if isinstance(value, (int, float)) else 'text'

def ask(method, **arguments):
    replies = app.control.broadcast(method, arguments=arguments, reply=True, timeout=30, limit=2)
    merged = {node: answer for reply in replies for node, answer in reply.items()}
    assert set(merged) == {ours, theirs}, (method, merged)
    return merged

def same(method, pick=lambda answer: answer, shapes=shape, **arguments):
    merged = ask(method, **arguments)
    mine, other = shapes(pick(merged[ours])), shapes(pick(merged[theirs]))
    if mine != other:
        wrong.append((method, arguments, mine, other))

exactly = lambda answer: answer
same('ping', shapes=exactly)
same('clock')
same('revoked', shapes=exactly)
same('active', shapes=exactly)
same('reserved', shapes=exactly)
same('scheduled', shapes=exactly)
same('active_queues', shapes=exactly)
same('query_task', ids=['nobody'], shapes=exactly)
sampled = ask('memsample')[ours]  # Python has none without psutil.
assert sampled.endswith('MB') and float(sampled[:-2]) > 0, sampled
same('memdump', samples=1)
same('report')
# The pool is of another kind; the client library does not tell its heartbeat.
same('stats', lambda answer: {**answer, 'total': {}, 'pool': {}, 'broker': {**answer['broker'], 'heartbeat': None}})
pool = ask('stats')[ours]['pool']
assert pool['max-concurrency'] == 2 and len(pool['processes']) == 1 and pool['timeouts'] == [0, 0], pool
conf = ask('conf')
assert isinstance(conf[ours], dict) and conf[ours]['broker_url'].startswith('amqp://guest:********@'), conf[ours]
registered = ask('registered')[ours]
assert {'tasks.add', 'tasks.sleep'} <= set(registered), registered
for old, new in [('dump_conf', 'conf'), ('dump_active', 'active'), ('dump_reserved', 'reserved'), ('dump_schedule', 'scheduled'),
                 ('dump_revoked', 'revoked'), ('dump_tasks', 'registered')]:
    same(old, shapes=lambda answer: type(answer).__name__)
same('registered', lambda answer: [line for line in answer if line.startswith('tasks.add')], shapes=exactly, taskinfoitems=['rate_limit'])

same('revoke', task_id='r1', shapes=exactly)
same('revoke', task_id=['r2'], terminate=True, signal='SIGKILL', shapes=exactly)
same('revoke', task_id='r3', terminate=True, signal='SIGNONE', shapes=lambda answer: list(answer))
same('terminate', signal='KILL', task_id=['r2'], shapes=exactly)
same('revoke_by_stamped_headers', headers={'team': 'red'}, shapes=exactly)
same('revoke_by_stamped_headers', headers={'team': ['a', 'b']}, terminate=True, shapes=exactly)
same('rate_limit', task_name='tasks.add', rate_limit='10/m', shapes=exactly)
same('registered', lambda answer: [line for line in answer if line.startswith('tasks.add')], shapes=exactly)
same('rate_limit', task_name='tasks.add', rate_limit=0, shapes=exactly)
same('rate_limit', task_name='no.such', rate_limit='1/s', shapes=exactly)
same('rate_limit', task_name='tasks.add', rate_limit='soon', shapes=exactly)
same('time_limit', task_name='tasks.add', soft=30, hard=60, shapes=exactly)
same('time_limit', task_name='no.such', shapes=exactly)
same('add_consumer', queue='extra', shapes=exactly)
same('cancel_consumer', queue='extra', shapes=exactly)
same('autoscale', max=4, min=2, shapes=exactly)
same('pool_restart', shapes=exactly)
same('enable_events', shapes=exactly)
same('enable_events', shapes=exactly)
same('disable_events', shapes=exactly)
same('disable_events', shapes=exactly)
same('heartbeat', shapes=exactly)
same('election', id='e', topic='none', shapes=exactly)
same('nonsense', shapes=exactly)
same('ping', shapes=exactly, unexpected=1)
same('clock', shapes=lambda answer: list(answer), unexpected=1)
for method in ['pool_grow', 'pool_shrink']:
    reply = app.control.broadcast(method, arguments={'n': 1}, destination=[ours], reply=True, timeout=30)
    assert reply == [{ours: {'ok': 'pool will ' + method[5:]}}], reply

by_glob = app.control.broadcast('ping', pattern='rs*', matcher='glob', reply=True, timeout=30, limit=1)
assert by_glob == [{ours: {'ok': 'pong'}}], by_glob
by_regex = app.control.broadcast('ping', pattern='r.@', matcher='pcre', reply=True, timeout=30, limit=1)
assert by_regex == [{ours: {'ok': 'pong'}}], by_regex
assert not wrong, '\n'.join(map(repr, wrong))

# A task of each kind, as both tell of it.
def running(node):
    return app.control.inspect(destination=[node], timeout=30, limit=1)

def until(probe):
    for _ in range(600):
        found = probe()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError('not in time')

app.control.cancel_consumer('celery', destination=[theirs], reply=True, timeout=30)
app.control.add_consumer('theirs', destination=[theirs], reply=True, timeout=30)
kinds = {}
for node, queue in [(ours, 'celery'), (theirs, 'theirs')]:
    later = app.send_task('tasks.add', (1, 2), countdown=600, queue=queue)
    kinds[node] = until(lambda: running(node).scheduled()[node])[0]
    app.control.revoke(later.id)
one, other = kinds[ours], kinds[theirs]
assert shape(one) == shape(other), (one, other)
assert list(one) == list(other) and list(one['request']) == list(other['request']), (one, other)

long = app.send_task('tasks.sleep', (600,))
until(lambda: running(ours).active()[ours])
found = running(ours).query_task([long.id])[ours][long.id]
assert found[0] == 'active' and found[1]['args'] == [600] and found[1]['time_start'] > 1e9, found
assert list(found[1]) == ['id', 'name', 'args', 'kwargs', 'type', 'hostname', 'time_start', 'acknowledged', 'delivery_info', 'worker_pid'], found
reply = app.control.revoke(long.id, terminate=True, signal='SIGKILL', destination=[ours], reply=True, timeout=30)
assert reply == [{ours: {'ok': f'terminate: {long.id}'}}], reply
until(lambda: not running(ours).active()[ours])
app.control.shutdown(destination=[ours])
print('done')
"#;

#[test]
fn both_answer_alike() {
    let vhost = rabbitmq().vhost();
    let worker = ours(&vhost, "rs", &[]);
    let python_worker = theirs(&vhost, "py", &[]);
    let out = python(&vhost, COMPARE);
    assert_eq!(out.trim(), "done", "{}\n{}", worker.log(), python_worker.log());
    assert_eq!(worker.wait(super::DEADLINE).code(), Some(0), "{}", worker.log());
    assert!(worker.log().contains("Got shutdown from remote"), "{}", worker.log());
}
