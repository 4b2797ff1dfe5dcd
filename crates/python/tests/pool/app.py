"""Tasks whose children are ended in all ways; results are files."""

import asyncio
import hashlib
import os
import socket
import threading
import time
from contextlib import suppress
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


@app.task(acks_late=True)
def carefully_busy(seconds):
    busy(seconds)


@app.task
def pid():
    return os.getpid()


@app.task
def until(name=None):
    """Ends when somebody has made a file; without a name at once."""
    if name:
        (FOLDER / f"{name}-waits").write_text(threading.current_thread().name)
    while name and not (FOLDER / name).exists():
        time.sleep(0.005)


def met(task, count):
    """Whether so many tasks have begun."""
    (FOLDER / f"meets-{count}-{task.request.id}").touch()
    return len(list(FOLDER.glob(f"meets-{count}-*"))) == count


@app.task(bind=True)
def meet(self, count):
    while not met(self, count):
        time.sleep(0.005)
    return os.getpid()


@app.task(bind=True)
async def converse(self, count):
    while not met(self, count):
        await asyncio.sleep(0.005)
    return [self.request.id, os.getpid()]


@app.task
async def doze(name):
    """Sleeps on, and says when it is woken."""
    (FOLDER / name).write_text(str(os.getpid()))
    try:
        await asyncio.sleep(60)
    finally:
        (FOLDER / f"{name}-woken").write_text("woken")


@app.task
async def heed():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "heeded"


@app.task(bind=True)
def about(self):
    request = self.request
    return [request.id, request.hostname, request.delivery_info, request.headers, request.argsrepr]


@app.task(bind=True)
def leave(self):
    os._exit(3)


def descriptors():
    return [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]


@app.task
def poison(how):
    """Does to its own process what no task should."""
    if how == "hangs":  # in C code, and no handler of a signal runs
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    if how == "forks" and os.fork() == 0:
        return "of the copy"
    if how == "closes":
        for fd in descriptors():
            with suppress(OSError):
                os.close(fd)
    if how == "babbles":
        for fd in descriptors():
            with suppress(OSError):
                socket.socket(fileno=os.dup(fd)).send(b"garbage")
        time.sleep(60)
    return os.getpid()
