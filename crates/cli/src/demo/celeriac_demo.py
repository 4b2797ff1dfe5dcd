"""The Python tasks of `celeriac demo`, run in a folder with the demo's broker and results."""

import sqlite3

from celery import Celery
from celery.backends.base import Backend


class Results(Backend):
    """The table that the demo reads results from."""

    def _store_result(self, task_id, result, state, traceback=None, request=None, **_):
        meta = self._get_result_meta(result, state, traceback, request)
        row = task_id, state, self.encode({**meta, "task_id": task_id}).encode()
        with sqlite3.connect("results.db", timeout=30) as results:
            results.execute("INSERT OR REPLACE INTO celeriac_result (id, state, meta) VALUES (?, ?, ?)", row)


app = Celery("demo", broker="sqla+sqlite:///broker.db", backend="celeriac_demo:Results")


@app.task(name="demo.words")
def words(path):
    """How many words there are at the start of a file."""
    with open(path, "rb") as file:
        return len(file.read(1 << 20).split())
