"""What the parent gets to know when the app has started."""

import platform

import billiard
import celery
import kombu
from celery import signals
from celery.app.defaults import SETTING_KEYS
from celery.app.utils import HIDDEN_SETTINGS
from celery.worker.control import Panel
from kombu.serialization import prepare_accept_content, registry
from kombu.utils import json

from . import logs, process, statedb, versions
from .options import POOLS
from .plain import plain

#: What the parent looks at in a task.
TASK = (
    "acks_late", "acks_on_failure_or_timeout", "reject_on_worker_lost", "rate_limit", "time_limit", "soft_time_limit",
    "ignore_result", "store_errors_even_if_ignored", "track_started", "send_events", "priority", "max_retries",
    "default_retry_delay", "expires", "serializer", "typing", "exchange", "routing_key",
)  # fmt: skip

#: Where an app may put classes of its own into the parent's work: setting and Celery's own.
PARTS = {
    "worker_consumer": "celery.worker.consumer:Consumer",
    "worker_autoscaler": "celery.worker.autoscale:Autoscaler",
}
TASK_PARTS = {"Strategy": "celery.worker.strategy:default", "Request": "celery.worker.request:Request"}


def report(worker, given):
    """All that is data about a worker that has started."""
    app = worker.app
    # Attributes, since some are properties that look at the environment, too.
    conf = {name: getattr(app.conf, name, None) for name in SETTING_KEYS}
    changed = app.conf.without_defaults()
    return plain({
        "conf": conf,
        "changed": sorted(name for name in conf if name in changed),
        "secret": sorted(name for name in SETTING_KEYS if HIDDEN_SETTINGS.search(name)),
        "worker": worker_facts(worker, given),
        "tasks": {name: task_facts(task) for name, task in app.tasks.items()},
        "queues": queues(app),
        "connection": {"read": connection(app.connection_for_read()), "write": connection(app.connection_for_write())},
        "signals": [name for name, one in vars(signals).items() if isinstance(one, signals.Signal) and one.receivers],
        "controls": controls(),
        "unsupported": list(unsupported(worker)),
        "versions": {
            "python": platform.python_version(),
            "celery": celery.__version__,
            "kombu": kombu.__version__,
            "billiard": billiard.__version__,
        },
        "banner": "" if given.get("quiet") else worker.banner(),
    })  # fmt: skip


def worker_facts(worker, given):
    """The options as Celery resolved them from command line, settings and signals."""
    names = (
        "hostname", "concurrency", "loglevel", "logfile", "optimization", "autoscale", "time_limit", "soft_time_limit",
        "max_tasks_per_child", "max_memory_per_child", "prefetch_multiplier", "disable_rate_limits", "statedb",
        "task_events", "pool_restarts", "worker_lost_wait", "schedule_filename", "scheduler", "pidfile",
    )  # fmt: skip
    facts = {name: getattr(worker, name, None) for name in names}
    facts["pool"] = worker.pool_name
    facts["processes"], facts["jobs"] = {"solo": (1, 1), "threads": (1, worker.concurrency),
                                         "asyncio": (1, worker.concurrency)}.get(facts["pool"], (worker.concurrency, 1))
    facts["prefetch_is_open"] = prefetch_is_open(worker, given)
    facts["log_through_app"] = logs.level(worker)
    facts["identity"] = process.identity()
    facts["revoked"] = statedb.revoked(worker)
    facts["app"] = worker.app.main or "__main__"
    # The app may have registered serializers of its own, whose names mean nothing to the parent.
    facts["json_is_kombus"] = getattr(registry, "_decoders", {}).get("application/json") is json.loads
    facts["accept"] = sorted(prepare_accept_content(worker.app.conf.accept_content))
    return facts


def prefetch_is_open(worker, given):
    """Whether nobody has said how many messages are prefetched for each process: command line, settings, signals."""
    conf, name = worker.app.conf, "worker_prefetch_multiplier"
    if given.get("prefetch_multiplier") is not None or worker.prefetch_multiplier != conf[name]:
        return False
    # Only Celery's own look-up knows older names and an app's prefix: is what it finds the default, or the same number?
    defaults = conf.maps[-1]
    key = name if name in defaults else "CELERYD_PREFETCH_MULTIPLIER"
    usual = defaults[key]
    defaults[key] = mark = type("Default", (int,), {})(usual)
    try:
        return conf[name] is mark
    finally:
        defaults[key] = usual


def task_facts(task):
    facts = {name: getattr(task, name, None) for name in TASK}
    if versions.IS_5_7:  # what follows a timeout is decided with it
        facts["acks_on_failure_or_timeout"] = task.acks_on_failure
    return facts


def queues(app):
    known = app.amqp.queues
    return {
        "consume": [queue.as_dict(recurse=True) for queue in known.consume_from.values()],
        "known": [queue.as_dict(recurse=True) for queue in known.values()],
    }


def connection(conn):
    """As kombu resolved it: the URL and those to fail over to, and what is no part of a URL."""
    url = conn.as_uri(include_password=True)
    return {
        "transport": conn.transport_cls,
        "url": url,
        "urls": list(conn.alt) or [url],
        "ssl": conn.ssl,
        "options": conn.transport_options,
        "heartbeat": conn.heartbeat,
        "connect_timeout": conn.connect_timeout,
        "login_method": conn.login_method,
        "failover_strategy": conn._failover_strategy,
    }


def controls():
    """The remote control commands that are not Celery's."""
    return {
        name: {"type": meta.type, "alias": meta.alias, "visible": meta.visible, "help": meta.help,
               "signature": meta.signature, "variadic": meta.variadic, "default_timeout": meta.default_timeout,
               "args": [argument[0] for argument in meta.args or ()]}
        for name, meta in Panel.meta.items()
        if not Panel.data[name].__module__.startswith("celery.")
    }  # fmt: skip


def unsupported(worker):
    """What the app has that does not run here: a line each."""
    app = worker.app
    if worker.pool_name not in POOLS:
        yield f"pool {worker.pool_name}: there are {', '.join(sorted(set(POOLS.values())))}"
    for kind in ("worker", "consumer"):
        for step in sorted(map(str, app.steps[kind])):
            yield f"{kind} bootstep {step}"
    for name, own in PARTS.items():
        value = app.conf[name]
        if value and value != own:
            yield f"{name} = {value}"
    for name, task in sorted(app.tasks.items()):
        for attribute, own in TASK_PARTS.items():
            if getattr(task, attribute, own) != own:
                yield f"task {name}: {attribute} = {plain_name(getattr(task, attribute))}"


def plain_name(value):
    return value if isinstance(value, str) else f"{value.__module__}:{value.__qualname__}"
