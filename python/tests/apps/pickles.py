from celery import Celery

app = Celery("pickles", broker="memory://")
app.conf.accept_content = ["pickle", "json"]
