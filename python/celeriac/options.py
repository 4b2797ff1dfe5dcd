"""The start message: the command line as the parent has parsed it.

What was not given is absent. All names are those of Celery's own options, with underscores:

=================  ==============================================================================================
``argv``           the whole command line as the app shall see it: ``["celery", "-A", "proj", "worker", ...]``
global             ``app``, ``broker``, ``result_backend``, ``loader``, ``config``, ``workdir``, ``skip_checks``,
                   ``no_color``, ``quiet``
daemon             ``logfile``, ``pidfile``, ``uid``, ``gid``, ``umask``; ``detach``: no terminal from the start on
worker             the names of `WORKER`
``settings``       trailing configuration arguments: ``["worker.prefetch_multiplier=1", ...]``
``user``           what the parent did not know: options that the app itself adds, unparsed
=================  ==============================================================================================
"""

import os
import sys

#: Global options: their environment variables, and the one by which Celery hands them to the app.
GLOBAL = {
    "app": (("APP", "CELERY_APP"), None),
    "broker": (("BROKER_URL", "CELERY_BROKER"), "CELERY_BROKER_URL"),
    "result_backend": (("RESULT_BACKEND", "CELERY_RESULT_BACKEND"), "CELERY_RESULT_BACKEND"),
    "loader": (("LOADER", "CELERY_LOADER"), "CELERY_LOADER"),
    "config": (("CONFIG_MODULE", "CELERY_CONFIG"), "CELERY_CONFIG_MODULE"),
    "skip_checks": (("SKIP_CHECKS", "CELERY_SKIP_CHECKS"), "CELERY_SKIP_CHECKS"),
}

#: What goes to the worker as it came.
WORKER = (
    "hostname", "loglevel", "statedb", "optimization", "prefetch_multiplier", "concurrency", "task_events",
    "time_limit", "soft_time_limit", "max_tasks_per_child", "max_memory_per_child", "queues", "exclude_queues",
    "include", "without_gossip", "without_mingle", "without_heartbeat", "heartbeat_interval", "autoscale", "beat",
    "schedule_filename", "scheduler", "no_color", "logfile",
)  # fmt: skip

#: The pools that run here, by each name that Celery or we have for them.
POOLS = {
    "prefork": "prefork",
    "processes": "prefork",
    "spawn": "spawn",
    "threads": "threads",
    "solo": "solo",
    "asyncio": "asyncio",
}


def prepare(options):
    """Makes this process look like ``celery ... worker``; returns the app's name, if one is given."""
    if options.get("workdir"):
        os.chdir(options["workdir"])
    sys.argv[:] = options["argv"]
    # As `python -m celery` has it; `''` would follow a later change of directory.
    sys.path[:] = [os.getcwd()] + [entry for entry in sys.path if entry]
    given = {name: options.get(name) or first_of(variables) for name, (variables, _) in GLOBAL.items()}
    for name, (_, variable) in GLOBAL.items():
        if variable and given[name]:
            os.environ[variable] = "true" if name == "skip_checks" else given[name]
    return given["app"]


def first_of(variables):
    return next(filter(None, map(os.environ.get, variables)), None)


def pool_of(options, conf):
    """The pool's name: a pool in the settings wins over the default one on the command line, as in Celery."""
    given = options.get("pool", "prefork")
    name = (conf.worker_pool or given) if given == "prefork" else given
    module, _, kind = str(name).partition(":")
    name = module.rpartition(".")[2].replace("thread", "threads") if kind == "TaskPool" else str(name)
    name = POOLS.get(name, name)
    method = options.get("pool_start_method") or conf.get("worker_pool_start_method")
    return "spawn" if method == "spawn" and name == "prefork" else name


def for_worker(options, conf):
    """The arguments of Celery's worker; a daemon's options have defaults in the settings."""
    arguments = {name: options[name] for name in WORKER if name in options}
    arguments.setdefault("loglevel", "WARNING")
    for name in ("logfile", "pidfile", "uid", "gid", "umask"):
        arguments[name] = options.get(name) or conf.get(f"worker_{name}")
    return arguments
