"""Tasks of all kinds, with results in files."""

import os
import sys
import time
from pathlib import Path

from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from celery.utils.log import get_task_logger

FOLDER = Path(os.environ.get("RESULTS", "."))
(FOLDER / "results").mkdir(exist_ok=True)

app = Celery("basic", broker="memory://", backend=f"file://{FOLDER}/results")
app.conf.task_default_queue = "basic"
log = get_task_logger(__name__)


def note(name, text=""):
    """Leaves a word for the test."""
    (FOLDER / name).write_text(str(text))


@app.task
def add(x, y):
    return x + y


@app.task(ignore_result=True)
def noop():
    pass


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def again(self):
    raise self.retry(exc=KeyError("gone"), countdown=1)


@app.task
def ignored():
    raise Ignore("not now")


@app.task
def rejected(requeue):
    raise Reject("no", requeue=requeue)


@app.task
def leave(code):
    sys.exit(code)


@app.task
def interrupted():
    raise KeyboardInterrupt


@app.task
def length(text):
    return len(text)


@app.task
def wait_for(path, seconds=20):
    """Waits for a file; ends when a limit or a signal ends it."""
    note("waiting", os.getpid())
    end = time.monotonic() + seconds
    try:
        while not (FOLDER / path).exists() and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        note("waited", path)
    return path


@app.task
def say(text):
    print(text)
    log.warning("logged %s", text)


@app.task(bind=True)
def about(self):
    import billiard.process

    process = billiard.process.current_process()
    return {"name": process.name, "index": process.index, "daemon": process.daemon, "hostname": self.request.hostname,
            "headers": self.request.headers, "argv": sys.argv, "pid": os.getpid()}  # fmt: skip


@app.task
def fork_and_return():
    pid = os.fork()
    if pid == 0:
        return "grandchild"
    os.waitpid(pid, 0)
    note("waiting")
    while not (FOLDER / "go").exists():
        time.sleep(0.01)
    return "child"


@app.task
def hog(size):
    return len(bytearray(size))


@app.task
def errback(request, exc, traceback):
    note("errback", f"{request.id} {exc!r} {bool(traceback)} {os.getpid()}")


@app.task(acks_late=True, reject_on_worker_lost=True)
def careful():
    pass


@app.task(acks_late=True)
def late():
    pass


class Noting(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", f"{exc!r} {args} {type(einfo).__name__}")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("after_return", f"{status} {retval!r}")
        raise ValueError("of the handler")


@app.task(base=Noting)
def noting(x):
    pass
