"""A server that computes `NaN`: one tool writes it into a text, as the Python SDK does, and one into the message."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *


def call(ident, name, given):
    if name == "in_text":
        result(ident, text('{"mean": 1.5, "stddev": NaN}'))
    else:
        result(ident, {"content": [], "structuredContent": {"mean": float("nan")}})


serve([tool("in_text"), tool("in_message")], call)
