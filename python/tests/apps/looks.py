"""Notes what the process looks like while the app is imported."""

import os
import sys
from pathlib import Path

from celery import Celery

app = Celery("looks", broker="memory://")
ours = [entry for entry in sys.path if entry.startswith("/dev/fd")]
Path(os.environ["RESULTS"], "looks").write_text(
    f"argv={sys.argv}\npath={os.path.realpath(sys.path[0])!r}\nours={ours}\nbroker={os.environ['CELERY_BROKER_URL']}\n"
)
