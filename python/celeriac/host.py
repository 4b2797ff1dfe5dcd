"""Where a process starts: `main` is what the bootstrap calls."""

import os
import signal
import sys
import traceback

from . import application, options, wire
from . import child as child_of_pool
from . import plain, process, report, service, zygote  # noqa: F401 - all of the package, while it can be imported

#: What a terminal, or who stops a whole group, sends: it is the parent who acts on these.
FOR_THE_PARENT = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP")


def main(package, fd):
    """The zygote: starts the app, says what it found, and serves the parent until its end."""
    leave_to_parent()
    link = wire.Stream(fd)
    message = link.receive()
    if message is None:
        os._exit(0)
    (_, given), _ = message
    code, text = None, ""
    try:
        worker = start(given)
        found = report.report(worker, given)
    except application.Unusable as error:
        error.show()
        code, text = 2, str(error)
    except SystemExit as error:
        code, text = exit_code(error), str(error)
    except BaseException as error:
        code, text = refused(error)
    if code is not None:
        link.send(("failed", code, text))
        sys.exit(code)
    link.send(("ready", found))
    zygote.Zygote(link, worker, package, given).run()


def start(given):
    """Celery's worker, set up as far as it comes without a connection."""
    worker = worker_of(given)
    worker.begin()
    leave_to_parent()
    return worker


def worker_of(given):
    name = options.prepare(given)
    app = application.find(name)
    if given.get("disable_prefetch") is not None:
        app.conf.worker_disable_prefetch = given["disable_prefetch"]
    application.configure(app, given.get("settings"))
    own = application.user_options(app, given.get("user", ()))
    arguments = options.for_worker(given, app.conf)
    process.drop_privileges(arguments.pop("uid"), arguments.pop("gid"))
    from .worker import Worker

    return Worker(app, pool=options.pool_of(given, app.conf), **arguments, **own)


def leave_to_parent():
    """Not `SIG_IGN`, which whatever is started from here would inherit."""
    for name in FOR_THE_PARENT:
        signal.signal(getattr(signal, name), lambda *_: None)


def exit_code(error):
    """As the interpreter reads it."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def refused(error):
    """Shows what stopped the start; returns the exit code and the text."""
    from celery.exceptions import SecurityError

    if isinstance(error, SecurityError):
        print(error.args[0], file=sys.stderr)
    else:
        traceback.print_exc()
    return 1, f"{type(error).__name__}: {error}"
