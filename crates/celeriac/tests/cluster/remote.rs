//! `celery inspect` and `celery control` of Python against a worker of Python's and one of ours.

use std::process::Command;

use celeriac_testkit::{PYAPP, Process, Python, Signal, example_bin, rabbitmq};

use super::{DEADLINE, ours, python, theirs};

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
# The pool is of another kind; the client library does not tell its heartbeat; what the cluster costs is told by ours alone.
same('stats', lambda answer: {**answer, 'total': {}, 'pool': {}, 'broker': {**answer['broker'], 'heartbeat': None}, 'celeriac': {}})
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
# Of ours alone: a Python candidate decides by its own acknowledgement here, and raises when that comes first.
elected = app.control.broadcast('election', arguments={'id': 'e', 'topic': 'none'}, destination=[ours], reply=True, timeout=30)
assert elected == [{ours: None}], elected
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
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    assert!(worker.log().contains("Got shutdown from remote"), "{}", worker.log());
}

/// Every command, by Celery's own command line.
const COMMAND_LINE: &str = r#"
import io, contextlib, re
from celery.bin.celery import celery
from celery.worker.control import Panel

def run(*args):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            celery(['-A', 'pyapp', '-C', *args], standalone_mode=False)
        except SystemExit as exit:
            assert not exit.code, (args, exit.code)
    return out.getvalue()

both = 'rs@test,py@test'

def answers(*args, nodes=both):
    """What each node answers, as it is shown; who is named need not wait for others."""
    out = run(args[0], '-t', '30', '-d', nodes, *args[1:])
    parts = re.split(r'^->  (\S+): ', out, flags=re.M)[1:]
    told = dict(zip(parts[::2], map(str.strip, parts[1::2])))
    assert set(told) == set(nodes.split(',')), (args, out)
    return told

def names(kind):
    return {name for name, info in Panel.meta.items() if info.type == kind and info.visible}

arguments = {'query_task': ['some-id'], 'memdump': ['1']}
for name in names('inspect') - {'objgraph'}:
    told = answers('inspect', name, *arguments.get(name, []))
    assert all(answer.startswith('OK') for answer in told.values()), (name, told)
assert answers('inspect', 'objgraph', nodes='rs@test')['rs@test'].startswith('ERROR')

tells = [
    ('revoke', 'r1'), ('revoke_by_stamped_headers', 'team=red'), ('terminate', 'KILL', 'r2'),
    ('rate_limit', 'tasks.add', '10/m'), ('rate_limit', 'tasks.add', 'soon'), ('rate_limit', 'no.such', '1/s'),
    ('time_limit', 'tasks.add', '30', '60'), ('time_limit', 'no.such', '30'),
    ('add_consumer', 'extra'), ('add_consumer', 'more', 'ex', 'topic', 'a.*'), ('cancel_consumer', 'extra'),
    ('enable_events',), ('enable_events',), ('disable_events',), ('disable_events',), ('heartbeat',), ('election',),
    ('autoscale', '4', '2'), ('pool_restart',),
]
wrong = []
for name, *rest in tells:
    told = answers('control', name, *rest)
    if told['rs@test'] != told['py@test']:
        wrong.append((name, rest, told))
assert not wrong, '\n'.join(map(repr, wrong))
assert 'new rate limit set successfully' in answers('control', 'rate_limit', 'tasks.add', '20/m')['rs@test']
for name in ['pool_grow', 'pool_shrink']:
    told = answers('control', name, '1', nodes='rs@test')
    assert f'pool will {name[5:]}' in told['rs@test'], told
# Shutting down comes last.
assert names('control') == {name for name, *_ in tells} | {'pool_grow', 'pool_shrink', 'shutdown'}
out = run('status', '-t', '30', '-d', both)
assert '->  rs@test: OK' in out and '2 nodes online.' in out, out
print('done')
"#;

#[test]
fn both_command_lines_work_on_both() {
    let vhost = rabbitmq().vhost();
    let worker = ours(&vhost, "rs", &[]);
    let _python_worker = theirs(&vhost, "py", &[]);
    assert_eq!(python(&vhost, COMMAND_LINE).trim(), "done", "{}", worker.log());
    for name in ["active", "registered", "stats", "conf", "active_queues"] {
        let mut command = Command::new(example_bin("hello"));
        command.args(["-b", &vhost.url(), "-C", "inspect", "-t", "30", "-d", "rs@test,py@test", name]);
        let asking = Process::start(&command);
        assert_eq!(asking.wait(DEADLINE).code(), Some(0), "{name}: {}", asking.log());
        let out = asking.stdout();
        assert!(out.contains("->  rs@test: OK") && out.contains("->  py@test: OK"), "{name}: {out}");
    }
    let shutdown = Python::find()
        .command()
        .args(["-m", "celery", "-A", "pyapp", "control", "-t", "30", "-d", "rs@test", "shutdown"])
        .current_dir(PYAPP)
        .env("BROKER", vhost.url())
        .output();
    shutdown.unwrap();
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
}

#[test]
fn celerys_dump_prints_our_events() {
    let vhost = rabbitmq().vhost();
    let mut command = Python::find().command();
    command.args(["-m", "celery", "-A", "pyapp", "events", "--dump"]).current_dir(PYAPP);
    let dump = Process::start(command.env("BROKER", vhost.url()));
    dump.wait_for_line("starting capture", DEADLINE);
    let worker = ours(&vhost, "rs", &["-E"]);
    // It listens a moment after it says so: each heartbeat is another chance.
    dump.wait_for_line("rs@test", DEADLINE);
    let id = python(&vhost, "print(app.send_task('tasks.add', (2, 3)).id)");
    for subject in ["received", "started", "succeeded"] {
        let line = dump.wait_for_line(&format!("task {subject}: tasks.add({})", id.trim()), DEADLINE);
        assert!(line.starts_with("rs@test ["), "{line}");
    }
    worker.signal(Signal::TERM);
    dump.wait_for_line("shutdown", DEADLINE);
}
