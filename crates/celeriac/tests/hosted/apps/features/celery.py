"""The app, by its environment."""

import os

from celery import Celery
from kombu import Queue

MODULES = ["canvas", "carried", "deaths", "logs", "outcomes", "timing"]

app = Celery(
    "features",
    broker=os.environ["BROKER"],
    backend=os.environ["BACKEND"],
    include=[f"features.{module}" for module in MODULES],
)
app.conf.update(
    accept_content=["json", "msgpack", "yaml", "pickle"],
    broker_connection_retry_on_startup=True,
    result_extended=True,
    task_queues=[Queue("celery"), Queue("limited"), Queue("ranked", queue_arguments={"x-max-priority": 9})],
    task_send_sent_event=True,
    task_track_started=True,
)


def note(task_id, text):
    """Writes down what happened to a task, where its check reads it."""
    app.backend.client.rpush(f"journal:{task_id}", text)


def journal(task_id):
    """What was written down of a task, in order."""
    return [text.decode() for text in app.backend.client.lrange(f"journal:{task_id}", 0, -1)]


def first_time(task_id):
    """Whether a task that comes again after a death runs for the first time."""
    return app.backend.client.incr(f"runs:{task_id}") == 1
