"""What checks are made of: they return what came of tasks, and two workers are compared by that."""

import time

from .celery import app, journal

TIMEOUT = 60
CHECKS = {}

#: The last event of a task in that state.
ENDS = {"SUCCESS": "task-succeeded", "FAILURE": "task-failed", "REVOKED": "task-revoked"}


def check(function):
    """Registers a check under its name."""
    CHECKS[function.__name__] = function
    return function


def told(result, heard):
    """All that a client learns of a task that has ended, once its last event is there as well."""
    result.get(timeout=TIMEOUT, propagate=False)
    heard.wait(result.id, ENDS[result.state])
    meta = dict(result.backend.get_task_meta(result.id, cache=False))
    meta.pop("date_done", None)
    meta["result"] = repr(meta["result"])
    meta["children"] = len(meta.get("children") or ())
    return {**meta, "journal": journal(result.id)}


def eventually(condition):
    """What `condition` gives, as soon as that is true."""
    deadline = time.monotonic() + TIMEOUT
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.01)
    return value


class Heard:
    """The events of all workers, by Celery's own receiver."""

    def __init__(self):
        self.events = []

    def listen(self, connection, ready):
        receiver = app.events.Receiver(connection, handlers={"*": self.events.append})
        receiver.on_consume_ready = lambda *_, **__: ready.set()
        receiver.capture(limit=None, timeout=None)

    def wait(self, task_id, kind):
        """Returns once there was such an event of the task."""

        def there():
            return any(event.get("uuid") == task_id and event["type"] == kind for event in list(self.events))

        eventually(there)
