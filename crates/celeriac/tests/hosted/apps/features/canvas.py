"""Workflows."""

from celery import chain, chord, group
from celery.canvas import StampingVisitor

from .celery import app, journal, note
from .check import TIMEOUT, check, eventually, told


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(message="it broke"):
    raise ValueError(message)


@app.task
def failed(request, exc, traceback):
    note(request.id, f"errback {exc!r} {bool(traceback)}")


@app.task
def failed_by_id(task_id):
    note(task_id, "errback by id")


@app.task(bind=True)
def replaced(self, x, by):
    numbers = [add.s(x, i) for i in range(3)]
    raise self.replace({"task": add.s(x, 1), "chain": chain(add.s(x, 1), add.s(1)), "group": group(numbers)}[by])


@app.task(bind=True)
def growing(self, x):
    self.add_to_chord(add.s(x, 0))
    return x


@app.task(bind=True)
def family(self, depth):
    """Calls itself, and says who is whose parent."""
    request = self.request
    note(request.root_id, f"{depth} root:{request.root_id == request.id} parent:{request.parent_id is not None}")
    if depth:
        return self.delay(depth - 1).id
    return None


@app.task(bind=True)
def stamps(self):
    return [self.request.stamped_headers, self.request.stamps]


class Stamps(StampingVisitor):
    def on_signature(self, sig, **headers):
        return {"customer": "c1", "stamped_headers": ["customer"]}


@check
def chains(heard):
    calls = [
        chain(add.s(1, 1), add.s(2), add.s(3)),
        chain(add.s(1, 1), group(add.s(3), add.s(4)), total.s()),
        chain(add.si(1, 1), add.si(2, 2)),
        chain(add.s(1, 1), chain(add.s(2), chain(add.s(3)))),
    ]
    results = [call() for call in calls]
    return [[result.get(timeout=TIMEOUT), told(result, heard)] for result in results]


@check
def broken_chain(heard):
    result = chain(add.s(1, 1), fail.si().on_error(failed.s()), add.s(1)).on_error(failed_by_id.s())()
    first, second = result.parent.parent, result.parent
    eventually(lambda: len(journal(second.id)) == 2)
    result.get(timeout=TIMEOUT, propagate=False)
    return [told(first, heard), told(second, heard), result.state, repr(result.result)]


@check
def groups(heard):
    results = [
        group(add.s(i, i) for i in range(10))(),
        group(group(add.s(1, 1), add.s(2, 2)), chain(add.s(3, 3), add.s(1)))(),
    ]
    return [result.get(timeout=TIMEOUT) for result in results] + [
        add.chunks(zip(range(6), range(6)), 2)().get(timeout=TIMEOUT),
        add.starmap([(1, 2), (3, 4)]).delay().get(timeout=TIMEOUT),
        total.map([[1, 2], [3]]).delay().get(timeout=TIMEOUT),
    ]


@check
def chords(heard):
    good = [
        chord((add.s(i, i) for i in range(10)), total.s())(),
        chord([growing.s(1), add.s(2, 3)], total.s())(),
        chord([chain(add.s(1, 1), add.s(1)), group(add.s(1, 2), add.s(3, 4))], total.s())(),
        chain(group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(5))(),
    ]
    bad = chord([add.s(1, 1), fail.s()], total.s().on_error(failed.s()))()
    bad.get(timeout=TIMEOUT, propagate=False)
    eventually(lambda: journal(bad.id))
    return [result.get(timeout=TIMEOUT) for result in good] + [bad.state, repr(bad.result), journal(bad.id)]


@check
def links(heard):
    linked = add.s(10)
    linked.freeze()
    result = add.apply_async((1, 1), link=[linked, add.s(20)])
    failing = fail.apply_async(link_error=[failed.s(), failed_by_id.s()], link=[add.s(1)])
    eventually(lambda: len(journal(failing.id)) == 2)
    ran = sorted(child.get(timeout=TIMEOUT) for child in eventually(lambda: result.children))
    told_failing = told(failing, heard)
    return [told(result, heard), ran, {**told_failing, "journal": sorted(told_failing["journal"])}]


@check
def replacing(heard):
    results = [replaced.delay(1, by) for by in ("task", "chain", "group")]
    results += [chain(add.s(1, 1), replaced.s(by), what.s(5 if by != "group" else []))() for by, what in AFTER]
    return [result.get(timeout=TIMEOUT) for result in results]


@app.task
def gathered(numbers, more):
    return numbers + more


AFTER = [("task", add), ("chain", add), ("group", gathered)]


@check
def families(heard):
    result = family.delay(2)
    eventually(lambda: len(journal(result.id)) == 3)
    return journal(result.id)


@check
def stamped(heard):
    first, second = stamps.si(), stamps.si()
    first.stamp(Stamps())
    flow = chain(stamps.si(), second)
    flow.stamp(Stamps())
    return [told(first.apply_async(), heard), told(flow.apply_async(), heard)]
