"""An app that listens to every signal, and leaves a note for each."""

import os
from pathlib import Path

from celery import Celery, signals
from celery.worker.control import control_command, inspect_command
from kombu import Exchange, Queue, binding

FOLDER = Path(os.environ.get("RESULTS", "."))

app = Celery("signals", broker="amqp://me:secret@one//;amqp://two//", backend="cache+memory://")
app.conf.task_queues = [
    Queue("a", Exchange("ex", "topic"), routing_key="a.#", queue_arguments={"x-max-priority": 9}),
    Queue("b", bindings=[binding(Exchange("ex", "topic"), routing_key="b.#")]),
]
app.conf.broker_transport_options = {"confirm_publish": True}


def leave(name):
    def receiver(sender=None, **arguments):
        arguments.pop("signal")
        known = {key: repr(value) for key, value in sorted(arguments.items())}
        with open(FOLDER / name, "a") as note:
            print(name, os.getpid(), type(sender).__name__, sender, known, file=note)

    return receiver


for name, one in vars(signals).copy().items():
    if isinstance(one, signals.Signal) and name != "setup_logging":
        one.connect(leave(name), weak=False)


@signals.celeryd_init.connect
def settings(conf, instance, **_):
    conf.worker_prefetch_multiplier = 7
    instance.seen = []


@signals.worker_init.connect
def started(sender, **_):
    sender.app.conf.task_time_limit = 33


@signals.celeryd_after_setup.connect
def queue(sender, instance, **_):
    instance.app.amqp.queues.select_add("late")


@app.task
def noop():
    pass


@control_command(args=[("n", int)], signature="[N=1]")
def twice(state, n=1):
    """Doubles a number."""
    return {"ok": 2 * n, "app": state.app.main, "host": state.hostname}


@inspect_command()
def broken(state):
    raise ValueError("broken")
