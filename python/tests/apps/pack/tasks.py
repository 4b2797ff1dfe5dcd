from pack.celery import app


@app.task(acks_late=True, rate_limit="10/m", time_limit=5, soft_time_limit=4, throws=(KeyError,))
def limited():
    pass
