"""A server whose tools answer with every kind of content, right and wrong, and which has resources."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

IMAGE = {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}
LINK = {"type": "resource_link", "uri": "reports://q3", "name": "q3", "mimeType": "application/pdf"}
TEXT = {"uri": "file:///a.txt", "mimeType": "text/plain", "text": "inside"}
BLOB = {"uri": "file:///a.bin", "blob": "AAAA"}


def content(*blocks, **more):
    return {"content": list(blocks), **more}


def words(said, **more):
    return {"type": "text", "text": said, **more}


answers = {
    "image": content(IMAGE),
    "image_text": content(words('{"w": 3}'), IMAGE),
    "audio": content({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}),
    "resource": content({"type": "resource", "resource": TEXT}),
    "blob": content({"type": "resource", "resource": BLOB}),
    "links": content(LINK, {**LINK, "uri": "reports://q4"}),
    "link": content(words("see"), LINK, structuredContent={"count": 1}),
    "link_noname": content({"type": "resource_link", "uri": "reports://q3"}, structuredContent={"count": 1}),
    "unknown_type": content({"type": "error", "text": "Invalid number"}),
    "future_type": content(words("fine"), {"type": "video", "data": "AAAA", "mimeType": "video/mp4"},
                           structuredContent={"ok": True}),
    "image_nomime": content({"type": "image", "data": "AAAA"}),
    "nulls": content(words("x", annotations=None, _meta=None), isError=None, structuredContent=None),
    "text_null": content(words(None)),
    "text_number": content(words(42)),
    "content_text": {"content": "plain text"},
    "content_object": {"content": words("x")},
    "tool_result": {"toolResult": content(words("old"))},
    "bare": {"temperature": 21},
    "empty": {},
    "sc_list": content(words("[1]"), structuredContent=[{"id": 1}, {"id": 2}]),
    "sc_text": content(structuredContent="only text"),
    "sc_number": content(structuredContent=3),
    "priority": content(words("x", annotations={"priority": 5, "audience": ["robot"]})),
    "error_text": content(words("no"), isError="true"),
    "error_sc": content(words("quota"), structuredContent={"code": "QUOTA", "retry_in": 30}, isError=True),
}
for message in messages():
    if message.get("method") == "resources/read":
        uri = message["params"]["uri"]
        found = {"reports://q3": [{"uri": uri, "mimeType": "application/pdf", "blob": "JVBERg=="}],
                 "reports://q4": [{"uri": uri, "text": "fourth quarter"}]}
        if uri in found:
            result(message["id"], {"contents": found[uri]})
        else:
            error(message["id"], -32002, "Resource not found", data={"uri": uri})
    else:
        handle(message, [tool(name) for name in answers], lambda ident, name, given: result(ident, answers[name]),
               capabilities={"tools": {}, "resources": {}})
