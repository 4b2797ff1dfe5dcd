"""Signals that are aimed at a job: a soft time limit, a revoke that terminates.

A signal goes to a process, which may run the next job by the time it arrives. So the parent writes into the page which
job it means, and what is aimed at another is ignored.
"""

import os
import signal

from billiard.common import _shutdown_cleanup
from billiard.exceptions import SoftTimeLimitExceeded

#: The fields of the page.
RUNNING, SINCE, BEGUN, AIMED = range(4)

#: What ends a child: by the handler that billiard installs, or without one.
TERMINATING = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR2)


def guard(page):
    """Makes this process heed only what is aimed at the job it runs."""

    def aimed():
        return page[RUNNING] and page[RUNNING] == page[AIMED]

    def soft(signum, frame):
        if aimed():
            raise SoftTimeLimitExceeded()

    def terminate(signum, frame):
        if aimed():
            _shutdown_cleanup(signum, frame)

    def die(signum, frame):
        if aimed():
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    signal.signal(signal.SIGUSR1, soft)
    for signum in TERMINATING:
        handler = {_shutdown_cleanup: terminate, signal.SIG_DFL: die}.get(signal.getsignal(signum))
        if handler is not None:
            signal.signal(signum, handler)
