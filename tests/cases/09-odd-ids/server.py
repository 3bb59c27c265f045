"""A server that repeats the ids of requests in a way of its own: as text, with a fraction, or always 0."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))
import mcpstdio
from mcpstdio import *

kind = sys.argv[1]
plain_send = mcpstdio.send


def odd(message):
    if "id" in message:
        message["id"] = {"text": str(message["id"]), "fraction": float(message["id"]), "zero": 0}[kind]
    plain_send(message)


mcpstdio.send = odd
serve([tool("echo", {"text": {"type": "string"}})], lambda ident, name, given: result(ident, text("got " + given["text"])))
