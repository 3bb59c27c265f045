"""A server whose answer to the handshake is odd in the way that its argument names."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

how = sys.argv[1]
usual = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
tools = {"listChanged": True}
odd = {
    "old": {"protocolVersion": "2024-11-05"},
    "weird": {"protocolVersion": "1.0"},
    "future": {"protocolVersion": "2027-03-01"},
    "draft": {"protocolVersion": "DRAFT-2026-v1"},
    "nover": {"protocolVersion": None},
    "notools": {"capabilities": {}},
    "capnull": {"capabilities": None},
    "toolsnull": {"capabilities": {"tools": None}},
    "toolstrue": {"capabilities": {"tools": True}},
    "exp": {"capabilities": {"tools": tools, "experimental": {"x": {}}, "logging": {}, "unknownCap": 3}},
    "noinfo": {"serverInfo": None},
    "infonover": {"serverInfo": {"name": "x"}},
    "infonum": {"serverInfo": {"name": "x", "version": 1}},
    "instr": {"instructions": None},
}[how]
for message in messages():
    if message.get("method") == "initialize":
        answer = {**usual, **odd}
        if how in ("nover", "noinfo"):
            answer = {key: value for key, value in answer.items() if value is not None}
        result(message["id"], answer)
    elif how == "weird" and message.get("method") == "server/discover":
        result(message["id"], {})
    else:
        handle(message, [tool("echo")], lambda ident, name, given: result(ident, text("ok")))
