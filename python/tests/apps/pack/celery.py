from celery import Celery

app = Celery("pack", broker="memory://", include=["pack.tasks"])
other = Celery("other", broker="memory://")
