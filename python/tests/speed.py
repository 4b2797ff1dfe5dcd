"""What a no-op costs in a child beyond Celery's tracer: `python -m tests.speed` in `python/`."""

import os
import subprocess
import sys
import time

from tests.harness import APPS, Host, job

PACKET = 16
JOBS = 32_000

TRACER = """
import os, sys, time, json
sys.path.insert(0, os.environ["APPS"])
from celery.app import trace
from celery.concurrency.prefork import process_initializer
from basic import app
from tests.harness import job
app.log.setup("WARNING")
trace.setup_worker_optimizations(app, "test@here")
process_initializer(app, "test@here")
jobs = [job(n, "basic.noop")[1:] for n in range(8000)]
start = time.process_time()
for arguments in jobs:
    trace.fast_trace_task(*arguments)
print((time.process_time() - start) / len(jobs) * 1e6)
"""


def tracer():
    """Microseconds of CPU for Celery's tracer alone."""
    environment = {**os.environ, "APPS": str(APPS), "RESULTS": "/tmp", "PYTHONPATH": "."}
    ran = subprocess.run([sys.executable, "-c", TRACER], env=environment, capture_output=True, check=True)
    return float(ran.stdout)


def cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def child():
    """Microseconds of CPU for a job in a child that is never idle."""
    with Host(loglevel="WARNING") as host:
        child = host.fork()
        jobs = [job(n + 1, "basic.noop") for n in range(JOBS)]
        packets = [tuple(jobs[n : n + PACKET]) for n in range(0, JOBS, PACKET)]
        before, start = cpu(child.pid), time.monotonic()
        for n, packet in enumerate(packets):
            child.run(*packet)
            if n >= 4:
                child.answers(PACKET)
        child.answers(4 * PACKET)
        return (cpu(child.pid) - before) / JOBS * 1e6, (time.monotonic() - start) / JOBS * 1e6


if __name__ == "__main__":
    for _ in range(3):
        alone, (used, wall) = tracer(), child()
        beyond = used - alone
        print(f"tracer alone {alone:.1f} µs, child {used:.1f} µs CPU, {wall:.1f} µs wall: {beyond:.1f} µs beyond")
