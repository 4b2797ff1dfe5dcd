"""Answers with Celery's table of commands, and with kombu's verdict on each [hostname, pattern, matcher] it reads."""

import json
import sys

from celery.worker.control import Panel
from kombu.matcher import match

commands = {
    name: {
        "alias": meta.alias,
        "type": meta.type,
        "visible": meta.visible,
        "signature": meta.signature or "",
        "args": [[key, convert.__name__] for key, convert in meta.args or ()],
        "variadic": meta.variadic,
    }
    for name, meta in Panel.meta.items()
}
matches = [bool(match(*question)) for question in json.load(sys.stdin)]
json.dump({"commands": commands, "matches": matches}, sys.stdout)
