"""Starts a thread, sets a timeout for sockets and takes signals at import."""

import signal
import socket
import threading

from celery import Celery

app = Celery("threaded", broker="memory://")
socket.setdefaulttimeout(0.01)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: None)
threading.Thread(target=threading.Event().wait, daemon=True).start()


@app.task
def which():
    return [thread.name for thread in threading.enumerate()]
