"""The embedded beat (`-B`): the app's own scheduler, in a process beside the children."""

import os
import select
import signal
import sys
import time

from billiard.context import ForkProcess

from . import process

#: How long it may take to write its schedule, in milliseconds.
PATIENCE = 3000
#: Seconds before one that has failed is started again: the first and the longest pause.
PAUSES = 1, 30


class Beat:
    """Keeps a beat running until it is told to end."""

    def __init__(self, worker, let_go):
        self.worker = worker
        self.let_go = let_go
        self.pause = 0
        self.pid = None
        self.wanted = True

    def start(self):
        target = Scheduling(self.worker, os.getpid(), self.pause)
        self.pid = process.forked(ForkProcess(target=target, name="Beat"), self.let_go)
        return self.pid

    def is_missing(self):
        return self.wanted and self.pid is None

    def ended(self, status):
        self.pid = None
        self.wanted = self.wanted and status != 0  # else somebody has told it to end
        first, longest = PAUSES
        self.pause = min(max(first, 2 * self.pause), longest)

    def stop(self, pidfd):
        """Has it write its schedule and end."""
        self.wanted = False
        if self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)
            if pidfd is not None:
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                poll.poll(PATIENCE)


class Scheduling:
    """What the process does."""

    def __init__(self, worker, parent, pause):
        self.worker = worker
        self.parent = parent
        self.pause = pause

    def __call__(self):
        process.die_with(self.parent)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        time.sleep(self.pause)
        from celery.beat import Service

        worker = self.worker
        service = Service(worker.app, schedule_filename=worker.schedule_filename, scheduler_cls=worker.scheduler)
        service.start(embedded_process=True)
