"""What Celery keeps of a worker between two starts: it is taken over from a worker of Celery's, and left for one.

The parent's own file is another one, which outlives a sudden end.
"""

import dbm
import os

from celery.utils.nodenames import node_format
from celery.worker import state

#: By which an SQLite file of the parent's is known, and where that stands.
OURS, PLACE = b"celr", 68


def revoked(worker):
    """The ids that are revoked there."""
    path = worker.statedb and node_format(worker.statedb, worker.hostname)
    if not path:
        return []
    if is_ours(path):
        make_room(path)
    if dbm.whichdb(path) is None:
        return []
    state.Persistent(state, path).close()
    return list(state.revoked)


def is_ours(path):
    """Whether an older celeriac kept its own state under this very name."""
    try:
        with open(path, "rb") as file:
            head = file.read(PLACE + len(OURS))
    except OSError:
        return False
    return head.startswith(b"SQLite format 3\0") and head[PLACE:] == OURS


def make_room(path):
    """Gives such a file the name that the parent now looks for."""
    new = f"{path}.celeriac"
    if os.path.exists(new):
        raise SystemExit(f"Both {path} and {new} are celeriac's: remove the one that is not to be used")
    for part in ("-wal", "-shm", ""):  # what belongs to it first, so that it is whole when it has its name
        try:
            os.replace(path + part, new + part)
        except FileNotFoundError:
            pass


def keep(path, ids):
    """Leaves these there, and no others."""
    file = state.Persistent(state, path)
    state.revoked.clear()
    for task_id in ids:
        state.revoked.add(task_id)
    file.save()
