"""Whether the app has a say in how the parent's lines are logged."""

import logging
from logging.handlers import WatchedFileHandler

from celery import signals
from celery.utils.log import ColorFormatter

#: The loggers of Celery's main process that the parent's lines have (`crates/cli/src/python/log.rs`).
LOGGERS = (
    "celery.apps.worker", "celery.worker", "celery.worker.consumer.connection", "celery.worker.consumer.consumer",
    "celery.worker.consumer.gossip", "celery.worker.consumer.mingle", "celery.worker.control",
    "celery.worker.request", "celery.worker.strategy",
)  # fmt: skip
#: Those that hand their records on.
PARENTS = ("celery", "celery.apps", "celery.worker.consumer")


def level(worker):
    """The lowest level that any of these logs; None where they log as Celery sets them up, which the parent can do."""
    if worker._custom_logging or signals.after_setup_logger.receivers or is_changed(worker):
        return min(logging.getLogger(name).getEffectiveLevel() for name in LOGGERS)
    return None


def is_changed(worker):
    root = logging.getLogger()
    return (
        root.filters
        or root.level != worker.loglevel
        or len(root.handlers) != 1
        or not is_celerys(root.handlers[0])
        or any(has_own_way(logging.getLogger(name)) for name in LOGGERS + PARENTS)
        # As Sentry does, to see every record.
        or logging.Logger.callHandlers.__globals__ is not vars(logging)
    )


def is_celerys(handler):
    formatter = handler.formatter
    known = type(handler) in (logging.StreamHandler, WatchedFileHandler) and type(formatter) is ColorFormatter
    # `worker_log_datefmt` is Python's own way to write a time.
    return known and not formatter.datefmt and not handler.filters and not handler.level


def has_own_way(logger):
    handled = any(type(handler) is not logging.NullHandler for handler in logger.handlers)
    return handled or logger.level or logger.filters or logger.disabled or not logger.propagate
