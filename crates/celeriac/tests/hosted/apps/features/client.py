"""Runs all checks beside each other, and prints what came of them and which events the workers sent."""

import gc
import json
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from .celery import MODULES, app
from .check import CHECKS, Heard
from .normal import beats, normal, stories

#: Checks that run at the same time.
ABREAST = 8


def outcome(function, heard):
    value = function(heard)
    return list(value) if hasattr(value, "send") else value


def main(names):
    gc.disable()  # an older Celery's client hangs when a result is collected amid another call
    for module in MODULES:
        import_module(f"features.{module}")
    heard, ready = Heard(), threading.Event()
    threading.Thread(target=heard.listen, args=(app.connection_for_read(), ready), daemon=True).start()
    ready.wait()
    chosen = {name: function for name, function in CHECKS.items() if not names or name in names}
    with ThreadPoolExecutor(ABREAST) as threads:
        futures = {name: threads.submit(outcome, function, heard) for name, function in chosen.items()}
    found, broken = {}, False
    for name, future in futures.items():
        try:
            found[name] = future.result()
        except Exception:
            broken = True
            print(f"{name}:\n{traceback.format_exc()}", file=sys.stderr)
    told = {"checks": normal(found), "events": stories(heard.events), "workers": beats(heard.events)}
    print(json.dumps(told, default=repr))
    sys.exit(broken)


if __name__ == "__main__":
    main(sys.argv[1:])
