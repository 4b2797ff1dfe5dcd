"""Where what Celery does depends on its version."""

import celery

#: Celery's parent stores a `Reject` that does not come again, takes a `SystemExit` for a lost worker, calls a task's
#: handlers after its hard limit, and names its host in `worker_process_init`.
IS_5_7 = celery.VERSION[:2] >= (5, 7)
