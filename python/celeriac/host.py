"""Where a process starts: `main` is what the bootstrap calls."""

import os
import signal
import sys
import traceback

from . import application, options, wire
from . import process, report, spawn, versions, worker, zygote

#: What a terminal, or who stops a whole group, sends: it is the parent who acts on these.
FOR_THE_PARENT = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP")


def main(package, fd, *known):
    """What this process is to be: the zygote, or a child with an interpreter of its own."""
    leave_to_parent()
    if known:
        spawn.main(fd, *known)
    else:
        lead(package, fd)


def lead(package, fd):
    """The zygote: starts the app, says what it found, and serves the parent until its end."""
    link = wire.Stream(fd)
    message = link.receive()
    if message is None:
        os._exit(0)
    (_, given), _ = message
    code, text = None, ""
    try:
        started = start(given)
        found = report.report(started, given)
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
    if given.get("detach"):
        process.leave_terminal()
    zygote.Zygote(link, started, package, given).run()


def start(given):
    """Celery's worker, set up as far as it comes without a connection."""
    app = application.of(given)
    own = application.user_options(app, given.get("user", ()))
    arguments = options.for_worker(given, app.conf)
    if arguments.get("concurrency") == "auto" and not versions.IS_5_7:
        raise application.Unusable("Invalid value for '-c' / '--concurrency': 'auto' is not a valid integer.")
    process.become(arguments.pop("uid"), arguments.pop("gid"), arguments.pop("umask"))
    pidfile = arguments.pop("pidfile")  # the parent's: Celery's class would make it
    started = worker.Worker(app, pool=options.pool_of(given, app.conf), **arguments, **own)
    started.begin()
    started.pidfile = pidfile
    leave_to_parent()
    return started


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
