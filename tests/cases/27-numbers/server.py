"""A server with a tool that repeats its arguments, tools that answer with 23 digits, and one with all numbers that are exact."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

BIG = {"big": 12345678901234567890123}
EXACT = {
    "list": [18446744073709551615, -9223372036854775808, 9007199254740993],
    "floats": [0.1, 0.30000000000000004, 5e-324, 1.7976931348623157e308, 1e22, 1.0, -0.0],
}


def call(ident, name, given):
    if name == "big":
        return result(ident, text("done", structuredContent=BIG))
    if name == "numbers":
        return result(ident, text(json.dumps(BIG), structuredContent=EXACT))
    if name == "big_text":
        return result(ident, text(json.dumps(BIG)))
    return result(ident, text(json.dumps(given, ensure_ascii=False), structuredContent=given))


serve([tool("echo"), tool("big"), tool("big_text"), tool("numbers")], call)
