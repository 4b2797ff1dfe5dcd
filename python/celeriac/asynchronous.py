"""A child that runs ``async def`` tasks, many at a time on one event loop.

Celery's tracer is synchronous and keeps its state by thread. So each task in flight has a thread with a tracer, which
waits for the coroutine; the coroutine sees the state of that thread. What is no coroutine runs in the thread.
"""

import contextvars
import threading
from concurrent.futures import CancelledError
from inspect import isawaitable

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery._state import _task_stack
from celery.exceptions import Ignore

from .child import say_begun
from .threads import Threads

#: What a cancelled task ends with, by the kind of its cancellation.
VERDICTS = {
    "soft": lambda argument: SoftTimeLimitExceeded(),
    "hard": lambda argument: TimeLimitExceeded(argument),
    "revoke": lambda argument: Ignore("revoked"),
}

#: In a coroutine, whose tracer waits for it.
tracer = contextvars.ContextVar("tracer")


class Flight:
    """A job under way."""

    future = task = verdict = None


class Asyncio(Threads):
    """The event loop has a thread of its own."""

    def initialize(self):
        import asyncio  # only here, since every other child would carry it, too

        self.asyncio = asyncio
        self.flights = {}
        self.current = threading.local()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="EventLoop", daemon=True).start()
        follow_tracer(_task_stack)
        for task in self.app.tasks.values():
            follow_tracer(task.request_stack)
            # Automatic retries wrap what they keep here.
            name = "_orig_run" if hasattr(task, "_orig_run") else "run"
            setattr(task, name, self.awaiting(getattr(task, name)))
        super().initialize()
        say_begun(self.hostname)

    def awaiting(self, run):
        def awaited(*args, **kwargs):
            value = run(*args, **kwargs)
            return self.wait(value) if isawaitable(value) else value

        return awaited

    def wait(self, coroutine):
        """In a tracer's thread: the result of a coroutine, or what its cancellation means."""
        flight = self.current.flight
        flying = self.fly(flight, coroutine, threading.get_ident())
        flight.future = self.asyncio.run_coroutine_threadsafe(flying, self.loop)
        try:
            return flight.future.result()
        except CancelledError:
            if flight.verdict is None:
                raise
            raise flight.verdict from None

    async def fly(self, flight, coroutine, ident):
        """In the loop: the coroutine, unless it has been cancelled before."""
        tracer.set(ident)
        flight.task = self.asyncio.current_task()
        if flight.verdict is not None:
            flight.task.cancel()
        return await coroutine

    def accept(self, token):
        self.flights[token] = Flight()

    def trace(self, job):
        self.current.flight = self.flights[job[0]]
        try:
            return super().trace(job)
        finally:
            del self.flights[job[0]]

    def cancel(self, token, kind, argument):
        flight = self.flights.get(token)
        if flight is None:
            return
        flight.verdict = VERDICTS[kind](argument)
        if flight.task is not None:
            self.loop.call_soon_threadsafe(flight.task.cancel)
        if kind == "hard" and flight.future is not None:
            flight.future.cancel()  # nor is its cleanup waited for


def follow_tracer(stack):
    """Makes a stack of Celery's show a coroutine what its tracer's thread has."""
    own = stack.__ident_func__
    stack.__ident_func__ = lambda: tracer.get(None) or own()
