"""What differs between two runs is taken out of what they are compared by."""

import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

from celery import VERSION

#: Of an event: it is of that moment, or of that process.
MOMENTS = ("uuid", "timestamp", "local_received", "clock", "pid", "runtime", "root_id", "parent_id")

RULES = [
    # Where Celery's pool raises what it then stores, and where we do.
    (r'File "[^"]*(billiard/pool|celery/worker/request|celeriac/(limits|lost)).py", line \d+, in \w+\n +raise .*', "<raised by the pool>"),
    (r"KeyError: 'no.such.task'", "celery.exceptions.NotRegistered: 'no.such.task'"),
    # Where an unknown name is noticed, and what its delivery is made of.
    (r'File "[^"]*consumer.py", line \d+, in on_task_received\n +strategy = .*\n[ ~^]+', "<raised by the pool>"),
    (r"{'consumer_tag': .*'routing_key': 'celery'}|{'exchange': '', .*'redelivered': False}", "<delivery>"),
    # A hard limit's TERM, which Celery soon lets a KILL follow.
    ("exited with 'exitcode 15'", "exited with 'signal 9 (SIGKILL)'"),
    # Whether the part that failed was the last one to end.
    (r"(Chord '[^']*' raised: .*\n)(?:.*\n)*?\nDuring handling of the above .*\n\n", r"\1"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
    (r"0x[0-9a-f]+", "<address>"),
    (r"gen\d+@[\w.-]+", "<client>"),
    (r"ForkPoolWorker-\d+", "ForkPoolWorker"),
    (r"(pid:|Job: |job: |\bin )[\d.]+", r"\1<n>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*(\+00:00|Z)?", "<time>"),
]


#: Words that are each worker's own, on purpose.
OWN = [
    "gossip: ",
    # Ours ask the lead, when there is one by then.
    "sync with ",
    "Received and deleted unknown message",
    "Received invalid task message",
    "Can't decode message body",
    # Celery 5.6 cannot store a `SystemExit` as JSON, and leaves the task without an end.
    "Pool callback raised exception: EncodeError(TypeError('Object of type SystemExit",
    """Task handler raised error: WorkerLostError("SystemExit""",
]

if VERSION < (5, 6):  # there a `SystemExit` ends the child
    OWN.append("WorkerLostError('Worker exited prematurely: exitcode 0 Job")

#: How often children start and end is a matter of which took what.
OFTEN = ["worker_process_init", "exited with"]

#: Tasks of which something else is told here than there: one of whose arguments Celery tells nothing, one that it does not
#: end, one of which it tells that it has failed before it comes again.
UNLIKE = {"features.carried.old", "features.outcomes.leaves" if VERSION < (5, 7) else "features.deaths.long_once"}


def normal(value):
    """`value` with all its texts as two runs should have them."""
    if isinstance(value, dict):
        return {normal(key): normal(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [normal(inner) for inner in value]
    if isinstance(value, str):
        for pattern, shown in RULES:
            value = re.sub(pattern, shown, value)
    return value


def stories(events):
    """How often which course of events was a task's; one that comes again may overtake what is told of the first."""
    tasks = defaultdict(list)
    for event in events:
        if event["type"].startswith("task-"):
            tasks[event["uuid"]].append(event)
    told = Counter()
    for task in tasks.values():
        if not any(event.get("name") in UNLIKE for event in task):
            task = by_runs(sorted(task, key=order))
            if VERSION >= (5, 7):  # it tells a hard limit twice
                failed = [event for event in task if event["type"] == "task-failed"]
                task = [event for event in task if event not in failed[1:]]
            told["\n".join(json.dumps(normal(plain(event)), sort_keys=True) for event in task)] += 1
    return dict(told)


def order(event):
    """Where in its story an event stands: who sends and who receives tell it by connections of their own."""
    rank = {"task-sent": 0, "task-received": 1}.get(event["type"], 2)
    return rank, event["timestamp"] if rank < 2 else 0


def by_runs(task):
    """One run after the other: the next may begin before its worker has heard how the last one ended."""
    seen = Counter()

    def place(event):
        kind = event["type"]
        seen[kind] += 1
        if kind in ("task-started", "task-retried"):
            return 1, seen[kind], kind == "task-retried"
        return (0 if kind in ("task-sent", "task-received") else 2), 0, False

    return sorted(task, key=place) if any(event["type"] == "task-retried" for event in task) else task


def beats(events):
    """What a worker's events are made of."""
    return {event["type"]: sorted(set(event) - {"celeriac"}) for event in events if event["type"].startswith("worker-")}


def plain(event):
    shown = {key: type(value).__name__ if key in MOMENTS else value for key, value in event.items()}
    return {**shown, "utcoffset": float(event["utcoffset"])}


def records(text):
    """How often which record is in a log, once the worker is ready."""
    _, _, text = text.partition(" ready.\n")
    if VERSION < (5, 6):  # it says so here
        text = text.replace("\n\nworker: Warm shutdown (MainProcess)\n", "\n")
    found = re.split(r"^(?=\[\d{4}-)", text, flags=re.MULTILINE)
    shown = (normal(record.rstrip()) for record in found if not any(own in record for own in (*OWN, *UNLIKE)))
    counts = Counter(filter(None, shown))
    return {record: 1 if any(text in record for text in OFTEN) else count for record, count in counts.items()}


if __name__ == "__main__":
    print(json.dumps(records(Path(sys.argv[1]).read_text())))
