"""A child of the pool: billiard's own loop, over a socket of its own."""

import mmap
import os
import signal
import sys
from collections import deque
from time import monotonic_ns

from billiard import pool as billiard_pool
from billiard.compat import mem_rss
from billiard.common import _should_have_exited
from billiard.einfo import ExceptionInfo
from celery import signals
from celery._state import _set_task_join_will_block
from celery.app.trace import build_tracer, fast_trace_task
from celery.concurrency.prefork import process_destructor, process_initializer

from . import answers, limits, process, versions, wire
from .request import complete

ACK, TASK, READY = billiard_pool.ACK, billiard_pool.TASK, billiard_pool.READY

#: Answers wait for those of the same packet, unless these take longer than this (in nanoseconds).
HOLD = 5_000_000

PAGE = 4096


def page_of(fd):
    """The fields that parent and child share."""
    try:
        return memoryview(mmap.mmap(fd, PAGE)).cast("Q")
    finally:
        wire.close(fd)


def completed(jobs, fds):
    """`jobs`, with their requests as Celery has them and the bodies that came beside the packet."""
    for job in jobs:
        complete(job[3])
    if not fds:
        return jobs
    fds = iter(fds)
    return [(*job[:4], wire.body_of(next(fds), job[4]), *job[5:]) if type(job[4]) is int else job for job in jobs]


class Jobs:
    """What billiard's loop takes for its two queues: it gets jobs here, and puts answers."""

    def __init__(self, packets, page, watch_memory=False):
        self.packets = packets
        self.page = page
        self.rss = mem_rss if watch_memory else lambda: 0
        self.waiting = []
        self.answers = deque()
        self.since = 0
        self.begun = 0

    def next(self):
        """The next job, as billiard frames it; ends the loop when there will be none."""
        while True:
            try:
                job = self.waiting.pop()
                break
            except IndexError:  # also when they have been given back this moment
                self.flush()
                self.waiting = self.received()
        return TASK, (job[0], None, fast_trace_task, job[1:], {})

    def received(self):
        message = self.packets.receive()
        if message is None or message[0][0] == "exit":
            raise SystemExit(0)
        (_, jobs), fds = message
        return list(reversed(completed(jobs, fds)))

    def put(self, message):
        """Takes billiard's word that a job begins, or how it ended."""
        kind, arguments = message
        if kind == ACK:
            self.begin(arguments[0])
        elif kind == READY:
            self.end(arguments[0], *arguments[2])

    def begin(self, token):
        page, now = self.page, monotonic_ns()
        if not self.answers:
            self.since = now
        elif now - self.since > HOLD:
            self.flush()
            self.since = now
        self.begun += 1
        page[limits.SINCE] = now
        page[limits.BEGUN] = self.begun
        page[limits.RUNNING] = token

    def end(self, token, returned, value):
        self.page[limits.RUNNING] = 0
        answer = answers.answer(token, returned, value, self.rss())
        self.answers.append(answer)

    def flush(self):
        """Sends what has ended; a handler of signals may do that at any time, so each answer is taken once."""
        ended = []
        try:
            while True:
                ended.append(self.answers.popleft())
        except IndexError:
            pass
        if ended:
            for packet in answers.packets(ended):
                self.packets.socket.send(packet)

    def let_go(self, *_):
        """In a handler of signals: the job that runs is long, so nothing else is to wait for it."""
        self.flush()
        left, self.waiting = self.waiting, []
        if left:
            self.packets.send(("left", tuple(job[0] for job in reversed(left))))

    def disown(self):
        """In what a task has forked: it must neither take jobs nor write to the page."""
        self.packets.close()
        self.page = memoryview(bytearray(PAGE)).cast("Q")


class Worker(billiard_pool.Worker):
    """Celery's pool worker; `settings` is the stand-in of the worker, or what a fresh interpreter knows of it."""

    synq = inqW_fd = synqW_fd = wait_for_syn = on_ready_counter = None
    sigprotection = False

    def __init__(self, settings, sock, page, parent):
        # Without billiard's own: that is about pipes, which we do not have.
        self.fds = sock, page
        self.maxtasks = settings.max_tasks_per_child or None
        self.max_memory_per_child = settings.max_memory_per_child or None
        self.initializer, self.initargs = process_initializer, (settings.app, settings.hostname)
        self.on_exit = process_destructor
        self.parent = parent

    def _make_child_methods(self, *_):
        sock, page = self.fds
        self.jobs = Jobs(wire.Packets(sock), page_of(page), bool(self.max_memory_per_child))
        self.inq = self.outq = self.jobs
        self.wait_for_job = self.jobs.next

    def after_fork(self):
        super().after_fork()
        process.die_with(self.parent)
        limits.guard(self.jobs.page)
        signal.signal(signal.SIGURG, self.jobs.let_go)
        os.register_at_fork(after_in_child=self.jobs.disown)

    def on_loop_start(self, pid):
        self.jobs.packets.send(("up", pid))

    def _do_exit(self, pid, exitcode, exc=None):
        """Says the last, runs the receivers of the signal, and ends."""
        if exitcode is None:
            exitcode = billiard_pool.EX_FAILURE if exc else billiard_pool.EX_OK
        try:
            self.say_goodbye(exitcode, exc)
            self.on_exit(pid, exitcode)
            for stream in (sys.__stdout__, sys.__stderr__):
                stream.flush()
        finally:
            os._exit(exitcode)

    def say_goodbye(self, exitcode, exc):
        jobs = self.jobs
        running, terminated = jobs.page[limits.RUNNING], _should_have_exited[0]
        if running and not terminated:
            # Only an older billiard gets here: it does not report what a job itself raised to end the process.
            jobs.end(running, False, ExceptionInfo())
        try:
            jobs.flush()
            if not terminated and exc is None:
                jobs.packets.send(("bye", "limit" if exitcode == billiard_pool.EX_RECYCLE else "exit"))
        except OSError:
            pass  # the parent has gone


class Solo(Worker):
    """Celery's solo pool, where tasks run in what they take for the main process."""

    def __init__(self, settings, *arguments):
        super().__init__(settings, *arguments)
        self.hostname = settings.hostname
        self.maxtasks = self.max_memory_per_child = None
        self.initializer = in_main_process
        self.on_exit = lambda pid, exitcode: None

    def after_fork(self):
        super().after_fork()
        say_begun(self.hostname)


def say_begun(hostname):
    """Sends the signal where Celery's pool is no prefork."""
    signals.worker_process_init.send(sender=hostname if versions.IS_5_7 else None)


def in_main_process(app, hostname):
    """What Celery's parent does where it runs tasks itself."""
    _set_task_join_will_block(True)
    for name, task in app.tasks.items():
        task.__trace__ = build_tracer(name, task, app.loader, hostname, app=app)
