"""A server that is called too often, and says when it may be called again: in the number of seconds that its path names."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcphttp import *



def post(handler, message):
    if is_stateless_era(handler):
        return handler.answer(400, err({"id": None}, -32000, "no"))

    def call(handler, message):
        handler.answer(429, b"slow down", "text/plain", retry_after=handler.path.strip("/"))

    plain(handler, message, call)


serve(post)
