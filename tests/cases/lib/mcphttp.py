"""A small MCP server over HTTP, of the handshake era; `on_post(handler, message)` writes every byte of the answer.

It listens on a free port of this machine, or on `PORT`, and prints the port. What it reads is noted in `server.log`, in the folder
that it runs in.
"""

import json, os, sys, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def note(line):
    with open("server.log", "a", encoding="utf-8") as log:
        log.write(line + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    on_post = None

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json", **headers):
        """Sends a whole response. A body that is not bytes is sent as JSON."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        if kind:
            self.send_header("content-type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        note(f"POST {self.path} {data.decode()}")
        type(self).on_post(self, json.loads(data))

    def do_GET(self):
        self.answer(405)

    def do_DELETE(self):
        self.answer(200)


def ok(message, result):
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def err(message, code, text):
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": text}}


def text(content):
    return {"content": [{"type": "text", "text": content}]}


def is_stateless_era(handler):
    """Returns true for requests of 2026-07-28, which this server does not speak."""
    return handler.headers.get("mcp-protocol-version") == "2026-07-28"


def init(message):
    return ok(message, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                        "serverInfo": {"name": "case", "version": "1.0"}})


def plain(handler, message, call):
    """Answers in the usual way, with one tool, `echo`. `call(handler, message)` answers a call itself."""
    method = message.get("method")
    if "id" not in message:
        return handler.answer(202, b"", None)
    if method == "initialize":
        return handler.answer(200, init(message))
    if method == "tools/list":
        return handler.answer(200, ok(message, {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}))
    if method == "tools/call":
        return call(handler, message)
    return handler.answer(200, err(message, -32601, "Method not found"))


def serve(on_post):
    Handler.on_post = staticmethod(on_post)
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
