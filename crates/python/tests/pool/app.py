"""Tasks whose children are ended in all ways; results are files."""

import os
import time
from pathlib import Path

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

FOLDER = Path(os.environ["RESULTS"])
(FOLDER / "results").mkdir(exist_ok=True)

app = Celery("app", broker="memory://", backend=f"file://{FOLDER}/results")


@app.task
def add(x, y):
    return x + y


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True)
def again(self):
    raise self.retry(exc=KeyError("gone"), countdown=60)


@app.task
def busy(seconds):
    (FOLDER / "busy").write_text(str(os.getpid()))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


@app.task
def soft():
    try:
        busy(60)
    except SoftTimeLimitExceeded:
        return "soft"


@app.task(acks_late=True, reject_on_worker_lost=True)
def careful():
    """Dies the first time."""
    mark = FOLDER / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return "done"


@app.task(acks_late=True)
def careless():
    os.kill(os.getpid(), 9)


@app.task(bind=True)
def about(self):
    request = self.request
    return [request.id, request.hostname, request.delivery_info, request.headers, request.argsrepr]


@app.task(bind=True)
def leave(self):
    os._exit(3)
