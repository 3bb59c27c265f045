"""A gateway in front of a server, which answers in the way that its path names: at once, or to calls only (`call...`)."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcphttp import *

PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>" + b"<p>nginx</p>" * 400 + b"</body></html>"
NAN = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"structuredContent":{"m":NaN}}}'
SURROGATE = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"x \\ud83d"}]}}'


def at_once(handler, how):
    """Answers any request; returns false if the path says nothing about it."""
    answers = {
        "html": (200, PAGE, "text/html"),
        "502": (502, PAGE, "text/html"),
        "404": (404, PAGE, "text/html"),
        "405": (405, b"Method Not Allowed", "text/plain"),
        "406": (406, err({}, -32000, "Not Acceptable: Client must accept text/event-stream")),
        "403": (403, b"Invalid Host header", "text/plain"),
    }
    if how == "401":
        wants = 'Bearer resource_metadata="http://127.0.0.1/x"'
        handler.answer(401, {"error": "invalid_token"}, www_authenticate=wants)
    elif how in answers:
        handler.answer(*answers[how])
    else:
        return False
    return True


def call(handler, message):
    ident, how = message["id"], handler.path.strip("/")
    answers = {
        "call502": (502, PAGE, "text/html"),
        "call200html": (200, PAGE, "text/html"),
        "call500json": (500, {"error": {"message": "database is down", "code": "E_DB"}}),
        "call500rpc": (500, err(message, -32603, "database is down")),
        "call400text": (400, b"field x is missing", "text/plain"),
        "call404": (404, b"no such route", "text/plain"),
        "call413": (413, PAGE, "text/html"),
        "call200empty": (200, b"", "application/json"),
        "call200text": (200, json.dumps(ok(message, text("x"))).encode(), "text/plain"),
        "callnan": (200, NAN % ident),
        "callsurrogate": (200, SURROGATE % ident),
        "ssenan": (200, b"data: " + NAN % ident + b"\n\n", "text/event-stream"),
        "call202": (202, b"", None),
        "stringid": (200, {"jsonrpc": "2.0", "id": str(ident), "result": text("x")}),
        "batch": (200, [ok(message, text("x"))]),
    }
    if how == "cut":
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", "500")
        handler.end_headers()
        handler.wfile.write(b'{"jsonrpc"')
        handler.close_connection = True
    else:
        handler.answer(*answers[how])


def post(handler, message):
    if at_once(handler, handler.path.strip("/")):
        return
    if is_stateless_era(handler):
        return handler.answer(400, err({}, -32000, "Bad Request"))
    plain(handler, message, call)


serve(post)
