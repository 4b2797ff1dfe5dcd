"""Counts words by tasks, without a server: broker and results are SQLite files in the current folder.

    pip install celery sqlalchemy
    celeriac -A words worker             # a worker, in this folder; `celery -A words worker` would do, too
    python words.py ../../README.md      # a client: as many files as you like
"""

import sys
from collections import Counter
from pathlib import Path

from celery import Celery, group

app = Celery("words", broker="sqla+sqlite:///broker.db", backend="db+sqlite:///results.db")


@app.task
def count(path):
    """How often each word occurs in a text file."""
    return Counter(Path(path).read_text(errors="replace").lower().split())


@app.task
def most(counts, limit):
    """The most frequent words of all files."""
    return sum(map(Counter, counts), Counter()).most_common(limit)


def main(paths):
    counts = group(count.s(str(Path(path).resolve())) for path in paths).delay().get(timeout=60)
    for word, times in most.delay(counts, 10).get(timeout=60):
        print(f"{times:6} {word}")


if __name__ == "__main__":
    main(sys.argv[1:])
