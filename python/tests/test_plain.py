"""Python values as plain data."""

import marshal
import ssl
import unittest
from collections import OrderedDict, namedtuple
from datetime import timedelta

from celeriac.plain import plain
from celery.utils.collections import ConfigurationView

Point = namedtuple("Point", "x y")


class Text(str):
    pass


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


class Plain(unittest.TestCase):
    def test_values_become_exact_types(self):
        for value, expected in (
            (None, None), (True, True), (ssl.CERT_REQUIRED, 2), (Text("a"), "a"), (Point(1, 2), (1, 2)),
            (OrderedDict(a=[Text("b")]), {"a": ["b"]}), (bytearray(b"x"), b"x"), (frozenset([1]), [1]),
            (ConfigurationView({"a": 1}), {"a": 1}), (timedelta(seconds=90), {"__seconds__": 90.0}),
            ({(1, 2): 3}, {"(1, 2)": 3}), (len, {"__repr__": "<built-in function len>"}),
        ):  # fmt: skip
            with self.subTest(value):
                self.assertEqual(marshal.loads(marshal.dumps(plain(value), 2)), expected)
                self.assertIs(type(plain(value)), type(expected))

    def test_what_turns_in_circles_or_has_no_repr(self):
        circle = []
        circle.append(circle)
        marshal.dumps(plain(circle), 2)
        self.assertIn("Rude object", plain(Rude())["__repr__"])


if __name__ == "__main__":
    unittest.main()
