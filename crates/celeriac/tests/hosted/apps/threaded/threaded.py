"""Starts threads and opens sockets when it is imported."""

import logging
import os
import socket
import threading
from urllib.parse import urlsplit

from celery import Celery

app = Celery("threaded", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.broker_connection_retry_on_startup = True
logger = logging.getLogger("threaded")

redis = urlsplit(os.environ["BACKEND"])
connection = socket.create_connection((redis.hostname, redis.port))


def ask():
    """Logs, allocates and talks to Redis, without an end."""
    while True:
        connection.sendall(b"PING\r\n")
        logger.debug("%s %s", connection.recv(100), list(range(100)))


# The pool of connections that tasks use has one before the fork.
app.backend.client.ping()
threading.Thread(target=ask, daemon=True).start()
threading.Thread(target=threading.Event().wait, daemon=True).start()


@app.task
def double(number):
    logger.info("in the task")
    app.backend.client.set(f"number:{number}", number)
    return 2 * int(app.backend.client.get(f"number:{number}"))


@app.task
def threads():
    return sorted(thread.name for thread in threading.enumerate())
