"""What Celery keeps of a worker between two starts: it is taken over from a worker of Celery's, and left for one.

The parent's own file is another one, which outlives a sudden end.
"""

import dbm

from celery.utils.nodenames import node_format
from celery.worker import state


def revoked(worker):
    """The ids that are revoked there."""
    path = worker.statedb and node_format(worker.statedb, worker.hostname)
    if not path or dbm.whichdb(path) is None:
        return []
    state.Persistent(state, path).close()
    return list(state.revoked)


def keep(path, ids):
    """Leaves these there, and no others."""
    file = state.Persistent(state, path)
    state.revoked.clear()
    for task_id in ids:
        state.revoked.add(task_id)
    file.save()
