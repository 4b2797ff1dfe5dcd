"""The stand-in for Celery's worker that an app's receivers of signals get.

It is Celery's own class, so an app sees what it knows, in the order that its version of Celery has: loader, settings,
`celeryd_init`, queues, `worker_init`, logging, `celeryd_after_setup`. It has no steps: the parent does their work.
"""

from celery.apps import worker as celery_worker
from celery.utils.nodenames import default_nodename, host_format


class Worker(celery_worker.Worker):
    """A worker that is set up, and does not work."""

    class Blueprint(celery_worker.Worker.Blueprint):
        """No steps, neither Celery's nor the app's."""

        default_steps = frozenset()

        def __init__(self, steps=None, **callbacks):
            super().__init__(**callbacks)

    #: The name of the pool, which may be one that Celery does not have.
    pool_name = "prefork"
    pool = autoscaler = beat = hub = timer = None

    def __init__(self, app, pool="prefork", hostname=None, **arguments):
        self.pool_name = pool
        super().__init__(
            app=app,
            hostname=host_format(default_nodename(hostname)),
            pool_cls=pool if pool in ("solo", "threads") else "prefork",
            use_eventloop=True,
            quiet=True,
            **arguments,
        )
        self.consumer = Consumer(self)

    def setup_defaults(self, autoscale=None, **arguments):
        super().setup_defaults(**arguments)
        self.autoscale = autoscale
        self.max_concurrency, self.min_concurrency = autoscale or (None, self.concurrency)

    def install_platform_tweaks(self, worker):
        """The parent is who gets signals."""

    def begin(self):
        """What the worker does before its steps start."""
        self.blueprint.start(self)

    def banner(self):
        """What the worker prints when it starts."""
        cls, self.pool_cls = self.pool_cls, self.pool_name
        try:
            return self.startup_info() + (self.extra_info() or "")
        except ImportError:  # the broker's library, which only the app itself would need
            return ""
        finally:
            self.pool_cls = cls


class Consumer:
    """What receivers get as the sender where Celery has its consumer."""

    event_dispatcher = task_consumer = gossip = None
    connection_errors = ()

    def __init__(self, worker):
        self.app = worker.app
        self.controller = worker
        self.hostname = worker.hostname
        self.pool = worker.pool
        self.initial_prefetch_count = worker.concurrency * worker.prefetch_multiplier

    def connection_for_read(self, heartbeat=None):
        return self.app.connection_for_read(heartbeat=heartbeat)

    def connection_for_write(self, heartbeat=None):
        return self.app.connection_for_write(heartbeat=heartbeat)
