"""The app of `cargo xtask bench hosted`; `REPORT` is the port that hears of each ping."""

import os
import socket

from celery import Celery

app = Celery("benchapp", broker=os.environ.get("BROKER"))
app.conf.task_ignore_result = True

listener = "127.0.0.1", int(os.environ.get("REPORT", 0))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@app.task(name="tasks.noop")
def noop(number):
    return None


@app.task(name="tasks.ping")
def ping(number):
    datagrams.sendto(str(number).encode(), listener)
