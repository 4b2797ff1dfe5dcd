"""What a child says about a job that has ended, in the words of Celery's events."""

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.serialization import get_pickled_exception
from kombu.utils.encoding import safe_repr, safe_str

from . import versions, wire

#: Longer texts are cut, so that every answer fits into a packet; what the tracer has stored is whole.
TEXT = 28 * 1024


def answer(token, returned, value, rss):
    """The answer for what the tracer returned, or for the exception that came out of it."""
    if returned:
        failed, value, runtime = value
        if not failed:
            return token, "ok", runtime or 0.0, cut(value or ""), "", rss
        state, first, second = failure(value)
        return token, state, runtime or 0.0, cut(first), cut(second), rss
    error = exception(value)
    if isinstance(error, (Reject, Ignore, Retry)):  # a handler of the task's has raised it
        state, first, second = failure(value)
        return token, state, 0.0, cut(first), cut(second), rss
    state = "exit" if isinstance(error, (SystemExit, KeyboardInterrupt)) else "internal"
    return token, state, 0.0, cut(safe_repr(error)), cut(safe_str(value.traceback)), rss


def failure(info):
    """How the job ended that did not succeed: state and two texts."""
    error = exception(info)
    if isinstance(error, Reject):
        if versions.IS_5_7 and not error.requeue:
            return "refused", safe_str(error.reason), safe_str(info.traceback)
        return "reject", "" if error.reason is None else safe_str(error.reason), "requeue" if error.requeue else ""
    if isinstance(error, Ignore):
        return "ignore", "", ""
    if isinstance(error, Retry):
        return "retry", safe_repr(error.exc), safe_str(info.traceback)
    return "failure", safe_repr(get_pickled_exception(error)), safe_str(info.traceback)


def exception(info):
    error = info.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def cut(text):
    """`text` without what marshal or UTF-8 would not take, and without its middle if it is too long."""
    if len(text) * 4 <= TEXT and text.isascii():
        return text
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > TEXT:
        half = TEXT // 2 - 8
        data = data[:half] + b"\n...\n" + data[-half:]
    return data.decode("utf-8", "ignore")


def packets(answers):
    """The packets that carry `answers`: one, unless they are long."""
    data = wire.dumps(("done", tuple(answers)))
    if len(data) <= wire.PACKET or len(answers) == 1:
        return [data]
    middle = len(answers) // 2
    return packets(answers[:middle]) + packets(answers[middle:])
