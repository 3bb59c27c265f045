"""A server that has moved: to another path of the same origin (`/mcp`), and to another host (`/gone`)."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcphttp import *



def post(handler, message):
    here = f"http://127.0.0.1:{handler.server.server_port}"
    if handler.path == "/mcp":
        return handler.answer(307, b"", None, location=here + "/mcp/")
    if handler.path == "/gone":
        return handler.answer(307, b"", None, location="https://elsewhere.example/mcp")
    plain(handler, message, lambda handler, message: handler.answer(200, ok(message, text("hi"))))


serve(post)
