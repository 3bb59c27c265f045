"""A server with a tool that repeats its arguments, and tools that answer with 23 digits."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

BIG = {"big": 12345678901234567890123}


def call(ident, name, given):
    if name == "big":
        return result(ident, text("done", structuredContent=BIG))
    if name == "big_text":
        return result(ident, text(json.dumps(BIG)))
    return result(ident, text(json.dumps(given, ensure_ascii=False), structuredContent=given))


serve([tool("echo"), tool("big"), tool("big_text")], call)
