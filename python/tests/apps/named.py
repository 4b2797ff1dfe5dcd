"""An app that is neither `app` nor `celery`."""

from celery import Celery

the_one = Celery("named", broker="memory://")
