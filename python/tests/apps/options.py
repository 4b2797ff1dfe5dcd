"""An app with options of its own."""

import os
from pathlib import Path

from celery import Celery, bootsteps
from celery.signals import setup_logging, user_preload_options
from click import Option

app = Celery("options", broker="memory://")
app.user_options["preload"].add(Option(["--flavour"], default="plain"))
app.user_options["worker"].add(Option(["--colour"], default="red"))


class Step(bootsteps.StartStopStep):
    def __init__(self, parent, colour="none", **_):
        super().__init__(parent)


app.steps["worker"].add(Step)


@user_preload_options.connect
def flavour(options, **_):
    Path(os.environ["RESULTS"], "flavour").write_text(options["flavour"])


@setup_logging.connect
def no_logging(**_):
    pass


@app.task(Strategy="options:strategy")
def batched():
    pass
