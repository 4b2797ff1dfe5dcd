import json
import sys

from celery.result import AsyncResult
from make_celery import flask_app
from site_of_flask import context


def check():
    started = flask_app.test_client().get("/greet").get_json()
    return {
        "greeting": AsyncResult(started["id"]).get(timeout=60),
        "context": context.delay().get(timeout=60),
    }


print(json.dumps(check() if sys.argv[1] == "check" else {}))
