"""Tasks that are acknowledged when they are done, and come again when their worker dies."""

import json
import os
import sys
import time

from celery import Celery

app = Celery("steady", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, task_acks_late=True, task_reject_on_worker_lost=True)


@app.task(ignore_result=True)
def work(number):
    time.sleep(number % 5 / 500)
    app.backend.client.sadd("done", number)


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        work.delay(number)
    print(json.dumps("sent"))
