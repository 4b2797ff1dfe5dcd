"""Feeds each list of events that it reads to Celery's own State, and answers with what that then holds."""

import json
import sys

from celery.events.state import State


def plain(task):
    fields = task.as_dict()
    fields["worker"] = task.worker and task.worker.hostname
    # Celery keeps a child whose later events name another parent, as those of a retry do.
    fields["children"] = sorted(child.id for child in task.children if child.parent_id == task.id)
    return fields


def run(events):
    state = State()
    for event in events:
        state.event(dict(event, local_received=event["timestamp"]))
    return {
        "tasks": {uuid: plain(task) for uuid, task in state.itertasks()},
        "by_time": [uuid for uuid, _ in state.tasks_by_time()],
        "workers": sorted(state.workers),
        # Celery also remembers the names of tasks that it has forgotten or that have another by now.
        "types": sorted({task.name for _, task in state.itertasks() if task.name}),
        "counts": [state.event_count, state.task_count],
    }


json.dump([run(events) for events in json.load(sys.stdin)], sys.stdout)
