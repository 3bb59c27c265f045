"""A server that writes more than messages to its standard output, in the way that its argument names."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))
import mcpstdio
from mcpstdio import *

how = sys.argv[1]
log_line = b'{"level":30,"time":1700000000000,"msg":"ready"}\n'
before = {
    "pino": log_line * 3,
    "banner": b"Server 1.0 starting\nlistening...\n",
    "blank": b"\n\n  \n",
    "number": b"42\n",
    "array": b'["a"]\n',
    "string": b'"ready"\n',
    "latin1": b"Bereit f\xfcr Anfragen\n",
    "ansi": b"\x1b[32mready\x1b[0m\n",
    "jsonish": b'{"jsonrpc":"2.0","method":"log","params":{"x":1}}\n',
    "same_line": b"Starting up... ",
    "quits": b"no licence for this machine\n",
}


def with_carriage_return(message):
    raw(json.dumps(message).encode() + b"\r\n")


def with_header(message):
    body = json.dumps(message).encode()
    raw(b"Content-Length: %d\r\n\r\n" % len(body) + body)


raw(before.get(how, b""))
if how == "quits":
    sys.exit(3)
mcpstdio.send = {"crlf": with_carriage_return, "header": with_header}.get(how, mcpstdio.send)
for message in messages():
    if "method" not in message:
        note("the client answered what was no request: " + json.dumps(message))
    if how == "pino":
        raw(log_line)
    handle(message, [tool("echo")], lambda ident, name, given: result(ident, text("ok")))
