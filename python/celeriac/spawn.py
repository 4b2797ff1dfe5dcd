"""A child with an interpreter of its own, for what does not survive a fork."""

import marshal
import os
from types import SimpleNamespace

from . import application, child, process, wire
from .plain import plain


def known(worker, given, index, number):
    """A memfd with what the child cannot find out by itself."""
    fd = os.memfd_create("celeriac-child")
    facts = {
        "given": given,
        "changes": plain(settings_set(worker.app)),
        "hostname": worker.hostname,
        "max_tasks_per_child": worker.max_tasks_per_child,
        "max_memory_per_child": worker.max_memory_per_child,
        "index": index,
        "number": number,
        "parent": os.getpid(),
    }
    os.write(fd, wire.dumps(facts))
    return fd


def settings_set(app):
    """What signals and the command line have changed since the import, where it is plain."""
    return {name: value for name, value in app.conf.changes.items() if plain(value) == value}


def main(sock, page, fd):
    """Imports the app, and runs tasks as a forked child would."""
    from billiard.context import SpawnProcess

    process.show_stacks_when_asked()
    facts = marshal.loads(wire.body_of(fd, os.fstat(fd).st_size))
    app = application.of(facts["given"])
    app.conf.update(facts["changes"])
    target = child.Worker(SimpleNamespace(app=app, **facts), sock, page, facts["parent"])
    new = process.pool_process(SpawnProcess, target, facts["index"], facts["number"])
    os._exit(new._bootstrap())
