"""What a message carries to a task and back."""

import datetime
import decimal
import uuid

from .celery import app
from .check import TIMEOUT, check, eventually, told

#: A number, a name or a place that differs from run to run; what it is called says enough.
VARYING = {"origin", "reply_to", "correlation_id", "eta", "expires", "expiration", "delivery_tag", "consumer_tag"}


@app.task(bind=True)
def request(self, *args, **kwargs):
    return {name: shown(name, value) for name, value in vars(self.request).items()}


@app.task(bind=True)
def echo(self, value):
    return value


@app.task(bind=True)
def old(self, *args, **kwargs):
    return repr((args, kwargs, self.request.id is not None, self.request.retries))


def shown(name, value):
    if name in VARYING and value is not None:
        return type(value).__name__
    if isinstance(value, dict):
        return {key: shown(key, inner) for key, inner in sorted(value.items())}
    return repr(value)


@check
def requests(heard):
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)
    options = [
        {},
        {"headers": {"customer": "c1"}, "shadow": "another", "priority": 3, "time_limit": 50, "soft_time_limit": 40.0},
        {"countdown": 0.1, "expires": later, "argsrepr": "(hidden)", "kwargsrepr": "{hidden}", "serializer": "yaml"},
        {"ignore_result": True},
        {"replaced_task_nesting": 1, "group_id": "g1", "group_index": 4},
        {"queue": "ranked", "priority": 9},
        {"compression": "zlib", "serializer": "msgpack"},
    ]
    results = [request.apply_async((1, "two"), {"three": 3}, **option) for option in options]
    heard.wait(results[3].id, "task-succeeded")
    del results[3]
    return [[result.get(timeout=TIMEOUT), told(result, heard)] for result in results]


@check
def old_protocol(heard):
    message = app.amqp.as_task_v1(str(uuid.uuid4()), old.name, (1,), {"two": 2})
    with app.producer_or_acquire() as producer:
        app.amqp.send_task_message(producer, old.name, message)
    shown = told(app.AsyncResult(message.body["id"]), heard)
    return [shown[name] for name in ("status", "args", "kwargs", "name", "retries")]


@check
def serializers(heard):
    plain = [None, True, -7, 2**63 - 1, 1.5, "naïve 𝄞", [1, [2]], {"a": {"b": [None]}}]
    values = {
        "json": [*plain, decimal.Decimal("1.10"), uuid.UUID(int=7), datetime.date(2024, 2, 29), b"\xff"],
        "msgpack": plain,
        "yaml": plain,
        "pickle": [*plain, (1, 2), decimal.Decimal("1.10"), datetime.timedelta(seconds=1).total_seconds()],
    }
    for serializer, list_ in values.items():
        results = [echo.apply_async((value,), serializer=serializer) for value in list_]
        yield [serializer, [repr(result.get(timeout=TIMEOUT)) for result in results]]


@check
def priorities(heard):
    """What waits when a worker begins to consume is delivered by its rank."""
    asked = {"destination": ["w1@test"], "reply": True, "timeout": TIMEOUT, "limit": 1}
    app.control.cancel_consumer("ranked", **asked)
    with app.connection_for_write() as connection:
        queue = app.amqp.queues["ranked"].bind(connection.default_channel)
        eventually(lambda: queue.queue_declare(passive=True).consumer_count == 0)
        results = {echo.apply_async((rank,), queue="ranked", priority=rank): rank for rank in (1, 9, 5)}
        eventually(lambda: queue.queue_declare(passive=True).message_count == len(results))
    said = app.control.add_consumer("ranked", **asked)
    ranks = {result.id: result.get(timeout=TIMEOUT) for result in results}
    received = [event["uuid"] for event in heard.events if event["type"] == "task-received"]
    return [said, [ranks[task_id] for task_id in received if task_id in ranks]]


@check
def compressions(heard):
    for compression in ["zlib", "bzip2", "lzma", "zstd", "brotli"]:
        large = echo.apply_async(("x" * 300_000,), compression=compression)
        yield [compression, len(large.get(timeout=TIMEOUT))]


@check
def refused_content(heard):
    """What is no task, or of a type that nobody accepts, is logged and dropped, and the worker goes on."""
    with app.producer_or_acquire() as producer:
        unknown = {"content_type": "application/x-unknown", "content_encoding": "binary"}
        producer.publish("no task", serializer="json", routing_key="celery", exchange="")
        producer.publish(b"?", **unknown, routing_key="celery", exchange="")
    return echo.delay("still there").get(timeout=TIMEOUT)
