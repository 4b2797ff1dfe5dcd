"""A Flask app made by a factory, with an extension that makes Celery's tasks run in the app's context."""

import os

from celery import Celery, Task, shared_task
from flask import Flask, current_app, has_request_context


def celery_init_app(app):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def create_app():
    app = Flask("shop")
    app.config["GREETING"] = "Hello from"
    app.config["CELERY"] = {
        "broker_url": os.environ["BROKER"],
        "result_backend": os.environ["BACKEND"],
        "task_ignore_result": True,
        "broker_connection_retry_on_startup": True,
    }
    celery_init_app(app)

    @app.get("/greet")
    def start():
        return {"id": greet.delay().id}

    return app


@shared_task(ignore_result=False)
def greet():
    return f"{current_app.config['GREETING']} {current_app.name}"


@shared_task(ignore_result=False, bind=True)
def context(self):
    bases = [base.__name__ for base in type(self).__mro__]
    return [has_request_context(), "FlaskTask" in bases, self.request.hostname]
