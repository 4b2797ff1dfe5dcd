//! Python sends, we run, Python reads the results: by redis and by rpc.

use celeriac_testkit::{Python, Signal};

use super::{DEADLINE, worker};

/// Everything that a Python program does with tasks that it knows by name only.
const CLIENT: &str = r#"
import datetime, decimal, sys, uuid
from celery import Celery, chain, group, signature
from celery.exceptions import NotRegistered, TaskRevokedError

broker, backend = sys.argv[1:3]
app = Celery('client', broker=broker, backend=backend)
app.conf.update(accept_content=['json', 'msgpack', 'yaml'], result_accept_content=['json'], broker_connection_timeout=5)
TIMEOUT = 60

def send(name, *args, **options):
    return app.send_task(name, args, options.pop('kwargs', None), **options)

def get(name, *args, **options):
    return send(name, *args, **options).get(timeout=TIMEOUT)

def fails(error, text, name, *args, **options):
    try:
        value = get(name, *args, **options)
    except error as exc:
        assert text in str(exc), repr(exc)
    else:
        raise AssertionError(f'{name}{args} returned {value!r}')

assert get('tasks.add', 2, 3) == 5
assert get('tasks.add', 2, kwargs={'y': 3}) == 5
assert get('tasks.add', kwargs={'x': 2, 'y': 3}) == 5

values = [
    None, True, 0, -1, 2**53 + 1, 2**63 - 1, 2**200, 1.5, 1e300, float('inf'), '', 'naïve 𝄞 \u0000', [], [1, [2]], {},
    {'a': {'b': [None]}}, 'x' * 100_000,
]
for value in values:
    assert get('tasks.echo', value) == value, value
assert str(get('tasks.echo', float('nan'))) == 'nan'
for value in [
    b'bytes', b'\xff\x00', datetime.datetime(2024, 2, 29, 1, 2, 3, 456789), datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc), datetime.time(1, 2, 3), decimal.Decimal('1.10'),
    uuid.UUID(int=7),
]:
    assert get('tasks.echo', value) == value, value
for serializer in ['msgpack', 'yaml']:
    for value in [None, True, -7, 2**63 - 1, 1.5, 'naïve 𝄞', [1, [2]], {'a': {'b': [None]}}, 'yes', '12']:
        assert get('tasks.echo', value, serializer=serializer) == value, (serializer, value)
for compression in ['zlib', 'bzip2', 'lzma', 'zstd', 'brotli']:
    assert get('tasks.echo', 'x' * 10_000, compression=compression) == 'x' * 10_000, compression

fails(ValueError, 'it broke', 'tasks.fail', 'it broke')
result = send('tasks.fail', 'it broke')
assert isinstance(result.get(timeout=TIMEOUT, propagate=False), ValueError)
assert result.state == 'FAILURE' and 'ValueError: it broke' in result.traceback, result.traceback
fails(TypeError, 'missing 1 required positional argument', 'tasks.add', 1)
fails(TypeError, "unexpected keyword argument 'z'", 'tasks.add', 1, 2, kwargs={'z': 3})
fails(TypeError, 'takes 2 positional arguments but 3 were given', 'tasks.add', 1, 2, 3)
fails(TypeError, 'x', 'tasks.add', 'one', 2)
fails(NotRegistered, 'no.such.task', 'no.such.task')

assert get('tasks.flaky', 2) == 2
assert get('tasks.sleep', 0.01) == 0.01
assert get('tasks.block', 0.01) == 0.01
assert get('tasks.noop', 1, 'two', kwargs={'three': 3}) is None

before = datetime.datetime.now(datetime.timezone.utc)
assert get('tasks.add', 1, 2, countdown=0.5) == 3
assert datetime.datetime.now(datetime.timezone.utc) - before >= datetime.timedelta(seconds=0.5)
assert get('tasks.add', 1, 2, eta=before) == 3
assert get('tasks.add', 1, 2, expires=60, priority=3, headers={'x-mine': 'yes'}, shadow='shown') == 3
if backend != 'rpc://':
    # The broker drops what has expired, so its expiry lies between the delivery and the time that it waits for.
    fails(TaskRevokedError, 'expired', 'tasks.add', 1, 2, countdown=1, expires=0.5)
fails(Exception, '0.05', 'tasks.sleep', 60, time_limit=0.05)

add = lambda *args: signature('tasks.add', args, app=app)
assert chain(add(1, 1), add(2), add(3))().get(timeout=TIMEOUT) == 7
children = group(add(i, i) for i in range(20))()
assert children.get(timeout=TIMEOUT) == [2 * i for i in range(20)]
linked = str(uuid.uuid4())
assert get('tasks.add', 1, 1, link=add(10).set(task_id=linked)) == 2
if backend != 'rpc://':
    assert app.AsyncResult(linked).get(timeout=TIMEOUT) == 12

v2 = app.amqp.create_task_message
app.amqp.__dict__['create_task_message'] = app.amqp.as_task_v1
assert get('tasks.add', 3, 4) == 7
assert get('tasks.add', kwargs={'x': 3, 'y': 4}) == 7
app.amqp.__dict__['create_task_message'] = v2

results = [send('tasks.add', i, 1) for i in range(300)]
assert [result.get(timeout=TIMEOUT) for result in results] == [i + 1 for i in range(300)]

replies = app.control.ping(timeout=5, limit=1)
assert replies == [{'w1@test': {'ok': 'pong'}}], replies
print('done')
"#;

fn run(backend: &str) {
    let vhost = celeriac_testkit::rabbitmq().vhost();
    let accept = "accept_content=json,msgpack,yaml";
    let worker = worker(&vhost.url(), backend, &["-c", "4", "-n", "w1@test", accept]);
    let out = Python::find().run(CLIENT, &[&vhost.url(), backend], &[]);
    assert_eq!(out.trim(), "done", "{}", worker.log());
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
    assert!(!worker.log().contains("panicked"), "{}", worker.log());
}

#[test]
fn results_by_redis() {
    run(&celeriac_testkit::redis().fresh_url());
}

#[test]
fn results_by_rpc() {
    run("rpc://");
}

#[test]
fn a_producer_on_the_embedded_broker() {
    let dir = celeriac_testkit::TempDir::new();
    let file = dir.path().join("broker.db");
    let (broker, backend) = (format!("sqlite:{}", file.display()), celeriac_testkit::redis().fresh_url());
    let worker = worker(&broker, &backend, &["-c", "4", "-n", "w1@test"]);
    let script = r"
import sys
from celery import Celery
app = Celery('client', broker='sqla+sqlite:///' + sys.argv[1], backend=sys.argv[2])
results = [app.send_task('tasks.add', (i, 1)) for i in range(100)]
assert [result.get(timeout=60) for result in results] == [i + 1 for i in range(100)]
print('done')
";
    let out = Python::find().run(script, &[&file.to_string_lossy(), &backend], &[]);
    assert_eq!(out.trim(), "done", "{}", worker.log());
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(DEADLINE).code(), Some(0), "{}", worker.log());
}
