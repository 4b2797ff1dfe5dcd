"""The process that does for the parent what only Python can; it logs as Celery's main process."""

import logging

from celery import signals
from celery.worker.control import Panel
from kombu.utils import json

from . import lost, process, statedb, wire
from .plain import plain


class Service:
    """Does what the parent asks for, one after the other."""

    def __init__(self, worker, fd, parent):
        self.worker = worker
        self.fd = fd
        self.parent = parent
        self.relaying = False

    def __call__(self):
        process.die_with(self.parent)
        # What Celery's commands log there, the parent has logged.
        logging.getLogger("celery.worker.control").addFilter(self.is_news)
        link = wire.Stream(self.fd)
        while True:
            message = link.receive()
            if message is None:
                return
            kind, *arguments = message[0]
            answer = getattr(self, "on_" + kind)(*arguments)
            if answer is not None:
                link.send(("answer", *answer))

    def is_news(self, record):
        return self.relaying or record.levelno > logging.INFO

    def on_signal(self, name, arguments):
        """Receivers' exceptions are logged by Celery's dispatcher."""
        sender, arguments = lost.signalled(self.worker, name, arguments)
        getattr(signals, name).send(sender=sender, **arguments)

    def on_lost(self, seq, *arguments):
        try:
            return seq, True, lost.settle(self.worker, *arguments)
        except Exception as error:
            logging.getLogger("celery.worker").critical("Cannot settle a task: %r", error, exc_info=True)
            return seq, False, repr(error)

    def on_control(self, seq, name, arguments):
        try:
            reply = Panel.data[name](self.state(), **arguments)
            # As it would be on the wire, where JSON knows more than we do.
            return seq, True, plain(json.json.loads(json.dumps(reply)))
        except Exception as error:
            logging.getLogger("celery.worker").error("Control command error: %r", error, exc_info=True)
            return seq, False, repr(error)

    def on_revoked(self, seq, path, ids):
        try:
            return seq, True, statedb.keep(path, ids)
        except Exception as error:
            return seq, False, repr(error)

    def on_log(self, level, logger, text, created):
        record = logging.makeLogRecord({
            "name": logger, "levelno": level, "levelname": logging.getLevelName(level), "msg": text,
            "processName": "MainProcess", "created": created, "msecs": created % 1 * 1000,
        })  # fmt: skip
        target = logging.getLogger(logger)
        if target.isEnabledFor(level):
            self.relaying = True
            target.handle(record)
            self.relaying = False

    def state(self):
        from celery.utils.collections import AttributeDict

        worker = self.worker
        return AttributeDict(app=worker.app, hostname=worker.hostname, consumer=worker.consumer, tset=set)
