"""What tasks write, and what receivers of signals see."""

import logging
import sys

from celery import signals
from celery.utils.log import get_task_logger

from .celery import app, note
from .check import TIMEOUT, check, told

logger = get_task_logger(__name__)


@app.task
def writes():
    print("by print")
    print("by print to stderr", file=sys.stderr)
    sys.stdout.write("by write\n")
    logger.debug("by the task logger: below the level")
    logger.info("by the task logger: %s", "info")
    logger.warning("by the task logger: warning\nin two lines")
    logging.getLogger("mine").error("by another logger")
    try:
        raise ValueError("told")
    except ValueError:
        logger.exception("by the task logger: exception")


@app.task(bind=True, max_retries=1)
def signalled(self, how):
    if how == "retry":
        self.retry(countdown=0.2)
    if how == "fail":
        raise ValueError("it broke")
    return how


def told_of(name, **shown):
    def receiver(sender=None, signal=None, **arguments):
        task_id = arguments.get("task_id") or getattr(arguments.get("request"), "id", None) or sender.request.id
        if getattr(sender, "name", "") == signalled.name:
            values = " ".join(f"{key}={show(arguments[key])}" for key, show in shown.items())
            note(task_id, f"{name}: {sorted(arguments)} {values}")

    getattr(signals, name).connect(receiver, weak=False)


told_of("task_prerun", args=repr, kwargs=repr)
told_of("task_postrun", retval=repr, state=str)
told_of("task_success", result=repr)
told_of("task_failure", exception=repr, args=repr)
told_of("task_retry", reason=repr)


@signals.worker_process_init.connect
def process_init(sender=None, **arguments):
    logging.getLogger("mine").warning("worker_process_init %s %s", sender, sorted(arguments))


@signals.before_task_publish.connect
@signals.after_task_publish.connect
def publish(sender=None, headers=None, signal=None, **arguments):
    if sender == signalled.name and headers["retries"]:
        note(headers["id"], f"{signal.name}: {sorted(arguments)}")


@check
def writing(heard):
    writes.delay().get(timeout=TIMEOUT)


@check
def signals_of_tasks(heard):
    return [told(signalled.delay(how), heard) for how in ("ok", "fail", "retry")]
