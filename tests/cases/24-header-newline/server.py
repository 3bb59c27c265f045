"""A server that notes the credentials that it gets."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcphttp import *



def post(handler, message):
    note("credentials: " + repr(handler.headers.get("authorization")))
    plain(handler, message, lambda handler, message: handler.answer(200, ok(message, text("hi"))))


serve(post)
