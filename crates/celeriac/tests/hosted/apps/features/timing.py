"""When tasks run, and what keeps them from it."""

import datetime
import time
import uuid

import celery
import kombu

from .celery import app, journal, note
from .check import TIMEOUT, check, eventually, told


@app.task(bind=True)
def now(self):
    note(self.request.id, time.time())


@app.task(rate_limit="1/s", bind=True)
def limited(self):
    note("limited", time.monotonic())


@app.task(bind=True)
def sleeps(self):
    note(self.request.id, "begun")
    time.sleep(TIMEOUT)


def revoke(result, **options):
    """By one worker only: the other one would mark it, too, at about the same time."""
    app.control.revoke(result.id, destination=["w1@test"], **options)


@check
def etas(heard):
    eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    calls = [now.apply_async(countdown=1), now.apply_async(eta=eta), now.apply_async(eta=eta.replace(year=2001))]
    for call in calls:
        call.get(timeout=TIMEOUT)
    return [float(journal(call.id)[0]) >= eta.timestamp() - 0.01 for call in calls]


@check
def expiries(heard):
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)
    calls = [now.apply_async(countdown=1, expires=0.5), now.apply_async(expires=past), now.apply_async(expires=60)]
    return [[result.state, told_state] for result, told_state in ((call, ended(call, heard)) for call in calls)]


def ended(result, heard):
    shown = told(result, heard)
    return shown if result.state == "REVOKED" else shown["status"]


@check
def rates(heard):
    for result in [limited.delay() for _ in range(4)]:
        result.get(timeout=TIMEOUT)
    times = [float(at) for at in journal("limited")]
    # An older Celery lets further tasks go at once after the first ones; one that begins late has the next close behind it.
    return times[-1] - times[0] > (2 if kombu.VERSION >= (5, 7) else 0.8)


@check
def revokes(heard):
    waiting, stamped = now.apply_async(countdown=3), now.apply_async(countdown=3, headers=STAMP)
    heard.wait(waiting.id, "task-received")
    heard.wait(stamped.id, "task-received")
    revoke(waiting)
    app.control.revoke_by_stamped_headers({"customer": ["c9"]})
    return [told(waiting, heard), told(stamped, heard)]


STAMP = {"stamped_headers": ["customer"], "stamps": {"customer": ["c9"]}, "customer": ["c9"]}


@app.task(bind=True, track_started=False)
def waits(self):
    note(self.request.id, "begun")
    app.backend.client.blpop(f"go:{self.request.id}", TIMEOUT)
    return "ended"


def revoked_while_it_runs(heard):
    """Marked or not (Celery 5.7), it runs on."""
    running, nobody = waits.delay(), app.AsyncResult(str(uuid.uuid4()))
    eventually(lambda: journal(running.id))
    heard.wait(running.id, "task-started")
    revoke(running)
    revoke(nobody)
    eventually(lambda: nobody.state == "REVOKED")
    state = running.state
    app.backend.client.rpush(f"go:{running.id}", "now")
    heard.wait(running.id, "task-succeeded")
    return [state, running.state]


if celery.VERSION >= (5, 6):  # before, Celery stores nothing of a revoke until the task would run
    check(revoked_while_it_runs)


@check
def terminations(heard):
    for signal in ("SIGTERM", "SIGKILL", "SIGUSR2", "SIGTRAP"):
        running = sleeps.delay()
        eventually(lambda: journal(running.id))
        heard.wait(running.id, "task-started")
        revoke(running, terminate=True, signal=signal)
        yield [signal, told(running, heard)]


@check
def inspections(heard):
    running, waiting = sleeps.apply_async((), {}), now.apply_async(countdown=50)
    heard.wait(running.id, "task-started")
    heard.wait(waiting.id, "task-received")
    inspect = app.control.inspect(["w1@test"], timeout=5)
    asked = {"active": inspect.active(), "scheduled": inspect.scheduled(), "query": inspect.query_task(running.id)}
    revoke(running, terminate=True)
    revoke(waiting)
    told(running, heard)
    return {
        **{name: shapes(answer) for name, answer in asked.items()},
        "registered": inspect.registered(),
        "conf": sorted(set(inspect.conf()["w1@test"]) - OF_THE_COMMAND),
        "queues": sorted(queue["name"] for queue in inspect.active_queues()["w1@test"]),
        "stats": sorted(set(inspect.stats()["w1@test"]) - {"celeriac"}),
        "pool": sorted(inspect.stats()["w1@test"]["pool"]),
        "writes": sorted(inspect.stats()["w1@test"]["pool"].get("writes", ())),
        "report": inspect.report()["w1@test"]["ok"].partition("billiard:")[2].partition("settings ->")[0],
    }


#: What Celery's command adds to the settings by itself.
OF_THE_COMMAND = {"deprecated_settings", "worker_disable_prefetch"}


def shapes(value):
    """What an answer is made of: it is about a moment that no two workers share."""
    if isinstance(value, dict):
        return {key: shapes(inner) for key, inner in value.items() if key != "args"}
    return [shapes(inner) for inner in value][:1] if isinstance(value, list) else type(value).__name__
