"""What Celery's parent does with a task whose child could not, done by Celery's own request."""

import ast
import builtins
import copy
import logging

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.trace import task_has_custom
from celery.exceptions import InvalidTaskError, NotRegistered, Reject, TimeLimitExceeded, WorkerLostError
from celery.utils.serialization import create_exception_cls
from celery.worker.request import Request
from kombu.message import Message
from kombu.serialization import prepare_accept_content

from . import versions
from .request import complete, headers_of


class Actions:
    """What Celery's code would have done to the broker: the parent does it."""

    enabled = True

    def __init__(self):
        self.wanted = []

    def send(self, event, **fields):
        """As Celery's event dispatcher."""
        self.wanted.append(("event", event, fields))

    def ack(self, *_):
        self.wanted.append(("ack",))

    def reject(self, logger=None, errors=(), requeue=False):
        self.wanted.append(("reject", requeue))


class Delivered(Message):
    """A message as it was delivered, from what its child would have got."""

    def __init__(self, app, actions, request, body, content_type, content_encoding):
        complete(request)
        properties = request.get("properties") or {name: request.get(name) for name in ("reply_to", "correlation_id")}
        super().__init__(
            body=body.decode() if type(body) is bytes and content_encoding == "utf-8" else body,
            content_type=content_type,
            content_encoding=content_encoding,
            headers=headers_of(request),
            properties=properties,
            delivery_info=request.get("delivery_info"),
            accept=prepare_accept_content(app.conf.accept_content),
        )
        self.actions = actions

    def ack(self, *_, **__):
        self.actions.ack()

    def reject_log_error(self, logger, errors, requeue=False):
        self.actions.reject(requeue=requeue)


def request_of(worker, actions, name, request, body, content_type, content_encoding):
    """Celery's request; a body without a content type is decoded."""
    decoded = content_type is None
    if decoded and type(body) is bytes:
        raise ValueError("a body without content type is no bytes")
    message = Delivered(worker.app, actions, request, body, content_type, content_encoding)
    return Request(
        message,
        app=worker.app,
        task=worker.app.tasks[name],
        hostname=worker.hostname,
        eventer=actions,
        on_ack=actions.ack,
        on_reject=actions.reject,
        body=body,
        headers=request,
        decoded=decoded,
    )


def settle(worker, name, id, request, body, content_type, content_encoding, kind, arguments):
    """Stores what became of a task, follows it up, and returns what is left to do: events, ack, reject."""
    actions = Actions()
    given = request, body, content_type, content_encoding
    if kind == "unregistered":
        unregistered(worker, actions, name, *given)
    else:
        KINDS[kind](request_of(worker, actions, name, *given), **arguments)
    return actions.wanted


def unregistered(worker, actions, name, *given):
    from celery.worker.consumer import Consumer

    message = Delivered(worker.app, actions, *given)
    consumer = copy.copy(worker.consumer)
    consumer.event_dispatcher = actions
    try:
        raise NotRegistered(name)
    except NotRegistered as error:  # raised, since it is logged with its traceback
        Consumer.on_unknown_task(consumer, None, message, error)


def lost(request, text):
    failed(request, WorkerLostError(text))


def timeout(request, timeout):
    """A hard limit. Celery stores and tells it twice, which calls errbacks twice; once is what is meant."""
    error = TimeLimitExceeded(timeout)
    info = failed(request, error)
    if versions.IS_5_7:
        try:
            call_handlers(request, error, info)
        except Exception:
            logging.getLogger("celery.worker.request").exception("A handler of %s failed", request.humaninfo())


def call_handlers(request, error, info):
    """What `Request.on_timeout` calls of a task."""
    task, given = request.task, (request.id, request.args, request.kwargs)
    task.on_failure(error, *given, info)
    if task_has_custom(task, "after_return"):
        task.after_return(states.FAILURE, error, *given, None)


def internal(request, exception, traceback):
    error = rebuilt(exception)
    # No backend stores what is no `Exception`; Celery's other pools name it so.
    failed(request, error if isinstance(error, Exception) else WorkerLostError(exception), traceback)


def left(request, exception, traceback):
    """The task has ended its process."""
    if versions.IS_5_7:
        error = rebuilt(exception)
        failed(request, error if isinstance(error, (SystemExit, KeyboardInterrupt)) else SystemExit(1), traceback)
    else:
        internal(request, exception, traceback)


def rejected(request, reason, traceback):
    failed(request, Reject(reason or None, requeue=False), traceback)


def failed(request, error, traceback=None):
    try:
        raise error
    except BaseException:
        info = ExceptionInfo()
    if traceback:  # a child has raised it
        info.exception, info.traceback = error, traceback
    request.on_failure(info)
    return info


def rebuilt(text):
    """An exception from its repr, of its own type where that is a builtin."""
    name, _, arguments = text.partition("(")
    cls = getattr(builtins, name, None)
    if not (isinstance(cls, type) and issubclass(cls, BaseException)):
        cls = create_exception_cls(name, __name__)
    try:
        arguments = ast.literal_eval(f"({arguments[:-1].rstrip(',')},)") if arguments[:-1] else ()
    except (SyntaxError, ValueError):
        arguments = (text,)
    return cls(*arguments)


def revoked(request, reason="revoked", terminated=False, signum=None, expired=False):
    request._announce_revoked(reason, terminated, signum, expired)


def cancelled(request):
    request._announce_cancelled()


KINDS = {
    "lost": lost,
    "timeout": timeout,
    "internal": internal,
    "exit": left,
    "reject": rejected,
    "revoked": revoked,
    "retry": cancelled,
}


def signalled(worker, name, arguments):
    """Sender and arguments of a signal, as Celery's parent sends it.

    A task is given as `task`, in the order of `request_of`; a message as `message`, in that of `Delivered`.
    """
    arguments = dict(arguments)
    task, message = arguments.pop("task", None), arguments.pop("message", None)
    sender = SENDERS.get(name, lambda worker: worker)(worker)
    if task is not None:
        request = request_of(worker, Actions(), *task)
        revoked = name == "task_revoked"
        arguments["request"] = request._context if revoked else request
        sender = request.task if revoked else sender
    if isinstance(arguments.get("exc"), str):
        arguments["exc"] = InvalidTaskError(arguments["exc"])
    if message is not None:
        arguments["message"] = Delivered(worker.app, Actions(), *message)
    return sender, arguments


def consumer_of(worker):
    return worker.consumer


SENDERS = {
    "worker_shutting_down": lambda worker: worker.hostname,
    "worker_ready": consumer_of,
    "heartbeat_sent": consumer_of,
    "task_received": consumer_of,
    "task_rejected": consumer_of,
    "task_unknown": consumer_of,
}
