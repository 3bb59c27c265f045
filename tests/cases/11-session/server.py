"""A server that forgets its sessions after each call, and says so in the way that its path names."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcphttp import *


NO_SESSION = "Bad Request: No valid session ID provided"

sessions = set()


def refuse(handler, how):
    if how == "404":
        handler.answer(404, err({"id": None}, -32001, "Session not found"))
    elif how == "404text":
        handler.answer(404, b"Session not found", "text/plain")
    elif how == "400":
        handler.answer(400, err({"id": "server-error"}, -32600, NO_SESSION))
    elif how == "400null":
        handler.answer(400, err({"id": None}, -32000, NO_SESSION))
    elif how == "400text":
        handler.answer(400, NO_SESSION.encode(), "text/plain")
    else:
        handler.answer(200, b'event: message\ndata: {"error":"Session not found"}\n\n', "text/event-stream")


def post(handler, message):
    if is_stateless_era(handler):
        return handler.answer(400, err({"id": None}, -32000, NO_SESSION))
    if message.get("method") == "initialize":
        session = uuid.uuid4().hex
        sessions.add(session)
        return handler.answer(200, init(message), mcp_session_id=session)
    if handler.headers.get("mcp-session-id") not in sessions:
        return refuse(handler, handler.path.strip("/"))

    def call(handler, message):
        handler.answer(200, ok(message, text("done")))
        sessions.clear()

    plain(handler, message, call)


serve(post)
