"""Feeds a file of events to Celery's own state, as `celeriac-state-load feed` does to ours."""

import json
import sys
import time

from celery.events.state import State


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def read(line):
    event = json.loads(line)
    event["local_received"] = event["timestamp"]
    return event


before, state = resident(), State()
with open(sys.argv[1]) as lines:
    for line in lines:
        state.event(read(line))
mebibytes, tasks, workers = resident() - before, len(state.tasks), len(state.workers)
del state

with open(sys.argv[1]) as lines:
    events = [read(line) for line in lines]
state, begun = State(), time.perf_counter()
for event in events:
    state.event(event)
seconds = time.perf_counter() - begun
print(len(events) / seconds, mebibytes, tasks, workers)
