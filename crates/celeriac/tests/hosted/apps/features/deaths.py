"""Tasks that take their process with them, or run for too long."""

import os
import signal
import time

import celery
from celery.exceptions import SoftTimeLimitExceeded

from .celery import app, first_time, journal, note
from .check import TIMEOUT, check, told


def die(task, how):
    """Once the worker is known to know that the task runs: Celery's gives what dies earlier to another child."""
    app.backend.client.blpop(f"die:{task.request.id}", TIMEOUT)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(TIMEOUT)


@app.task(bind=True)
def dies(self, how):
    die(self, how)


@app.task(bind=True, acks_late=True)
def dies_late(self, how):
    die(self, how)


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def dies_once(self, how):
    if first_time(self.request.id):
        die(self, how)
    return "came again"


@app.task(bind=True)
def long(self, catches=False):
    try:
        time.sleep(TIMEOUT)
    except SoftTimeLimitExceeded:
        note(self.request.id, "soft limit")
        if not catches:
            raise
    return "ended in time"


@app.task(soft_time_limit=1)
def limited_by_whole_seconds():
    time.sleep(TIMEOUT)


@app.task(soft_time_limit=1.0)
def limited_by_float():
    time.sleep(TIMEOUT)


@app.task(time_limit=1.0)
def limited_hard():
    time.sleep(TIMEOUT)


@app.task(bind=True, acks_late=True, acks_on_failure_or_timeout=False)
def long_once(self):
    if first_time(self.request.id):
        time.sleep(TIMEOUT)
    return "came again"


@app.task(bind=True)
def pid(self):
    note(self.request.id, os.getpid())


@check
def lost(heard):
    calls = [task.delay(how) for task in (dies, dies_late, dies_once) for how in ("exit", "SIGKILL", "SIGSEGV")]
    for result in calls:
        heard.wait(result.id, "task-started")
        app.backend.client.rpush(f"die:{result.id}", "now")
    return [told(result, heard) for result in calls]


@check
def limits(heard):
    calls = [
        long.apply_async(soft_time_limit=0.5),
        long.apply_async((True,), soft_time_limit=0.5, time_limit=50),
        long.apply_async(time_limit=1.0),
        long.apply_async((True,), soft_time_limit=0.5),
        limited_by_whole_seconds.delay(),
        limited_by_float.delay(),
        limited_hard.delay(),
    ]
    again = long_once.apply_async(time_limit=1)
    if celery.VERSION >= (5, 5):  # an older one drops it
        heard.wait(again.id, "task-succeeded")
    return [told(result, heard) for result in (*calls, again)]


@check
def limits_of_the_worker(heard):
    """The second worker: its own limits, and children that end after two tasks."""
    pids = []
    for _ in range(5):
        result = pid.apply_async(queue="limited")
        result.get(timeout=TIMEOUT)
        pids += journal(result.id)
    calls = [long.apply_async((catches,), queue="limited") for catches in (True, False)]
    return [[pids.index(each) for each in pids], [told(result, heard) for result in calls]]
