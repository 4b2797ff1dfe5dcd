"""Python values as the plain data that the parent reads."""

from collections.abc import Mapping
from datetime import timedelta

#: Deeper than this nothing is a setting any more.
DEPTH = 32


def plain(value, depth=DEPTH):
    """`value` in exact types that marshal knows; what has none becomes a dict of one key that tells what it was.

    A `timedelta` is ``{"__seconds__": float}``, all else ``{"__repr__": str}``.
    """
    if value is None or value is True or value is False:
        return value
    if not depth:
        return marked(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, timedelta):
        return {"__seconds__": value.total_seconds()}
    try:
        return container(value, depth - 1)
    except Exception:  # an app's own container may do anything
        return marked(value)


def container(value, depth):
    if isinstance(value, tuple):
        return tuple([plain(item, depth) for item in value])
    if isinstance(value, (list, set, frozenset)):
        return [plain(item, depth) for item in value]
    if isinstance(value, Mapping):
        return {key_of(key): plain(item, depth) for key, item in value.items()}
    return marked(value)


def key_of(key):
    return plain(key) if isinstance(key, (str, int, float, bytes, type(None))) else repr(key)


def marked(value):
    try:
        return {"__repr__": repr(value)}
    except Exception:
        return {"__repr__": object.__repr__(value)}
