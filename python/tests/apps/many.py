"""Tasks for the pools that run many at a time."""

import asyncio
import os
import threading
import time
from pathlib import Path

import billiard.process
from celery import Celery, current_task
from celery.signals import celeryd_init, worker_process_init

FOLDER = Path(os.environ.get("RESULTS", "."))
(FOLDER / "results").mkdir(exist_ok=True)

app = Celery("many", broker="memory://", backend=f"file://{FOLDER}/results")


@celeryd_init.connect
def settings(conf, **_):
    conf.task_soft_time_limit = 21


@worker_process_init.connect
def note(**_):
    (FOLDER / "process_init").write_text(billiard.process.current_process().name)


async def together(count):
    """Returns when `count` tasks are in here."""
    (FOLDER / f"in-{current_task.request.id}").touch()
    while len(list(FOLDER.glob("in-*"))) < count:
        await asyncio.sleep(0.005)


@app.task(bind=True)
async def meet(self, count):
    await together(count)
    return [self.request.id, self.request.retries, threading.current_thread().name]


@app.task(bind=True, autoretry_for=(KeyError,), retry_backoff=False, default_retry_delay=1)
async def flaky(self):
    await asyncio.sleep(0)
    raise KeyError(self.request.id)


@app.task
async def sleeper(name):
    (FOLDER / f"{name}-sleeps").touch()
    try:
        await asyncio.sleep(60)
    finally:
        (FOLDER / f"{name}-woke").touch()


@app.task
async def listener(name):
    (FOLDER / f"{name}-sleeps").touch()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "in time"


@app.task(bind=True)
def meet_in_threads(self, count):
    (FOLDER / f"in-{self.request.id}").touch()
    while len(list(FOLDER.glob("in-*"))) < count:
        time.sleep(0.005)
    return [self.request.id, threading.current_thread().name, billiard.process.current_process().name, os.getpid()]


@app.task
def leave():
    raise SystemExit(3)


@app.task
def about():
    process = billiard.process.current_process()
    return {
        "name": process.name,
        "daemon": process.daemon,
        "execv": os.environ.get("FORKED_BY_MULTIPROCESSING"),
        "conf": [app.conf.task_time_limit, app.conf.task_soft_time_limit],
        "thread": threading.current_thread().name,
    }


IMPORTED = os.getpid()


@app.task
def own_import():
    return IMPORTED == os.getpid()
