"""The Celery app of the tests: tasks named like those of the example `hello`, settings from the environment."""

import json
import os
import time

from celery import Celery

app = Celery('pyapp', broker=os.environ.get('BROKER'), backend=os.environ.get('BACKEND') or None)
app.conf.update(
    accept_content=['json', 'msgpack', 'yaml', 'pickle'],
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ.get('BROKER_OPTIONS') or '{}'),
    result_extended=os.environ.get('RESULT_EXTENDED') == '1',
    task_acks_late=os.environ.get('ACKS_LATE') == '1',
    task_compression=os.environ.get('COMPRESSION') or None,
    task_serializer=os.environ.get('SERIALIZER', 'json'),
    result_serializer=os.environ.get('RESULT_SERIALIZER', 'json'),
)


@app.task(name='tasks.add')
def add(x, y):
    return x + y


@app.task(name='tasks.noop')
def noop(*args, **kwargs):
    return None


@app.task(name='tasks.echo')
def echo(value):
    return value


@app.task(name='tasks.fail')
def fail(message):
    raise ValueError(message)


@app.task(name='tasks.flaky', bind=True, max_retries=None)
def flaky(self, times):
    """Fails and retries `times` times, then returns how often it did."""
    if self.request.retries < times:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(name='tasks.sleep')
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name='tasks.xsum')
def xsum(numbers):
    return sum(numbers)
