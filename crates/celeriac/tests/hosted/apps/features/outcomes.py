"""How tasks end, and what is called then."""

import celery
import pydantic
from celery import Task
from celery.exceptions import Ignore, Reject

from .celery import app, first_time, journal, note
from .check import TIMEOUT, check, eventually, told


class Noting(Task):
    """A base whose handlers write down that they were called."""

    def before_start(self, task_id, args, kwargs):
        note(task_id, f"before_start {args} {kwargs}")

    def on_success(self, retval, task_id, args, kwargs):
        note(task_id, f"on_success {retval!r} {args} {kwargs}")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note(task_id, f"on_failure {exc!r} {args} {kwargs} {type(einfo).__name__}")

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note(task_id, f"on_retry {exc!r} {args} {kwargs} {type(einfo).__name__}")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note(task_id, f"after_return {status} {retval!r} {type(einfo).__name__}")


class Counting(Noting):
    """A class-based task: one object for each process, with a name of its own."""

    name = "features.counting"
    seen = 0

    def run(self, step):
        self.seen += step
        return self.seen >= step


counting = app.register_task(Counting())


class Odd(Exception):
    """Takes what no pickle of it has."""

    def __init__(self, number, *, why):
        super().__init__(f"{number}: {why}")
        self.number = number


@app.task(base=Noting, bind=True)
def ends(self, how):
    if how == "ignore":
        self.update_state(state="MINE", meta={"progress": 1})
        raise Ignore()
    if how == "reject":
        raise Reject("not today")
    if how == "requeue":
        if first_time(self.request.id):
            raise Reject("once more", requeue=True)
        return "came again"
    if how == "odd":
        raise Odd(7, why="odd")
    if how == "caused":
        try:
            {}["missing"]
        except KeyError as error:
            raise RuntimeError("with a cause") from error
    if how == "unstorable":
        return object()
    return how


@app.task(base=Noting, bind=True, acks_late=True)
def late(self, how):
    return ends.run(how)


@app.task(base=Noting)
def leaves():
    raise SystemExit("out")


@app.task(base=Noting, bind=True, max_retries=2)
def retried(self, times):
    if self.request.retries < times:
        raise self.retry(exc=KeyError("again"), countdown=0.05)
    return self.request.retries


@app.task(base=Noting, bind=True, autoretry_for=(OSError,), retry_backoff=0.1, retry_jitter=False, max_retries=3)
def autoretried(self, until):
    if self.request.retries < until:
        raise ConnectionError(f"attempt {self.request.retries}")
    return self.request.retries


@app.task(base=Noting, throws=(KeyError,))
def expected():
    raise KeyError("expected")


class Order(pydantic.BaseModel):
    customer: str
    total: float = 0.0


class Receipt(pydantic.BaseModel):
    text: str


@app.task(pydantic=True)
def bill(order: Order) -> Receipt:
    return Receipt(text=f"{type(order).__name__} {order.customer} {order.total}")


@check
def results(heard):
    ways = ["ok", "odd", "caused", "unstorable"]
    return [[how, told(task.delay(how), heard)] for how in ways for task in (ends, late)]


@check
def exits(heard):
    """Celery 5.6 stores nothing here where results are JSON, so what is stored is not compared."""
    result = leaves.delay()
    eventually(lambda: journal(result.id))
    stored = told(result, heard) if celery.VERSION >= (5, 7) else None
    return [stored, journal(result.id), ends.delay("ok").get(timeout=TIMEOUT)]


@check
def ignored(heard):
    result = ends.delay("ignore")
    # No event tells that a task was ignored.
    eventually(lambda: any("after_return" in text for text in journal(result.id)) or result.state == "MINE")
    return [result.state, result.info]


@check
def rejected(heard):
    refused, again = late.delay("reject"), late.delay("requeue")
    heard.wait(refused.id, "task-rejected")
    failed = repr(refused.result) if refused.state == "FAILURE" else None  # 5.6 leaves it as it runs
    return [refused.state, failed, journal(refused.id), told(again, heard)]


@check
def retries(heard):
    calls = [retried.delay(0), retried.delay(2), retried.delay(3), autoretried.delay(2), autoretried.delay(9)]
    shown = [told(result, heard) for result in calls]
    # The next run may begin before the last one has noted that there will be one.
    return [{**each, "journal": sorted(each["journal"])} for each in shown]


@check
def kinds(heard):
    calls = [counting.delay(2), bill.delay({"customer": "c1", "total": 2}), bill.delay({"total": 2}), expected.delay()]
    return [told(result, heard) for result in calls]


@check
def unregistered(heard):
    result = app.send_task("no.such.task", (1,), {"two": 2})
    result.get(timeout=TIMEOUT, propagate=False)
    return [result.state, repr(result.result)]


@check
def wrong_arguments(heard):
    return [told(app.send_task(ends.name, args), heard) for args in [(), (1, 2)]]
