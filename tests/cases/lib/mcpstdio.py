"""A small MCP server over standard input and output, of the handshake era, which controls every byte that it writes.

What it reads is noted in `server.log`, in the folder that it runs in.
"""

import json, os, sys, threading

OUT = sys.stdout.buffer
LOCK = threading.Lock()


def raw(data: bytes):
    """Writes bytes as they are."""
    with LOCK:
        OUT.write(data)
        OUT.flush()


def send(message):
    """Writes a message."""
    raw(json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")


def note(line):
    with open("server.log", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def result(ident, value):
    send({"jsonrpc": "2.0", "id": ident, "result": value})


def error(ident, code, message, **more):
    send({"jsonrpc": "2.0", "id": ident, "error": {"code": code, "message": message, **more}})


def text(content, **more):
    return {"content": [{"type": "text", "text": content}], **more}


def tool(name, properties=None, required=None, **more):
    schema = {"type": "object", "properties": properties or {}}
    if required:
        schema["required"] = required
    return {"name": name, "description": name, "inputSchema": schema, **more}


def messages():
    """Reads the messages, up to the end of the input."""
    for line in sys.stdin.buffer:
        if line.strip():
            note("> " + line.decode().strip())
            yield json.loads(line)


def handle(message, tools, call, version="2025-06-18", name="case", capabilities=None):
    """Answers one message in the usual way. `call(ident, name, arguments)` answers a call itself."""
    method, ident = message.get("method"), message.get("id")
    if method == "initialize":
        result(ident, {"protocolVersion": version, "capabilities": capabilities or {"tools": {}},
                       "serverInfo": {"name": name, "version": "1.0"}})
    elif method == "tools/list":
        result(ident, {"tools": tools() if callable(tools) else tools})
    elif method == "tools/call":
        call(ident, message["params"]["name"], message["params"].get("arguments") or {})
    elif method == "ping":
        result(ident, {})
    elif ident is not None and method:
        error(ident, -32601, "Method not found")


def serve(tools, call, **options):
    for message in messages():
        handle(message, tools, call, **options)
