"""A child that runs many tasks at a time, each in a thread, in what they take for the main process."""

import os
import sys
from queue import SimpleQueue
from threading import Semaphore, Thread
from time import monotonic_ns

from billiard.einfo import ExceptionInfo
from celery.app.trace import fast_trace_task

from . import answers, child, process, wire


class Threads:
    """Takes jobs in the main thread; each answers for itself. There is no page: it says when a job begins.

    How many run at once is the parent's to say: it gives no more. A thread is idle before its answer is on its way, so
    there are never more of them than jobs were given at once.
    """

    def __init__(self, settings, sock, page, parent):
        self.app = settings.app
        self.hostname = settings.hostname
        self.jobs = SimpleQueue()
        self.idle = Semaphore(0)
        self.threads = []
        self.fds = sock, page
        self.parent = parent

    def __call__(self):
        process.die_with(self.parent)
        sock, page = self.fds
        wire.close(page)
        self.packets = wire.Packets(sock)
        os.register_at_fork(after_in_child=self.packets.close)
        self.initialize()
        self.packets.send(("up", os.getpid()))
        self.take()
        for _ in self.threads:
            self.jobs.put(None)
        for thread in self.threads:
            thread.join()
        self.packets.send(("bye", "exit"))
        for stream in (sys.__stdout__, sys.__stderr__):
            stream.flush()
        os._exit(0)

    def initialize(self):
        child.in_main_process(self.app, self.hostname)

    def take(self):
        while True:
            message = self.packets.receive()
            if message is None:
                os._exit(0)  # the parent has gone, and nobody wants what still runs
            (kind, *arguments), fds = message
            if kind == "exit":
                return
            if kind == "run":
                for job in child.completed(arguments[0], fds):
                    self.accept(job[0])
                    self.submit(job)
            elif kind == "cancel":
                self.cancel(*arguments)

    def submit(self, job):
        self.jobs.put(job)
        if not self.idle.acquire(blocking=False):
            self.threads.append(Thread(target=self.work, name=f"Task-{len(self.threads) + 1}"))
            self.threads[-1].start()

    def work(self):
        while (job := self.jobs.get()) is not None:
            packets = self.trace(job)
            self.idle.release()
            for packet in packets:
                self.packets.socket.send(packet)

    def accept(self, token):
        """A job has come."""

    def cancel(self, token, kind, argument):
        """A thread cannot be stopped."""

    def trace(self, job):
        """Runs a job; returns the packets of its answer."""
        token = job[0]
        self.packets.send(("began", token, monotonic_ns()))
        try:
            returned, value = True, fast_trace_task(*job[1:])
        except BaseException:
            returned, value = False, ExceptionInfo()
        answer = answers.answer(token, returned, value, 0)
        if answer[1] == "exit":  # it ends its thread's task, not the process
            answer = (token, "internal", *answer[2:])
        return answers.packets([answer])
