"""As Flask's documentation has it (Background Tasks with Celery)."""

from site_of_flask import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
