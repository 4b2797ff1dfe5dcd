"""Python's side of the interop tests: reads requests as JSON from stdin, writes the answers to stdout."""
import json
import sys
from base64 import b64decode, b64encode
from datetime import datetime, timedelta, timezone

from celery import Celery
from celery.worker.request import Request
from kombu import compression, serialization
from kombu.message import Message

if 'application/zstd' not in compression.encoders():
    # kombu takes zstd from Python 3.14 or a backport; the format is the same.
    import zstandard
    compression.register(zstandard.compress, lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
                         'application/zstd', aliases=['zstd'])

ACCEPT = serialization.prepare_accept_content(['json', 'msgpack', 'yaml'])

app = Celery('interop', set_as_current=False)
app.conf.accept_content = ['json', 'msgpack', 'yaml']


@app.task(name='tasks.add')
def add(*args, **kwargs):
    """Only described, never run."""


def pack(value, serializer, compress):
    content_type, content_encoding, data = serialization.dumps(value, serializer)
    data, compress = compression.compress(data, compress) if compress else (data, None)
    data = data.encode() if isinstance(data, str) else data
    return {'content_type': content_type, 'content_encoding': content_encoding, 'compression': compress,
            'data': b64encode(data).decode()}


def unpack(body):
    data = b64decode(body['data'])
    if body['compression']:
        data = compression.decompress(data, body['compression'])
    return serialization.loads(data, body['content_type'], body['content_encoding'], accept=ACCEPT)


def echo(request):
    value = unpack(request['body'])
    return {'body': pack(value, request['serializer'], request['compress']), 'repr': repr(value)}


def receive(request):
    body = request['body']
    message = Message(b64decode(body['data']), content_type=body['content_type'], accept=ACCEPT,
                      content_encoding=body['content_encoding'], headers=request['headers'],
                      properties={'correlation_id': request['headers']['id']}, delivery_info={})
    task = Request(message, app=app)
    args, kwargs, embed = task._payload
    read = {'id': task.id, 'name': task.name, 'args': args, 'kwargs': kwargs, 'embed': embed, 'eta': task.eta,
            'expires': task.expires, 'limits': task.time_limits, 'retries': task.request_dict['retries'],
            'root': task.root_id, 'ignore_result': task.ignore_result, 'argsrepr': task.argsrepr}
    return {'body': pack(read, 'json', None)}


def send(request):
    """A call with every part that a message has, by either protocol."""
    make = getattr(app.amqp, request['protocol'])
    eta = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    arguments = {'args': (1, 'two', [3.0, None]), 'kwargs': {'key': {'nested': True}}, 'eta': eta,
                 'expires': eta + timedelta(hours=1), 'retries': 3, 'time_limit': 30.5, 'soft_time_limit': 20,
                 'callbacks': [dict(add.s(10))], 'errbacks': [dict(add.si('failed'))],
                 'chord': dict(add.s().set(queue='high')),
                 'group_id': 'g1', 'group_index': 2}
    task = make('c0ffee', 'tasks.add', **arguments)
    return {'headers': {key: value for key, value in task.headers.items()},
            'body': pack(task.body, request['serializer'], request['compress'])}


OPERATIONS = {'echo': echo, 'receive': receive, 'send': send}

json.dump([OPERATIONS[request['op']](request) for request in json.load(sys.stdin)], sys.stdout)
